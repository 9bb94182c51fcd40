"""One training step: a batch through its phases, and the change of weights that follows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from neurosim_ep.ep.network import Network
from neurosim_ep.ep.signals import Errors
from neurosim_ep.experiment.model import Model
from neurosim_ep.experiment.optimiser import Optimiser
from neurosim_ep.hardware.chip.counts import TileCounts
from neurosim_ep.ranks import ALONE, Ranks
from neurosim_ep.registry import RULES
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.scheduler.engine import Engine, Relaxation
from neurosim_ep.scheduler.feedforward import feed_forward_passes
from neurosim_ep.scheduler.observers import Observer
from neurosim_ep.scheduler.presentation import EPGradients, Gradients, free_phases
from neurosim_ep.scheduler.rules import Presented, Rule
from neurosim_ep.telemetry.counters import TileCounter
from neurosim_ep.telemetry.traffic import TrafficObserver


@dataclass(frozen=True)
class Batch:
    """Images ``x`` (B, C, H, W) as the network gets them, labels ``y`` (B,), and what the teacher shows for them, by
    layer.
    """

    x: Tensor
    y: Tensor
    teacher: dict[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """How ``scenario`` presents a batch to ``model``, and how it changes the weights."""

    scenario: Scenario
    model: Model
    engine: Engine
    ranks: Ranks = ALONE

    def present(
        self,
        batch: Batch,
        *,
        alpha: float = 1.0,
        start: Sequence[Tensor] | None = None,
        counter: TileCounter | None = None,
        observers: Sequence[Observer] = (),
    ) -> Gradients:
        """Take ``batch`` through what the learning rule does, from the states ``start`` (zeros); without samples, that
        is nothing, with no gradients.

        ``alpha`` weighs the signals. ``counter`` counts what EP's phases do on the tiles.
        """
        if not len(batch.y):
            return _nothing(self.model.network, nudges=self.scenario.plasticity.on_tiles)
        counting = [] if counter is None else [TrafficObserver(self.model.network, counter, batch.x)]
        rule: type[Rule] = RULES[self.scenario.plasticity.rule]
        return rule.present(
            Presented(
                self.scenario, self.engine, batch.x, batch.y, Errors(self.model.signals, alpha, batch.teacher), start,
                [*observers, *counting],
            )
        )  # fmt: skip

    def ends(self, batches: Iterable[tuple[Tensor, list[Tensor] | None]]) -> Iterator[tuple[Tensor, Relaxation]]:
        """Where the images (B, C, H, W) of all ``batches`` end, each with the states to start from (None: zeros), in
        free phases or feed-forward passes: numbers (n,), counted through all batches, and ends of n samples.
        """
        network, steps = self.model.network, self.scenario.relaxation.free_steps
        if not self.scenario.plasticity.relaxes:
            return feed_forward_passes(network, (x for x, _ in batches), precision=self.engine.precision)
        return free_phases(network, batches, steps, engine=self.engine)

    def apply_update(
        self, optimiser: Optimiser, batch: Batch, result: Gradients, counter: TileCounter | None = None
    ) -> TileCounts | None:
        """Change the weights as :meth:`present` found for ``batch``, by the optimiser or by pulses; returns what
        ``counter`` counted of the batch, the programming of the tiles included (None: it is not recorded), which is
        counted once by all processes of a run.
        """
        connections, tiles = self.model.network.connections, self.model.tiles
        pulsed = tiles is not None and tiles.pulsed
        before, counted = [], counter is not None and self.ranks.first
        if (tiles is not None and tiles.by_difference) if pulsed else counted:
            before = [connection.weight.clone() for connection in connections]
        self._change_weights(optimiser, batch, result, before)
        self.engine.refresh()
        if counter is None:
            return None
        if counted and tiles is not None and pulsed:
            for layer, pulses in enumerate(tiles.pulses()):
                counter.pulsed(layer, pulses.up, pulses.down)
        elif counted:
            for layer, (connection, old) in enumerate(zip(connections, before, strict=True)):
                counter.programmed(layer, old, connection.weight)
        return counter.result(len(batch.y))

    def _change_weights(self, optimiser: Optimiser, batch: Batch, result: Gradients, before: Sequence[Tensor]) -> None:
        """By the optimiser, whose change devices get from the weights ``before``, or by pulses of each term."""
        tiles = self.model.tiles
        if tiles is None or not tiles.pulsed:
            optimiser.step(result.grads)
            if tiles is not None:
                tiles.program()
        elif tiles.by_difference:
            optimiser.step(result.grads)
            tiles.write_difference(before)
        else:
            assert result.terms is not None
            rates = optimiser.pulse_rates(result.grads)
            optimiser.step(result.grads, weights=False)
            factors = [rate * scale for rate, scale in zip(rates, result.terms.scales, strict=True)]
            tiles.write_terms(batch.x, result.terms.ends, factors, result.terms.pre)


def _nothing(network: Network, *, nudges: bool) -> Gradients:
    """What a presentation of no samples gives."""
    states = network.initial_states(0, "zeros")
    change = states[0].new_zeros(0, network.layers)
    end = Relaxation(states, states, change, change.new_zeros(0).long(), change.byte())
    logits = change.new_zeros(0, network.num_classes)
    if nudges:
        return EPGradients({}, states, change.new_zeros(0), logits, end, states, states, end)
    return Gradients({}, states, change.new_zeros(0), logits, end)
