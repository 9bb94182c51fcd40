"""How ticks are computed: the choices of a scenario's ``[scheduler]`` section and the tolerances that go with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neurosim_ep.scenario.schema import RelaxationSection, SchedulerSection


@dataclass(frozen=True)
class Schedule:
    """The scheduler's part of a presentation; the defaults compute every sample in every tick.

    ``policy``: "synchronous", "alternating" or "event". ``tolerance``: largest change of a sample at rest in the free
    phase; ``nudge_tolerance``: the same in the nudge phases, relative to each layer's displacement; 0 runs all ticks.
    ``check_every``: ticks between tests for rest. ``thresholds``: θ of each layer, or of all. ``precision``: of the
    inside of convolutions, "float32", "tf32", "bfloat16", "float16" or "auto", the fastest of them on the device.
    """

    policy: str = "synchronous"
    tolerance: float = 0.0
    nudge_tolerance: float = 0.0
    check_every: int = 4
    thresholds: float | tuple[float, ...] = 0.0
    precision: str = "float32"

    @classmethod
    def of(cls, scheduler: SchedulerSection, relaxation: RelaxationSection) -> Schedule:
        """The schedule of a scenario."""
        return cls(
            policy=scheduler.policy,
            tolerance=relaxation.tolerance,
            nudge_tolerance=relaxation.nudge_tolerance,
            check_every=scheduler.check_every,
            thresholds=scheduler.threshold,
            precision=scheduler.precision,
        )

    def thresholds_of(self, layers: int) -> Sequence[float]:
        """θ of each of ``layers`` layers."""
        return self.thresholds if isinstance(self.thresholds, tuple) else (self.thresholds,) * layers
