"""The learning rules: from a batch to a gradient, one class each.

Nothing here imports PyTorch when it is loaded, so that scenarios can be checked without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from neurosim_ep.registry import RULES

if TYPE_CHECKING:
    from torch import Tensor

    from neurosim_ep.ep.feedback import Feedback
    from neurosim_ep.ep.network import Network
    from neurosim_ep.ep.plasticity import OuterProduct
    from neurosim_ep.ep.signals import Errors
    from neurosim_ep.scenario.schema import Scenario
    from neurosim_ep.scheduler.engine import Engine
    from neurosim_ep.scheduler.observers import Observer
    from neurosim_ep.scheduler.presentation import Gradients

Broken = Iterator[tuple[str, str]]
"""Pairs (key, rule) of what does not hold."""


@dataclass(frozen=True)
class Presented:
    """A batch, and all that a rule may need: images ``x`` (B, C, H, W), labels ``y`` (B,), the ``errors`` that push its
    layers, the states to ``start`` from (None: zeros), and who watches.
    """

    scenario: Scenario
    engine: Engine
    x: Tensor
    y: Tensor
    errors: Errors
    start: Sequence[Tensor] | None
    observers: Sequence[Observer]


class Rule(ABC):
    """One rule. ``name``: how scenarios spell it; ``sentence``: what it is; ``label``: what pictures call it, empty for
    equilibrium propagation.

    ``nudges``: it has nudge phases, whose reads are counted and billed; ``relaxes``: it has a free phase, and is not a
    feed-forward pass, which then tests take as well; ``real_tiles``: it can learn on tiles that are not ideal.
    ``keys``: those of ``[plasticity]`` that are for this rule alone.
    """

    name: str
    sentence: str
    label = ""
    nudges = False
    relaxes = True
    real_tiles = False
    keys: tuple[str, ...] = ()

    @classmethod
    def broken_rules(cls, scenario: Scenario) -> Broken:
        """What in ``scenario`` the rule cannot do; nothing."""
        yield from ()

    @classmethod
    @abstractmethod
    def present(cls, given: Presented) -> Gradients:
        """The gradient at a batch: batch mean, sign of a loss gradient."""


class Ends(NamedTuple):
    """States of every layer (B, *shape), as receivers hold them: at the ends whose difference is the gradient, that of
    the ``higher`` β and that of the ``lower`` one, and of the ``free`` phase; ``nudged`` (rows, *shape) has all nudge
    phases of a sample as neighbouring rows.
    """

    higher: Sequence[Tensor]
    lower: Sequence[Tensor]
    free: Sequence[Tensor]
    nudged: Sequence[Tensor]


class LocalRule(Rule):
    """A rule of equilibrium propagation: what the synapses do with what they see of its phases.

    One is made for every batch of images ``x`` (B, C, H, W); ``sign`` (rows,) is the sign of β in each row of the nudge
    phases.
    """

    nudges = True

    def __init__(
        self, network: Network, x: Tensor, sign: Tensor, feedback: Feedback, on_product: OuterProduct | None
    ) -> None:
        self.network, self.x, self.sign, self.feedback, self.on_product = network, x, sign, feedback, on_product

    @property
    def observers(self) -> Sequence[Observer]:
        """Who watches the nudge phases for the synapses; nobody."""
        return ()

    @abstractmethod
    def gradients(self, ends: Ends, scale: float) -> dict[str, Tensor]:
        """Parameter name → gradient for all connections; ``scale`` is 1/(phases · β · B)."""

    @classmethod
    def present(cls, given: Presented) -> Gradients:
        """All phases."""
        from neurosim_ep.scheduler.presentation import Phases, ep_gradients

        relaxation = given.scenario.relaxation
        phases = Phases(
            free_steps=relaxation.free_steps, nudge_steps=relaxation.nudge_steps, beta=relaxation.beta,
            nudging=relaxation.nudging, rule=cls.name,
        )  # fmt: skip
        return ep_gradients(
            given.engine.network, given.x, given.y, phases, given.errors,
            states=given.start, engine=given.engine, observers=given.observers,
        )  # fmt: skip


class Contrastive(LocalRule):
    """See :func:`~neurosim_ep.ep.plasticity.contrastive`."""

    name, sentence = "contrastive", "difference of phase end points"
    real_tiles = True

    def gradients(self, ends: Ends, scale: float) -> dict[str, Tensor]:
        """Of the two ends alone."""
        from neurosim_ep.ep.plasticity import contrastive

        higher, lower, free, _ = ends
        return contrastive(
            self.network, self.x, higher, lower, scale, self.on_product, feedback=self.feedback, free=free
        )


class Stdp(LocalRule):
    """See :class:`~neurosim_ep.scheduler.stdp.StdpObserver`."""

    name, sentence = "stdp", "local changes accumulated over the nudge ticks"

    def __init__(
        self, network: Network, x: Tensor, sign: Tensor, feedback: Feedback, on_product: OuterProduct | None
    ) -> None:
        from neurosim_ep.scheduler.stdp import StdpObserver

        super().__init__(network, x, sign, feedback, on_product)
        self._watching = StdpObserver(network, x, sign, on_product, feedback)

    @property
    def observers(self) -> Sequence[Observer]:
        """The synapses' own."""
        return (self._watching,)

    def gradients(self, ends: Ends, scale: float) -> dict[str, Tensor]:
        """Of all ticks that were watched."""
        return self._watching.gradients(ends.nudged, ends.free, scale)


class Bptt(Rule):
    """See :func:`~neurosim_ep.scheduler.unrolled.bptt_gradients`."""

    name, sentence = "bptt", "backpropagation through the last free ticks, a reference that the chip does not compute"
    label, keys = "BPTT", ("bptt_steps",)

    @classmethod
    def broken_rules(cls, scenario: Scenario) -> Broken:
        """It goes back through the synchronous map, in full precision, and not beyond the free phase."""
        if scenario.scheduler.policy != "synchronous":
            yield "scheduler.policy", 'must be "synchronous" with plasticity.rule = "bptt", which goes back through it'
        if scenario.scheduler.precision != "float32":
            yield "scheduler.precision", 'must be "float32" with plasticity.rule = "bptt"'
        steps = scenario.bptt_steps
        if steps > scenario.relaxation.free_steps:
            source = "plasticity.bptt_steps" if scenario.plasticity.bptt_steps else "relaxation.nudge_steps"
            yield "relaxation.free_steps", f"must be at least {source} ({steps}), the ticks BPTT goes back"

    @classmethod
    def present(cls, given: Presented) -> Gradients:
        """A free phase, and back through its last ticks."""
        from neurosim_ep.scheduler.unrolled import Unrolling, bptt_gradients

        unrolling = Unrolling(free_steps=given.scenario.relaxation.free_steps, steps=given.scenario.bptt_steps)
        return bptt_gradients(
            given.engine.network, given.x, given.y, unrolling, given.errors,
            states=given.start, engine=given.engine, observers=given.observers,
        )  # fmt: skip


class Backprop(Rule):
    """See :func:`~neurosim_ep.scheduler.feedforward.backprop_gradients`."""

    name = "backprop"
    sentence = "backpropagation through a feed-forward pass of the network: the yardstick, without phases or signals"
    label, relaxes, real_tiles = "backpropagation", False, True

    @classmethod
    def broken_rules(cls, scenario: Scenario) -> Broken:
        """It has no phases and no signals."""
        where = f'with plasticity.rule = "{cls.name}"'
        if scenario.signals.kind != "none":
            yield "signals.kind", f'must be "none" {where}, which learns from the loss of the last layer alone'
        if scenario.relaxation.warm_start != "none":
            yield "relaxation.warm_start", f'must be "none" {where}, which has no free phase to start'
        if scenario.scheduler.precision not in ("float32", "tf32"):
            yield "scheduler.precision", f'must be "float32" or "tf32" {where}'

    @classmethod
    def present(cls, given: Presented) -> Gradients:
        """One pass, and back."""
        from neurosim_ep.scheduler.feedforward import backprop_gradients

        return backprop_gradients(given.engine.network, given.x, given.y, precision=given.engine.precision)


for _rule in (Contrastive, Stdp, Bptt, Backprop):
    RULES.add(_rule)
