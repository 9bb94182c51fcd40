"""How a network comes to rest on images, as its scenario says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from neurosim_ep.ep.feedback import Feedback
from neurosim_ep.ep.network import Network
from neurosim_ep.ep.seeds import Stream, generator
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.scheduler.engine import Engine, Relaxation
from neurosim_ep.scheduler.feedforward import feed_forward_passes
from neurosim_ep.scheduler.presentation import free_phase
from neurosim_ep.scheduler.schedule import Schedule


@dataclass(frozen=True)
class Dynamics:
    """The free phase of ``scenario``, with its ticks, gains and schedule, or its feed-forward pass."""

    scenario: Scenario

    def rest(self, network: Network, x: Tensor, start: Sequence[Tensor] | None = None) -> Relaxation:
        """Where images x (B, C, H, W) end on ``network`` from the states ``start``; by default those from which a run
        tests.
        """
        relaxation, schedule = self.scenario.relaxation, Schedule.of(self.scenario.scheduler, self.scenario.relaxation)
        engine = Engine(network, schedule, Feedback(network, relaxation.feedback, relaxation.displacement_gain))
        if not self.scenario.plasticity.relaxes:
            (_, end), *_ = feed_forward_passes(network, [x], precision=engine.precision)
            return end
        if start is None:
            random = generator(self.scenario.scenario.seed, Stream.TEST_STATES)
            start = network.initial_states(len(x), relaxation.state_init, random)
        return free_phase(network, x, relaxation.free_steps, start, engine=engine)

    def __call__(self, network: Network, x: Tensor) -> Tensor:
        """Logits (B, C) of what the readout sees there."""
        return network.logits(self.rest(network, x).received)
