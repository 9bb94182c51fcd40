"""Small random networks for tests."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from hypothesis import strategies as st

from neurosim_ep.ep.network import Network, build_network
from neurosim_ep.ep.signals import Signals, build_signals
from neurosim_ep.registry import ACTIVATIONS
from neurosim_ep.scenario.schema import LayerSpec, NetworkSection, SignalsSection

NAMES = tuple(ACTIVATIONS.own)


def custom(*layers: LayerSpec, **options: object) -> NetworkSection:
    return NetworkSection(preset="custom", layers=list(layers), **options)  # type: ignore[arg-type]


def conv(size: int, kernel: int = 3, padding: int = 1, pool: str = "none") -> LayerSpec:
    return LayerSpec(kind="conv", size=size, kernel=kernel, padding=padding, pool=pool)  # type: ignore[arg-type]


def linear(size: int) -> LayerSpec:
    return LayerSpec(kind="linear", size=size)


@st.composite
def sections(draw: st.DrawFn) -> NetworkSection:
    """One to four layers: convolutions with any pool, kernel and padding, then linear ones; either loss."""
    convs = [
        conv(
            draw(st.integers(1, 4)),
            draw(st.sampled_from([1, 2, 3])),
            draw(st.sampled_from([0, 1])),
            draw(st.sampled_from(["none", "max", "avg"])),
        )
        for _ in range(draw(st.integers(0, 2)))
    ]
    linears = [linear(draw(st.integers(1, 6))) for _ in range(draw(st.integers(0 if convs else 1, 2)))]
    return custom(
        *convs,
        *linears,
        activation=draw(st.sampled_from(NAMES)),
        loss=draw(st.sampled_from(["cross_entropy", "squared_error"])),
        weight_init=draw(st.sampled_from(["kaiming_uniform", "he_uniform"])),
    )


def double_network(
    section: NetworkSection, classes: int = 3, image: tuple[int, ...] = (2, 13, 11), seed: int = 0
) -> Network:
    return build_network(section, classes, image, seed).double()


def double_signals(
    network: Network, layers: list[int], kinds: Sequence[str] | str = "le", *, seed: int = 0, **options: object
) -> Signals | None:
    if not layers:
        return None
    section = SignalsSection(kind=kinds, layers=layers, temperature=2.5, **options)  # type: ignore[arg-type]
    signals = build_signals(section, network, seed)
    assert signals is not None
    return signals.double()


@st.composite
def mixed_signals(draw: st.DrawFn, network: Network, seed: int) -> Signals | None:
    """Signals of any kinds at any layers, or none."""
    layers = draw(st.lists(st.integers(0, len(network.connections) - 1), unique=True))
    kinds = [draw(st.sampled_from(["le", "kd", "kdw"])) for _ in layers]
    options: dict[str, object] = {}
    if "le" in kinds:
        options |= {"targets": draw(st.sampled_from(["hard", "soft"])), "learned": draw(st.booleans())}
    if {"kd", "kdw"} & set(kinds):
        options["softmax"] = draw(st.sampled_from(["layer", "position"]))
    return double_signals(network, layers, kinds, seed=seed, **options)


def random_teacher(signals: Signals | None, samples: int, seed: int = 0) -> dict[int, torch.Tensor]:
    """Activations of a teacher at every layer whose signal needs them."""
    random = torch.Generator().manual_seed(seed + 7)
    taught = [] if signals is None else signals.taught
    return {
        layer: 3 * torch.randn(samples, *signals.shapes[layer], generator=random, dtype=torch.float64)
        for layer in taught
        if signals is not None
    }


def batch(network: Network, samples: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random float64 images and labels."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, *network.image_shape, generator=random, dtype=torch.float64)
    return x, torch.randint(0, network.num_classes, (samples,), generator=random)


def random_states(network: Network, samples: int, seed: int = 0) -> list[torch.Tensor]:
    """Uniform states with many exact zeros, ones and, where they have a sign, minus ones, as hard activations give
    them.
    """
    random = torch.Generator().manual_seed(seed)
    return [
        (torch.rand(samples, *shape, generator=random, dtype=torch.float64) * 3 - 1 - activation.signed / 2)
        .clamp(*activation.start)
        .mul_((torch.rand(samples, *shape, generator=random) > 0.2 * activation.signed).double())
        for shape, activation in zip(network.state_shapes, network.activations, strict=True)
    ]
