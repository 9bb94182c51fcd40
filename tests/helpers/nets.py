"""Small random networks for tests."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from hypothesis import strategies as st

from neurosim_ep.ep.network import Network, build_network
from neurosim_ep.ep.signals import Signals, build_signals
from neurosim_ep.registry import ACTIVATIONS
from neurosim_ep.scenario.schema import EdgeSpec, LayerSpec, NetworkSection, SignalsSection

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


def _side(side: int, edge: EdgeSpec | LayerSpec) -> int:
    side = (side + 2 * edge.padding - edge.kernel) // edge.stride + 1
    return side // 2 if edge.pool != "none" else side


def _skips(size: int, wanted: tuple[int, ...], shapes: Sequence[tuple[int, ...]]) -> list[EdgeSpec]:
    """Edges from the lower layers of ``shapes`` that give a convolution's state of shape ``wanted``."""
    found = []
    for layer, shape in enumerate(shapes):
        for pool in ("none", "max", "avg"):
            halved = tuple(side // 2 if pool != "none" else side for side in shape[1:])
            if (shape[0], *halved) == wanted:
                found.append(EdgeSpec(layer=layer, kind="identity", pool=pool))
            for kernel, stride, padding in itertools.product((1, 2, 3), (1, 2, 3), (0, 1)):
                edge = EdgeSpec(layer=layer, kind="conv", kernel=kernel, stride=stride, padding=padding, pool=pool)
                if (size, *(_side(side, edge) for side in shape[1:])) == wanted:
                    found.append(edge)
    return found


@st.composite
def graphs(draw: st.DrawFn, image: tuple[int, ...] = (2, 13, 11)) -> NetworkSection:
    """Convolutions with strides, then linear layers, with skips of every kind that fits: weighted and identities."""
    layers: list[LayerSpec] = []
    shapes: list[tuple[int, ...]] = []
    below = image
    for number in range(draw(st.integers(2, 4))):
        size, pool = draw(st.integers(1, 3)), draw(st.sampled_from(["none", "max", "avg"]))
        own = LayerSpec(kind="conv", size=size, kernel=3, padding=1, stride=draw(st.integers(1, 2)), pool=pool)
        wanted = (size, *(_side(side, own) for side in below[1:]))
        if min(wanted[1:]) < 2:
            break
        skips = _skips(size, wanted, shapes)
        chosen = draw(st.lists(st.sampled_from(skips), max_size=2, unique=True)) if skips else []
        edges = [EdgeSpec(layer=number - 1), *chosen] if chosen else []
        layers.append(own.model_copy(update={"edges": tuple(edges)}))
        shapes.append(wanted)
        below = wanted
    for _ in range(draw(st.integers(1, 2))):
        size, number = draw(st.integers(2, 4)), len(shapes)
        others = [EdgeSpec(layer=layer) for layer in range(number - 1)]
        others += [EdgeSpec(layer=layer, kind="identity") for layer, shape in enumerate(shapes) if shape == (size,)]
        chosen = draw(st.lists(st.sampled_from(others), max_size=2, unique=True)) if others else []
        edges = [EdgeSpec(layer=number - 1), *chosen] if chosen else []
        layers.append(LayerSpec(kind="linear", size=size).model_copy(update={"edges": tuple(edges)}))
        shapes.append((size,))
    return custom(
        *layers,
        activation=draw(st.sampled_from(NAMES)),
        loss=draw(st.sampled_from(["cross_entropy", "squared_error"])),
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
    layers = draw(st.lists(st.integers(0, network.layers - 1), unique=True))
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
