"""Layers and edges: which layer drives which, through what.

Layers are counted from 0; an edge leads from a lower layer, or the image (:data:`IMAGE`), to a higher one and carries
states up and errors down. Most networks are chains, in which every layer is driven by the one below.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeVar

from neurosim_ep.errors import ScenarioError

IMAGE = -1
"""Stands for the image where a layer is expected; it drives layer 0 and nothing else."""

Pool = Literal["max", "avg"]


class EdgePlan(NamedTuple):
    """One edge to build, from layer ``source``; an "identity" has no weights. ``pool``: 2x2, after the convolution."""

    source: int
    kind: Literal["conv", "linear", "identity"]
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    pool: Pool | None = None


class LayerPlan(NamedTuple):
    """One layer to build: ``size`` output channels or neurons, driven through ``edges``, or, where there are none,
    through one connection of its own ``kind`` from the layer below.
    """

    kind: Literal["conv", "linear"]
    size: int
    kernel: int = 3
    padding: int = 1
    pool: Pool | None = None
    stride: int = 1
    edges: tuple[EdgePlan, ...] = ()

    def incoming(self, layer: int) -> tuple[EdgePlan, ...]:
        """The edges into this layer, which is number ``layer``; a connection with weights comes first."""
        return self.edges or (self.own(layer - 1),)

    def own(self, source: int) -> EdgePlan:
        """A connection of the layer's own kind from layer ``source``."""
        if self.kind == "linear":
            return EdgePlan(source, "linear")
        return EdgePlan(source, "conv", self.kernel, self.stride, self.padding, self.pool)


Value = TypeVar("Value", bound=str | float)


def count_rule(given: object, layers: int, what: str) -> str:
    """What is wrong with ``given``, one ``what`` for all ``layers`` or a list with one for each; empty: nothing."""
    if not isinstance(given, tuple | list) or len(given) == layers:
        return ""
    counted = f"{len(given)} {what}" + "s" * (len(given) != 1)
    return f"has {counted} for {layers} layers; give one {what} for all layers or exactly one per layer"


def per_layer(given: Value | Sequence[Value], layers: int, key: str, what: str) -> list[Value]:
    """``given`` layer by layer. Raises :class:`ScenarioError`, about ``key``, for a list of another length."""
    values = [given] * layers if isinstance(given, str | float) else list(given)
    if rule := count_rule(values, layers, what):
        raise ScenarioError(f"{key} = {values}: {rule}")
    return values


def is_plain(plans: Sequence[LayerPlan]) -> bool:
    """Whether every layer is driven by the one below alone, with a stride of 1."""
    return all(plan.incoming(n) == (plan._replace(stride=1, edges=()).own(n - 1),) for n, plan in enumerate(plans))


def two_colours(edges: Sequence[tuple[int, int]], layers: int) -> list[int] | None:
    """Colours 0 and 1 of ``layers`` such that every one of the ``edges`` (source, target) joins two colours, that of
    layer 0 being 0; None where a cycle of an odd number of edges makes that impossible. A chain alternates.

    Every layer must be reached from layer 0.
    """
    colours: dict[int, int] = {0: 0}
    between = [edge for edge in edges if edge[0] != IMAGE]
    while len(colours) < layers:
        for source, target in between:
            for known, other in ((source, target), (target, source)):
                if known in colours:
                    colours.setdefault(other, 1 - colours[known])
    if any(colours[source] == colours[target] for source, target in between):
        return None
    return [colours[layer] for layer in range(layers)]
