"""How ticks are computed: the choices of a scenario's ``[scheduler]`` section and the tolerances that go with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neurosim_ep.scenario.schema import RelaxationSection, SchedulerSection


@dataclass(frozen=True)
class Schedule:
    """The scheduler's part of a presentation; the defaults compute every sample in every tick.

    Args:
        policy: a name that ``neurosim-ep list`` shows: "synchronous", "alternating", "sweep", "event" or another
            package's.
        tolerance: largest change of a sample's states per step at which it is at rest in the free phase; 0 runs all
            ticks.
        nudge_tolerance: the same in the nudge phases, relative to each layer's displacement.
        check_every: ticks between two looks for samples at rest.
        thresholds: θ, the change a neuron sends, of each layer or of all, for the policies that obey it.
        precision: of the inside of convolutions: "float32", "tf32", "bfloat16", "float16", or "auto", the fastest of
            them on the device.

    >>> Schedule("event", thresholds=(0.1, 0.2)).thresholds_of(2), Schedule("event", thresholds=0.1).thresholds_of(2)
    ((0.1, 0.2), (0.1, 0.1))
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
