"""Gains of the feedback: how strongly a layer drives those below it, at rest and by what the nudge adds.

With a gain γ on the feedback (feedback regulation, Liu and Chen 2025, arXiv 2508.11659) the states rest at

    s^n = σ(W_n s^{n−1} + b_n + γ W_{n+1}ᵀ s^{n+1}),

where ``Φ_γ = Σ_edges γ^{d_target} s^target • P(w ⋆ s^source + b) − Σ_l γ^{d_l} G(s^l)`` is stationary, d_l being the
depth of layer l: the edges on the longest way to it from the first layer. What an edge passes up has the factor 1, what
it passes down γ to the power of the layers it crosses, ``γ^{d_target − d_source}``: γ in a chain, γ² over a skip of two
layers. Other factors on a graph would not be those of an energy. γ = 1 is Φ of arXiv 2508.15989.

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


class Feedback:
    """The gains γ (``feedback``) and κ (``nudge_feedback``, γ where it is None) on ``network``.

    ``apart``: whether the displacement has a gain of its own. Raises :class:`UsageError` for gains outside of 0 to 10.
    """

    def __init__(self, network: Network, feedback: float = 1.0, nudge_feedback: float | None = None) -> None:
        for name, value in (("feedback", feedback), ("nudge_feedback", nudge_feedback)):
            if value is not None and not 0 <= value <= LARGEST_GAIN:
                raise UsageError(f"{name} = {value:g}: must be 0 to {LARGEST_GAIN}; 1 passes down what is passed up")
        self.feedback = feedback
        self.nudge_feedback = feedback if nudge_feedback is None else nudge_feedback
        self.apart = self.nudge_feedback != feedback
        depth = [0] * network.layers
        for edge in network.edges[1:]:  # in the order of the layers that they drive
            depth[edge.target] = max(depth[edge.target], depth[edge.source] + 1)
        self._above = [depth[-1] - own for own in depth]
        self._crossed = [0] + [depth[edge.target] - depth[edge.source] for edge in network.edges[1:]]
        self._target = [connection.target for connection in network.connections]
        self._edges = sorted(network.number, key=network.number.__getitem__)

    @property
    def note(self) -> str:
        """What must be known of gradients with these gains; empty where they are those of a loss."""
        if not self.apart:
            return ""
        return (
            f"nudge_feedback = {self.nudge_feedback:g} beside feedback = {self.feedback:g}: the updates are not the "
            "gradient of an energy"
        )

    def gains(self, nudged: bool) -> list[Gain]:
        """Those of every edge in a free phase, or in a phase that is ``nudged``.

        The larger of both is that of the read, so that what is driven is about as large as a state.
        """
        found = []
        for crossed in self._crossed:
            resting, displaced = self.feedback**crossed, self.nudge_feedback**crossed
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
        return self.nudge_feedback ** self._above[layer]

    def of_gradient(self, connection: int) -> float:
        """Factor of the gradient of ``connection``, by its place among those that have weights."""
        return 1 / self.nudge_feedback ** self._above[self._target[connection]]

    def coupling(self, edge: int) -> float:
        """Root of the factors up and down an edge: of both in states scaled by γ^{d/2}, in which Φ_γ's Hessian is
        symmetric.
        """
        return math.sqrt(self.feedback ** self._crossed[edge])

    def check_nudge(self) -> None:
        """Raise :class:`UsageError` where the error would not reach the first layer as a number."""
        if self.nudge_feedback == 0:
            raise UsageError("nudge_feedback = 0: passes no error down; give it a value above 0, as 1")
        if self.nudge_feedback ** max(self._above) * LARGEST_FACTOR < 1:
            raise UsageError(
                f"nudge_feedback = {self.nudge_feedback:g}: would leave {self.nudge_feedback ** max(self._above):.0e} "
                f"of an error after {max(self._above)} layers, too little to compute with; use a larger one"
            )

    def check_same(self, feedback: float, nudge_feedback: float | None) -> None:
        """Raise :class:`UsageError` where other gains are asked for than these."""
        asked = feedback, feedback if nudge_feedback is None else nudge_feedback
        if asked not in ((1.0, 1.0), (self.feedback, self.nudge_feedback)):
            raise UsageError(
                f"feedback = {asked[0]:g}, nudge_feedback = {asked[1]:g}: the engine has {self.feedback:g} and "
                f"{self.nudge_feedback:g}; make the engine with the gains"
            )
