"""The tick loop: relaxes a batch through one phase, and stops computing samples that have come to rest.

The host looks at the device once per block of ticks, never per tick. On a CUDA device a block is a captured graph and
the host acts on what the block before the last one found, so the device always has work waiting. What is watched by
observers is launched tick by tick and looked at without delay, so that they see the same on every device.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim_ep.ep.arithmetic import tf32
from neurosim_ep.ep.network import Network, channels_last
from neurosim_ep.ep.nudge import Nudge
from neurosim_ep.scheduler.anchors import Anchors, anchor_after
from neurosim_ep.scheduler.buffers import Arriving, KeptFields
from neurosim_ep.scheduler.field import Field, Observer
from neurosim_ep.scheduler.fused.check import trusted_passes
from neurosim_ep.scheduler.graphs import BlockGraphs
from neurosim_ep.scheduler.kernels import Kernel, fastest_precision, make_kernels, supported_precision
from neurosim_ep.scheduler.phases import Phase
from neurosim_ep.scheduler.policies import POLICIES
from neurosim_ep.scheduler.quiescence import Course, Rest, retire
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.scheduler.sigma_delta import SigmaDelta

SMALLEST_ROWS = 32  # a captured graph computes at least: fewer take as long


@dataclass(frozen=True)
class Relaxation:
    """End of a phase, samples in the order of the batch.

    ``states``: per layer (rows, *shape), ``copies`` neighbouring rows per sample where phases ran side by side.
    ``seen``: what receivers hold of them. ``change`` (B, N): largest change of each layer of each sample in the last
    step it was computed. ``ticks`` (B,): the tick at which it was found at rest, or the last one. ``motion`` (B, N):
    :class:`Motion` of each layer.
    """

    states: list[Tensor]
    seen: list[Tensor]
    change: Tensor
    ticks: Tensor
    motion: Tensor

    @property
    def residual(self) -> Tensor:
        """Per sample (B,), the largest change of any state in its last step."""
        return self.change.amax(1)


class Engine:
    """Relaxes batches on one ``network`` as ``schedule`` says.

    Call :meth:`refresh` after the weights have changed. ``network`` must stay on its device.
    """

    def __init__(self, network: Network, schedule: Schedule) -> None:
        self.network, self.schedule = network, schedule
        self.policy = POLICIES[schedule.policy]()
        self.device = network.connections[0].weight.device
        real = any(connection.tiles is not None for connection in network.connections)
        wanted = schedule.precision
        if wanted == "auto":
            wanted = "float32" if real else fastest_precision(self.device)
        self.precision, self._replaced = supported_precision(wanted, self.device)
        self.kernels = make_kernels(network, self.precision)
        self.graphs = BlockGraphs(self.device) if self.device.type == "cuda" and not real else None
        with self._own_device():
            self.fused, self._unfused = (None, "") if self.graphs is None else trusted_passes(self.device)
        self._kept = KeptFields()

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
        rest: Rest,
        nudge: Nudge | None = None,
        senders: SigmaDelta | None = None,
        observers: Sequence[Observer] = (),
    ) -> Relaxation:
        """Run at most ``steps`` ticks; ``states`` are used up.

        ``states`` (rows, *shape) has one row per sample and phase, the phases of a sample side by side, as ``nudge``
        and ``senders`` have; ``input_drive`` (B, *shape) has one per sample.
        """
        for connection in self.network.connections[1:]:  # the input is read in the free phase alone
            if connection.tiles is not None:
                connection.tiles.phase = "free" if nudge is None else "nudge"
        given = Field(
            self.network, self.kernels, channels_last(input_drive), [channels_last(state) for state in states], phases,
            nudge=nudge, senders=senders, obeys=self.policy.obeys_senders, anchors=self._anchors(len(phases)),
            fused=self.fused, observers=observers,
        )  # fmt: skip
        with self._own_device(), tf32(self.precision == "tf32"):
            course, motion = self._relax(given, steps, rest)
        if nudge is not None:  # the weights change next
            for kernel in self.kernels:
                kernel.release()
        obeyed = senders if self.policy.obeys_senders else None
        seen = given.states if obeyed is None else [obeyed.held(n, state) for n, state in enumerate(given.states)]
        return Relaxation(given.states, seen, given.sample_change(), course.ticks[: given.samples], motion)

    def _relax(self, given: Field, steps: int, rest: Rest) -> tuple[Course, Tensor]:
        """Relax ``given`` in place, in a field that is kept where that is captured; what was noted of it on the way."""
        field = self._kept.holding(given) if self._captures(given) else given
        field.active = self._places(field, given.samples)
        course = Course(field, steps, self.policy.ticks)
        if field.nudge is not None:
            field.anchor()
        self.policy.prepare(field)
        self._run(field, rest, course)
        motion = course.motion(field, rest)
        field.restore_order()
        if field is not given:
            given.load(field)
        return course, motion[: given.samples]

    def _run(self, field: Field, rest: Rest, course: Course) -> None:
        """All blocks of a phase, or those until no sample moves."""
        done, next_anchor, verdicts = 0, anchor_after(0), _Verdicts(delayed=self._captures(field))
        for stop in course.stops(self.schedule.check_every):
            self._block(field, stop - done)
            done = stop
            if rest.tolerance > 0 and done < course.steps:
                moving = verdicts.ask(course.moving(field, rest, done))
                if moving is not None and self._retire(field, moving):
                    verdicts.forget()
                if not field.active:
                    return
                course.note(field, done)
            if field.nudge is None and done * self.policy.ticks >= next_anchor:
                next_anchor = anchor_after(done * self.policy.ticks)
                field.anchor()

    def _own_device(self) -> AbstractContextManager[object]:
        """Streams, events and captures are those of the current device: that of the network."""
        return torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()

    def _anchors(self, copies: int) -> Anchors | None:
        if self.precision == "float32":
            return None
        return Anchors(self.kernels, [Kernel(kernel.connection) for kernel in self.kernels], copies)

    def _captures(self, field: Field) -> bool:
        """Whether blocks of ticks are captured: what observers see cannot be repeated without Python."""
        return self.graphs is not None and not field.observers

    def _retire(self, field: Field, moving: list[bool]) -> bool:
        """Stop computing samples at rest where that makes the batch smaller; whether it did."""
        room = self._places(field, sum(moving))
        if room >= field.active:
            return False
        retire(field, moving, room)
        return True

    def _places(self, field: Field, samples: int) -> int:
        """Places computed for ``samples`` samples: as many, or where ticks are captured a size with graphs."""
        if samples == 0 or not self._captures(field):
            return samples
        size = field.samples
        while size // 2 >= samples and size // 2 * field.copies >= SMALLEST_ROWS:
            size //= 2
        return size

    def _block(self, field: Field, steps: int) -> None:
        def block() -> None:
            for number in range(steps):
                field.watching = number == steps - 1 or any(observer.wants_changes for observer in field.observers)
                self.policy.step(field)

        if self.graphs is None or not self._captures(field):
            block()
            return
        tick = field.tick
        anchored = field.anchors is not None and field.anchors.taken
        self.graphs.run((field.samples, field.kind, field.active, steps, anchored), block, field)
        field.tick = tick + steps * self.policy.ticks


class _Verdicts:
    """Which of the samples that are computed still move. A ``delayed`` answer is that to the question before the last
    one.
    """

    def __init__(self, delayed: bool) -> None:
        self.delayed = delayed
        self._asked: list[Arriving] = []

    def ask(self, mask: Tensor) -> list[bool] | None:
        """``mask``, one entry per active place, or None where the answer is still to come."""
        self._asked.append(Arriving(mask))
        return None if len(self._asked) <= self.delayed else self._asked.pop(0).wait().tolist()

    def forget(self) -> None:
        """The samples have changed places: what was asked before says nothing any more."""
        self._asked.clear()
