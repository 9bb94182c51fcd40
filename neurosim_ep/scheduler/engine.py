"""The tick loop: relaxes a batch through one phase, and stops computing samples that have come to rest.

The host looks at the device once per block of ticks, never per tick. On a CUDA device a block is a captured graph and
the host acts on what the block before the last one found, so the device always has work waiting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim_ep.ep.network import Network
from neurosim_ep.ep.nudge import Nudge
from neurosim_ep.scheduler.anchors import EVERY, Anchors
from neurosim_ep.scheduler.field import Field, Observer
from neurosim_ep.scheduler.graphs import BlockGraphs
from neurosim_ep.scheduler.kernels import Kernel, make_kernels, supported_precision, tf32_convolutions
from neurosim_ep.scheduler.phases import Phase
from neurosim_ep.scheduler.policies import POLICIES
from neurosim_ep.scheduler.quiescence import Course, Rest, retire
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.scheduler.sigma_delta import SigmaDelta

SMALLEST_BUCKET = 8  # samples a captured graph computes at least


@dataclass(frozen=True)
class Relaxation:
    """End of a phase, samples in the order of the batch.

    ``states``: per layer (rows, *shape), ``copies`` neighbouring rows per sample where phases ran side by side.
    ``seen``: what receivers hold of them. ``change`` (B, N): largest change of each layer of each sample in the last
    step it was computed. ``ticks`` (B,): ticks it was computed for. ``motion`` (B, N): :class:`Motion` of each layer.
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
        weight = network.connections[0].weight
        self.precision, reason = supported_precision(schedule.precision, weight.device)
        self._replaced = reason
        self.kernels = make_kernels(network, self.precision)
        real = any(connection.tiles is not None for connection in network.connections)
        self.graphs = BlockGraphs() if weight.device.type == "cuda" and not real else None
        self._fields: dict[tuple[int, tuple[Phase, ...]], Field] = {}

    @property
    def notes(self) -> list[str]:
        """Where the machine cannot do what is asked for, a line each."""
        lines = []
        if self._replaced:
            lines.append(f"convolutions are computed in {self.precision}: {self._replaced}")
        if self.graphs is not None and self.graphs.failure:
            lines.append(f"ticks are launched one by one, as they cannot be captured: {self.graphs.failure}")
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
        obeys = self.policy.obeys_senders
        field = Field(
            self.network, self.kernels, input_drive, states, phases,
            nudge=nudge, senders=senders, obeys=obeys, anchors=self._anchors(len(phases)), observers=observers,
        )  # fmt: skip
        given = field
        if self.graphs is not None and not observers:
            field = self._persistent(field)
        course = Course(field, steps, self.policy.ticks)
        with tf32_convolutions(self.precision == "tf32"):
            if nudge is not None:
                field.anchor()
            self.policy.prepare(field)
            self._run(field, rest, course)
        motion = course.motion(field, rest)
        if nudge is not None:  # the weights change next
            for kernel in self.kernels:
                kernel.release()
        field.restore_order()
        if field is not given:
            given.load(field)
        change = field.sample_change()
        seen = [senders.held(n, state) for n, state in enumerate(given.states)] if obeys and senders else given.states
        return Relaxation(given.states, seen, change, course.ticks, motion)

    def _run(self, field: Field, rest: Rest, course: Course) -> None:
        """All blocks of a phase, or those until no sample moves."""
        done, next_anchor, verdicts = 0, EVERY, _Verdicts(delayed=self.graphs is not None)
        for stop in course.stops(self.schedule.check_every):
            self._block(field, stop - done)
            done = stop
            if rest.tolerance > 0 and done < course.steps:
                moving = verdicts.ask(course.moving(field, rest, done))
                if done * self.policy.ticks >= rest.earliest and moving and self._retire(field, moving, course, done):
                    verdicts.forget()
                if not field.active:
                    return
                course.note(field, done)
            if field.nudge is None and done * self.policy.ticks >= next_anchor:
                next_anchor += EVERY
                field.anchor()

    def _anchors(self, copies: int) -> Anchors | None:
        if self.precision == "float32":
            return None
        return Anchors(self.kernels, [Kernel(kernel.connection) for kernel in self.kernels], copies)

    def _retire(self, field: Field, moving: list[bool], course: Course, done: int) -> bool:
        """Stop computing samples at rest where that makes the batch smaller; whether it did."""
        before, room = field.active, self._bucket(sum(moving), field.samples)
        if room >= before:
            return False
        retire(field, moving, room)
        course.leave(field.order[room:before], done)
        return True

    def _bucket(self, moving: int, samples: int) -> int:
        """Places kept for ``moving`` samples: as many on the CPU, a size that a graph exists for on CUDA."""
        if self.graphs is None or moving == 0:
            return moving
        size = samples
        while size // 2 >= max(moving, SMALLEST_BUCKET):
            size //= 2
        return size

    def _block(self, field: Field, steps: int) -> None:
        def block() -> None:
            for number in range(steps):
                field.watching = number == steps - 1 or any(observer.wants_changes for observer in field.observers)
                self.policy.step(field)

        if self.graphs is None or field.observers:
            block()
            return
        tick = field.tick
        anchored = field.anchors is not None and field.anchors.taken
        self.graphs.run((field.samples, field.phases, field.active, steps, anchored), block)
        field.tick = tick + steps * self.policy.ticks

    def _persistent(self, field: Field) -> Field:
        """A field with the contents of ``field`` in buffers that stay, as captured graphs need them."""
        key = field.samples, tuple(field.phases)
        if key not in self._fields:
            self._fields[key] = field.twin()
        self._fields[key].load(field)
        return self._fields[key]


class _Verdicts:
    """Which of the moving samples still move. A ``delayed`` answer is that to the question before the last one."""

    def __init__(self, delayed: bool) -> None:
        self.delayed = delayed
        self._asked: list[tuple[Tensor, torch.cuda.Event | None]] = []

    def ask(self, mask: Tensor) -> list[bool] | None:
        """``mask``, one entry per active place, or None where the answer is still to come."""
        event = None
        if mask.device.type == "cuda":
            host = torch.empty(mask.shape, dtype=torch.bool, pin_memory=True)
            mask, event = host.copy_(mask, non_blocking=True), torch.cuda.Event()
            event.record()
        self._asked.append((mask, event))
        if len(self._asked) <= self.delayed:
            return None
        mask, event = self._asked.pop(0)
        if event is not None:
            event.synchronize()
        return mask.tolist()

    def forget(self) -> None:
        """The samples have changed places: what was asked before says nothing any more."""
        self._asked.clear()
