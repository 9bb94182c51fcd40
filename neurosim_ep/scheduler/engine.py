"""The tick loop: relaxes samples through one phase, and stops computing those that have come to rest.

A batch is relaxed as a whole, or the samples of many batches one after the other in as many places as one has: where a
sample has ended the next one begins.

The host looks at the device once per block of ticks, never per tick. On a CUDA device a block is a captured graph and
the host acts on what the block before the last one found, so the device always has work waiting. What is watched by
observers is launched tick by tick and looked at without delay, so that they see the same on every device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim_ep.ep.arithmetic import tf32
from neurosim_ep.ep.feedback import Feedback, Gains
from neurosim_ep.ep.network import Network, channels_last
from neurosim_ep.ep.nudge import Nudge
from neurosim_ep.ep.transfers import to_device
from neurosim_ep.errors import UsageError
from neurosim_ep.hardware.chip.phases import Phase
from neurosim_ep.registry import POLICIES
from neurosim_ep.scheduler.anchors import Anchors
from neurosim_ep.scheduler.buffers import KeptStates, Verdicts
from neurosim_ep.scheduler.course import Course
from neurosim_ep.scheduler.fused.check import trusted_passes
from neurosim_ep.scheduler.graphs import BlockGraphs
from neurosim_ep.scheduler.kernels import Kernel, fastest_precision, make_kernels, supported_precision
from neurosim_ep.scheduler.observers import Observer
from neurosim_ep.scheduler.quiescence import StoppingCriterion
from neurosim_ep.scheduler.relaxation_state import Reads, RelaxationState
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.scheduler.sigma_delta import SigmaDelta

SMALLEST_ROWS = 32  # a captured graph computes at least: fewer take as long
REFILL = 8  # places are filled again when one in so many is free

Waiting = Callable[[int | None], tuple[Tensor, list[Tensor]] | None]
"""Gives input drives (n, *shape) and states (n, *shape) of the next samples: at most as many as it is asked for, and
none from beyond the end of a batch. None where no more are waiting."""


def engine_for(
    network: Network,
    schedule: Schedule | None,
    engine: Engine | None,
    feedback: Gains,
    nudge_feedback: Gains | None = None,
) -> Engine:
    """``engine``, which must have these gains, and this schedule if there is one, or a new one."""
    if engine is None:
        return Engine(network, schedule or Schedule(), Feedback(network, feedback, nudge_feedback))
    engine.feedback.check_same(feedback, nudge_feedback)
    if schedule is not None and schedule != engine.schedule:
        raise UsageError(f"schedule = {schedule}: must be the engine's, {engine.schedule}, or left out")
    return engine


@dataclass(frozen=True)
class Relaxation:
    """End of a phase, samples in the order of the batch.

    ``states``: per layer (rows, *shape), ``copies`` neighbouring rows per sample where phases ran side by side.
    ``received``: what receivers hold of them. ``change`` (B, N): largest change of each layer of each sample in the
    last step it was computed. ``ticks`` (B,): the tick at which it was found at rest, or the last one. ``motion``
    (B, N): :class:`Motion` of each layer.
    """

    states: list[Tensor]
    received: list[Tensor]
    change: Tensor
    ticks: Tensor
    motion: Tensor

    @property
    def residual(self) -> Tensor:
        """Per sample (B,), the largest change of any state in its last step."""
        return self.change.amax(1)


class Engine:
    """Relaxes batches on one ``network`` as ``schedule`` says, with the gains of ``feedback`` (1 by default).

    Call :meth:`refresh` after the weights have changed. ``network`` must stay on its device.
    """

    def __init__(self, network: Network, schedule: Schedule, feedback: Feedback | None = None) -> None:
        self.network, self.schedule = network, schedule
        self.feedback = feedback or Feedback(network)
        self.policy = POLICIES[schedule.policy](network)
        self.device = network.connections[0].weight.device
        self._real = any(connection.tiles is not None for connection in network.connections)
        wanted = schedule.precision
        if wanted == "auto":
            wanted = "float32" if self._real else fastest_precision(self.device)
        self.precision, self._replaced = supported_precision(wanted, self.device)
        self.kernels = make_kernels(network, self.precision)
        self.graphs = BlockGraphs(self.device) if self.device.type == "cuda" and not self._real else None
        with self._own_device():
            self.fused, self._unfused = (None, "") if self.graphs is None else trusted_passes(self.device)
        self._kept = KeptStates()

    @property
    def notes(self) -> list[str]:
        """Where the machine cannot do what is asked for, a line each."""
        lines = []
        if self._replaced:
            lines.append(f"convolutions are computed in {self.precision}: {self._replaced}")
        if self.graphs is not None and self.graphs.failure:
            lines.append(f"ticks are launched one by one, as they cannot be captured: {self.graphs.failure}")
        if self._unfused:
            lines.append(f"states are pooled and written in several passes each: {self._unfused}")
        return lines

    def refresh(self) -> None:
        """The weights have changed."""
        for kernel in self.kernels:
            kernel.refresh()

    def senders(self, states: Sequence[Tensor]) -> SigmaDelta:
        """Senders for a batch that starts at ``states`` and has sent nothing yet."""
        return SigmaDelta(self.schedule.thresholds_of(len(states)), states)

    @torch.no_grad()
    def relax(
        self,
        input_drive: Tensor,
        states: list[Tensor],
        steps: int,
        phases: tuple[Phase, ...],
        *,
        stop: StoppingCriterion,
        nudge: Nudge | None = None,
        senders: SigmaDelta | None = None,
        observers: Sequence[Observer] = (),
    ) -> Relaxation:
        """Run at most ``steps`` ticks; ``states`` are used up.

        ``states`` (rows, *shape) has one row per sample and phase, the phases of a sample side by side, as ``nudge``
        and ``senders`` have; ``input_drive`` (B, *shape) has one per sample.
        """
        given = self._start(input_drive, states, phases, nudge, senders, observers)
        course = self._course(given, steps)
        with self._ticking():
            for _ in self._run(course, stop):
                pass
        if nudge is not None:  # the weights change next
            for kernel in self.kernels:
                kernel.release()
        course.relaxing.restore_order()
        if course.relaxing is not given:
            given.load(course.relaxing)
        return self._end(given, course, slice(None), slice(given.samples))

    @torch.no_grad()
    def relax_all(
        self, waiting: Waiting, steps: int, *, stop: StoppingCriterion
    ) -> Iterator[tuple[Tensor, Relaxation]]:
        """Run at most ``steps`` free ticks of every sample that is ``waiting``; each ends as in a batch of its own.

        There are as many places as the first batch has samples; later samples take those of samples that have ended.
        Yields numbers (n,), counted through all batches, and ends of n samples whose places are needed. Relax nothing
        else with this engine before it has yielded all.
        """
        batch = waiting(None)
        if batch is None:
            return
        course = self._course(self._free_start(*batch), steps)
        run, going_on = self._run(course, stop, waiting), True
        while going_on:
            with self._ticking():
                going_on = next(run, False)
            numbers, places = (to_device(torch.tensor(found), self.device) for found in course.leave())
            yield numbers, self._end(course.relaxing, course, places, course.relaxing.order[places])

    def _start(
        self,
        input_drive: Tensor,
        states: Sequence[Tensor],
        phases: tuple[Phase, ...],
        nudge: Nudge | None,
        senders: SigmaDelta | None,
        observers: Sequence[Observer],
    ) -> RelaxationState:
        self.network.begin_phase("free" if nudge is None else "nudge")
        reads = Reads(
            self.network, self.kernels, self.feedback, self.policy.obeys_senders, self.fused, self.graphs is not None
        )
        return RelaxationState(
            reads, channels_last(input_drive), [channels_last(state) for state in states], phases,
            nudge=nudge, senders=senders, anchors=self._anchors(len(phases)), observers=observers,
        )  # fmt: skip

    def _free_start(self, input_drive: Tensor, states: Sequence[Tensor]) -> RelaxationState:
        """Samples at the beginning of a free phase that nobody observes."""
        senders = self.senders(states) if self.policy.obeys_senders else None
        return self._start(input_drive, states, (Phase.FREE,), None, senders, ())

    def _course(self, given: RelaxationState, steps: int) -> Course:
        """The course of ``given`` in place, or in a relaxation state that is kept where that is captured."""
        if given.nudge is None:
            for kernel in self.kernels:
                kernel.expect(steps // self.policy.ticks)
        relaxing = self._kept.holding(given) if self._captures(given) else given
        relaxing.active = self._places(relaxing, given.samples)
        return Course(relaxing, steps, self.policy.ticks, self.schedule.check_every)

    def _run(self, course: Course, stop: StoppingCriterion, waiting: Waiting = lambda room: None) -> Iterator[bool]:
        """All blocks of a phase, or those until no sample moves and none is waiting.

        Yields True where the ends of samples must leave their places before it goes on.
        """
        relaxing, verdicts = course.relaxing, Verdicts(delayed=self._captures(course.relaxing))
        self._prepare(relaxing)
        while course.moving:
            self._block(relaxing, course.advance())
            if stop.tolerance > 0 and course.looking:
                course.hear(verdicts.ask(course.look(stop)))
            over = course.expire(stop)
            if self._retire(course):
                verdicts.forget()
            if relaxing.nudge is None and (places := course.anchored()):
                relaxing.anchor(course.chosen(places))
            batch = self._next(course, waiting)
            if (batch is not None or (over and course.moving)) and course.ended():
                yield True
            while batch is not None:
                self._admit(course, self._free_start(*batch))
                verdicts.forget()
                batch = self._next(course, waiting)

    def _prepare(self, relaxing: RelaxationState) -> None:
        """What must be known before the first tick."""
        if relaxing.nudge is not None:
            relaxing.anchor(slice(relaxing.active))
            relaxing.keep_routing()
        elif relaxing.anchors is not None:
            relaxing.anchors.clear(relaxing.samples)
        self.policy.prepare(relaxing)

    def _next(self, course: Course, waiting: Waiting) -> tuple[Tensor, list[Tensor]] | None:
        """Samples for the free places, once these are a share worth filling.

        Real tiles draw random numbers row by row, in the order of batches: there all places are filled at once.
        """
        places = len(course.places)
        free, enough = places - course.moving, places if self._real else max(1, places // REFILL)
        return waiting(free) if free >= enough and course.even else None

    def _admit(self, course: Course, fresh: RelaxationState) -> None:
        self._prepare(fresh)
        course.admit(fresh)
        course.relaxing.active = self._places(course.relaxing, course.extent)

    @contextmanager
    def _ticking(self) -> Iterator[None]:
        """Streams, events and captures are those of the network's device, products as precise as scheduled."""
        with self._own_device(), tf32(self.precision == "tf32"):
            yield

    def _own_device(self) -> AbstractContextManager[object]:
        """Streams, events and captures are those of the current device: that of the network."""
        return torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()

    def _anchors(self, copies: int) -> Anchors | None:
        if self.precision == "float32":
            return None
        return Anchors(self.kernels, [Kernel(kernel.edge) for kernel in self.kernels], copies)

    def _captures(self, relaxing: RelaxationState) -> bool:
        """Whether blocks of ticks are captured: what observers see cannot be repeated without Python."""
        return self.graphs is not None and not relaxing.observers

    def _retire(self, course: Course) -> bool:
        """Stop computing samples at rest where that makes the batch smaller; whether it did."""
        room = self._places(course.relaxing, course.moving)
        if room >= course.relaxing.active:
            return False
        course.retire(room)
        return True

    def _places(self, relaxing: RelaxationState, samples: int) -> int:
        """Places computed for ``samples`` samples: as many, or where ticks are captured a size with graphs."""
        if samples == 0 or not self._captures(relaxing):
            return samples
        size = relaxing.samples
        while size // 2 >= samples and size // 2 * relaxing.copies >= SMALLEST_ROWS:
            size //= 2
        return size

    def _block(self, relaxing: RelaxationState, steps: int) -> None:
        wanted = any(observer.wants_changes for observer in relaxing.observers)

        def block() -> None:
            for number in range(steps):
                relaxing.watching = wanted or number == steps - 1
                self.policy.step(relaxing)

        if self.graphs is None or not self._captures(relaxing):
            block()
            return
        tick = relaxing.tick
        self.graphs.run((relaxing.samples, relaxing.kind, relaxing.active, steps), block, relaxing)
        relaxing.tick = tick + steps * self.policy.ticks

    def _end(
        self, relaxing: RelaxationState, course: Course, rows: Tensor | slice, numbers: Tensor | slice
    ) -> Relaxation:
        """What the samples of these rows have come to; ``numbers`` are theirs in the order of the batch."""
        senders = relaxing.senders if self.policy.obeys_senders else None
        received = states = [state[rows] for state in relaxing.states]
        if senders is not None:
            received = [senders.received(n, state)[rows] for n, state in enumerate(relaxing.states)]
        change = relaxing.change[rows].unflatten(0, (-1, relaxing.copies)).amax(1)
        return Relaxation(states, received, change, course.ticks[numbers], course.motion[numbers])
