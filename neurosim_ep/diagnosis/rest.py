"""A free phase in which no sample leaves: how far every layer still moves in each tick, and of which kind that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim_ep.hardware.chip.phases import Phase
from neurosim_ep.scheduler.engine import Engine, Relaxation
from neurosim_ep.scheduler.observers import Observer
from neurosim_ep.scheduler.quiescence import Motion, StoppingCriterion
from neurosim_ep.scheduler.relaxation_state import RelaxationState
from neurosim_ep.scheduler.sigma_delta import SigmaDelta

KINDS = {Motion.SETTLED: "at rest", Motion.SLOW: "slow", Motion.PERIOD_2: "period-2", Motion.OTHER: "other"}


class LayerResiduals(Observer):
    """Largest |Δs| of each layer of each sample in every step; none may leave the batch. Steps of several ticks are
    entered at their last tick.
    """

    wants_changes = True

    def __init__(self) -> None:
        self.ticks: list[int] = []
        self._changes: list[Tensor] = []

    def end(self, relaxing: RelaxationState) -> None:
        """Keep this step's changes on the device."""
        if relaxing.step_over:
            self._changes.append(relaxing.change.clone())
            self.ticks.append(relaxing.tick)

    def curves(self) -> Tensor:
        """(steps, B, N)."""
        return torch.stack(self._changes)


@dataclass(frozen=True)
class FreePhase:
    """A free phase of exactly T ticks for every sample (rounded up to whole steps of the policy).

    ``end``: states at its end, and what receivers hold of them. ``residuals`` (steps, B, N) after each of ``ticks``.
    ``kinds`` (B,): :data:`KINDS` of each sample, that of its worst layer. ``senders``: what neurons last sent, with
    the ``event`` policy.
    """

    input_drive: Tensor
    end: Relaxation
    ticks: list[int]
    residuals: Tensor
    kinds: list[str]
    senders: SigmaDelta | None


@torch.no_grad()
def observe_free_phase(engine: Engine, x: Tensor, start: Sequence[Tensor], steps: int, tolerance: float) -> FreePhase:
    """Relax images x (B, C, H, W) from ``start`` for ``steps`` ticks with β = 0.

    ``tolerance`` only judges the motion at the end: a layer is at rest when no state changed by more in the last step
    (:mod:`~neurosim_ep.scheduler.quiescence` has the other kinds).
    """
    input_drive, _ = engine.network.input_drive(x)
    states = [state.clone() for state in start]
    senders = engine.senders(states) if engine.policy.obeys_senders else None
    never = StoppingCriterion(tolerance, to_go=0.0, patience=steps + 1)  # the host looks less often than that
    watcher = LayerResiduals()
    end = engine.relax(input_drive, states, steps, (Phase.FREE,), stop=never, senders=senders, observers=[watcher])
    kinds = [KINDS[Motion(worst)] for worst in end.motion.amax(1).tolist()]
    return FreePhase(input_drive, end, watcher.ticks, watcher.curves(), kinds, senders)


def quantiles(residuals: Tensor) -> Tensor:
    """Median, 90th percentile and largest value over samples: (steps, B, ...) -> (steps, 3, ...), float64 on the CPU.

    Quantiles are interpolated linearly.
    """
    values = residuals.double().cpu()
    middle = torch.quantile(values, values.new_tensor([0.5, 0.9]), 1)
    return torch.cat([middle.movedim(0, 1), values.amax(1, keepdim=True)], 1)
