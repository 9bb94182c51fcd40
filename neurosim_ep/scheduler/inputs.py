"""Whether what a presentation is given fits the network: refused with one clear error before anything is computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from torch import Tensor

from neurosim_ep.ep.network import Network
from neurosim_ep.ep.signals import NO_ERRORS, Errors
from neurosim_ep.errors import UsageError


def check_inputs(
    network: Network,
    x: Tensor,
    y: Tensor | None = None,
    *,
    errors: Errors = NO_ERRORS,
    states: Sequence[Tensor] | None = None,
) -> None:
    """Raise :class:`UsageError` where images x (B, C, H, W), labels y (B,), what ``errors`` are made of or the states
    to start from, (B, *shape) by layer, do not fit ``network``. The order of their values in memory does not matter.
    """
    shapes = network.state_shapes
    if not x.is_floating_point():
        raise UsageError(
            f"x is {x.dtype}: must be normalised images; give (x / 255 - mean) / std of the data, in float"
        )
    if states is not None and len(states) != len(shapes):
        raise UsageError(f"states: {len(states)} tensors for a network of {len(shapes)} layers; give one per layer")
    wanted = {"x": (x, network.image_shape)}
    for name, given in (("states", dict(enumerate(states or ()))), ("teacher", errors.teacher or {})):
        wanted |= {f"{name}[{layer}]": (value, shapes[layer]) for layer, value in given.items() if layer < len(shapes)}
    tensors = {"network": network.connections[0].weight} | {name: value for name, (value, _) in wanted.items()}
    if errors.signals is not None and errors.signals.matrices:
        tensors["signals"] = next(errors.signals.parameters())
    placed = tensors if y is None else tensors | {"y": y}
    _check_same({name: value.dtype for name, value in tensors.items()}, "of one format; use .float() or .double()")
    _check_same({name: value.device for name, value in placed.items()}, "on one device; use .to(device)")
    labels = {} if y is None else {"y": (y, ())}
    for name, (value, shape) in (wanted | labels).items():
        if tuple(value.shape) != (len(x), *shape):
            raise UsageError(
                f"{name} has shape {tuple(value.shape)}: must be {(len(x), *shape)}, as x has {len(x)} samples and the "
                "network those layers; give one row per sample"
            )


def check_kinds(**given: tuple[object, type]) -> None:
    """Raise :class:`UsageError` where what is ``given`` by name is not of the type beside it."""
    for name, (value, kind) in given.items():
        if not isinstance(value, kind):
            fields = ", ".join(field.name for field in dataclasses.fields(kind))
            raise UsageError(
                f"{name} is a {type(value).__name__}: must be {kind.__name__}; make it of {kind.__name__}({fields})"
            )


def _check_same(found: Mapping[str, object], what: str) -> None:
    if len(set(found.values())) > 1:
        told = ", ".join(f"{name} {value}" for name, value in found.items())
        raise UsageError(f"{told}: must all be {what} on each of them")
