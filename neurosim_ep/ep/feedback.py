"""Gains of the feedback: how strongly a layer drives those below it, at rest and by what the nudge adds.

With a gain γ on the feedback (feedback regulation, Liu and Chen 2025, arXiv 2508.11659) the states rest at

    s^n = σ(W_n s^{n−1} + b_n + γ W_{n+1}ᵀ s^{n+1}),

where ``Φ_γ = Σ_edges γ^{d_target} s^target • P(w ⋆ s^source + b) − Σ_l γ^{d_l} G(s^l)`` is stationary, d_l being the
depth of layer l: the edges on the longest way to it from the first layer. What an edge passes up has the factor 1, what
it passes down γ to the power of the layers it crosses, ``γ^{d_target − d_source}``: γ in a chain, γ² over a skip of two
layers. γ may differ from depth to depth: with γ_d for what layers of depth d pass to the depth below, products of what
is crossed take the place of powers. Other factors on a graph would not be those of an energy. γ = 1 is Φ of arXiv
2508.15989.

EP of Φ_γ is exact. An error −β ∂L/∂s in the drive of layer l is ``−β γ^{d_l} ∂L/∂s`` in that energy, so that one β for
all layers would give more weight to the losses of lower ones. The nudge of a signal at layer l is therefore
``γ^{d_N − d_l}`` of what it would be, N the last layer, and the gradient of the loss is ∂Φ_γ/∂w over β γ^{d_N}:
``γ^{d_target − d_N}`` times that of Φ.

In the nudge phases the displacement from the free state s* may have a gain κ of its own,

    s^n = σ(W_n s^{n−1} + b_n + W_{n+1}ᵀ [γ s*^{n+1} + κ (s^{n+1} − s*^{n+1})] − β ∂L/∂s^n),

with κ in the place of γ in the factors of errors and gradients, pre-synaptic factors of the free phase, and the argmax
of max-pooling that of the free state in both directions. κ = γ is EP of Φ_γ. Any other κ is not the gradient of an
energy; κ = 1 keeps the error at one size through all layers. With γ = 0 the displacement after one sweep downwards is
what backpropagation passes down, and the rule is backpropagation by differences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from neurosim_ep.ep.network import Network
from neurosim_ep.errors import UsageError
from neurosim_ep.scenario.schema.dynamics import LARGEST_GAIN

LARGEST_FACTOR = 1e30  # of a gradient: sums of float32 hold up to 3e38


class Gain(NamedTuple):
    """What is driven into the columns of an edge is ``rest · s* + away · (s − s*)``; its read is multiplied by
    ``gain``.
    """

    gain: float
    rest: float = 1.0
    away: float = 1.0


Gains = float | Sequence[float]
"""One gain, or one for each depth from 1 on: of what its layers pass to the depth below, in a chain one per layer from
the second on."""


class Feedback:
    """The gains γ (``feedback``) and κ (``nudge_feedback``, γ where it is None) on ``network``.

    ``apart``: whether the displacement has a gain of its own; ``boosted``: whether it is larger anywhere. Raises
    :class:`UsageError` for gains outside of 0 to 10, or as many as there are no depths.
    """

    def __init__(self, network: Network, feedback: Gains = 1.0, nudge_feedback: Gains | None = None) -> None:
        depth = [0] * network.layers
        for edge in network.edges[1:]:  # in the order of the layers that they drive
            depth[edge.target] = max(depth[edge.target], depth[edge.source] + 1)
        self.feedback = feedback
        self.nudge_feedback = feedback if nudge_feedback is None else nudge_feedback
        self._resting = _by_depth("feedback", self.feedback, depth[-1])
        self._displaced = _by_depth("nudge_feedback", self.nudge_feedback, depth[-1])
        self.apart = self._resting != self._displaced
        self.boosted = any(away > rest for rest, away in zip(self._resting, self._displaced, strict=True))
        self._depth = depth
        self._crossed = [(0, 0)] + [(depth[edge.source], depth[edge.target]) for edge in network.edges[1:]]
        self._target = [connection.target for connection in network.connections]
        self._edges = sorted(network.number, key=network.number.__getitem__)

    @property
    def note(self) -> str:
        """What must be known of gradients with these gains; empty where they are those of a loss."""
        if not self.apart:
            return ""
        return (
            f"nudge_feedback = {_told(self.nudge_feedback)} beside feedback = {_told(self.feedback)}: the updates are "
            "not the gradient of an energy"
        )

    def gains(self, nudged: bool) -> list[Gain]:
        """Those of every edge in a free phase, or in a phase that is ``nudged``.

        The larger of both is that of the read, so that what is driven is about as large as a state.
        """
        found = []
        for below, above in self._crossed:
            resting, displaced = math.prod(self._resting[below:above]), math.prod(self._displaced[below:above])
            if nudged and self.apart:
                largest = max(resting, displaced)
                found.append(Gain(largest, resting / largest, displaced / largest))
            else:
                found.append(Gain(resting))
        return found

    def of_reads(self) -> list[float]:
        """Gain of the transposed reads of each connection, by its place among those that have weights, when nudged."""
        gains = self.gains(nudged=True)
        return [gains[edge].gain for edge in self._edges]

    def of_error(self, layer: int) -> float:
        """Factor of an error in the drive of ``layer``."""
        return math.prod(self._displaced[self._depth[layer] :])

    def of_gradient(self, connection: int) -> float:
        """Factor of the gradient of ``connection``, by its place among those that have weights."""
        return 1 / self.of_error(self._target[connection])

    def coupling(self, edge: int) -> float:
        """Root of the factors up and down an edge: of both in states scaled by γ^{d/2}, in which Φ_γ's Hessian is
        symmetric.
        """
        below, above = self._crossed[edge]
        return math.sqrt(math.prod(self._resting[below:above]))

    def check_nudge(self) -> None:
        """Raise :class:`UsageError` where the error would not reach the first layer as a number."""
        reach = math.prod(self._displaced)
        if 0 in self._displaced:
            raise UsageError(
                f"nudge_feedback = {_told(self.nudge_feedback)}: passes no error down; give it values above 0, as 1"
            )
        if reach * LARGEST_FACTOR < 1:
            raise UsageError(
                f"nudge_feedback = {_told(self.nudge_feedback)}: would leave {reach:.0e} of an error after "
                f"{len(self._displaced)} layers, too little to compute with; use a larger one"
            )

    def check_same(self, feedback: Gains, nudge_feedback: Gains | None) -> None:
        """Raise :class:`UsageError` where other gains are asked for than these."""
        asked = feedback, feedback if nudge_feedback is None else nudge_feedback
        if asked not in ((1.0, 1.0), (self.feedback, self.nudge_feedback)):
            raise UsageError(
                f"feedback = {_told(asked[0])}, nudge_feedback = {_told(asked[1])}: the engine has "
                f"{_told(self.feedback)} and {_told(self.nudge_feedback)}; make the engine with the gains"
            )


def _by_depth(name: str, gains: Gains, depths: int) -> list[float]:
    """One gain for each of ``depths``."""
    given = [gains] if isinstance(gains, int | float) else list(gains)
    for value in given:
        if not 0 <= value <= LARGEST_GAIN:
            raise UsageError(f"{name} = {value:g}: must be 0 to {LARGEST_GAIN}; 1 passes down what is passed up")
    if isinstance(gains, int | float):
        return given * depths
    if len(given) != depths:
        raise UsageError(
            f"{name} = {_told(gains)}: {len(given)} gains for layers of {depths + 1} depths; give {depths}, one for "
            "each depth but the first, or a single one"
        )
    return given


def _told(gains: Gains) -> str:
    return f"{gains:g}" if isinstance(gains, int | float) else f"[{', '.join(f'{gain:g}' for gain in gains)}]"
