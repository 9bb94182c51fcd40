"""The neurons of a batch while it relaxes: their states, what their synapses tell them, and who still moves.

Every buffer holds one row per sample, or ``copies`` neighbouring rows where several nudge phases relax side by side.
The samples that still move are the first ``active`` ones of every buffer: a sample that comes to rest changes places
with one that goes on, so no buffer is ever copied and a captured CUDA graph finds it where it was.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neurosim_ep.ep import primitive
from neurosim_ep.ep.feedback import Feedback
from neurosim_ep.ep.network import Network, channels_last
from neurosim_ep.ep.nudge import Nudge
from neurosim_ep.hardware.chip.phases import Phase
from neurosim_ep.scheduler.anchors import Anchors
from neurosim_ep.scheduler.downwards import Downwards
from neurosim_ep.scheduler.fused.passes import FusedPasses
from neurosim_ep.scheduler.kernels import Kernel
from neurosim_ep.scheduler.rows import memory_rows, rows_of
from neurosim_ep.scheduler.sigma_delta import SigmaDelta, repeat_rows
from neurosim_ep.scheduler.stillness import Stillness

if TYPE_CHECKING:
    from neurosim_ep.scheduler.observers import Observer


@dataclass(frozen=True)
class Reads:
    """How the edges of ``network`` are read, whatever the batch.

    With ``obeys`` receivers know of states what was sent. ``feedback`` has the gains; ``fused`` does what lies between
    two reads in fewer passes, unless observers want to see it. ``replayed``: ticks are captured once and replayed.
    """

    network: Network
    kernels: Sequence[Kernel]
    feedback: Feedback
    obeys: bool = False
    fused: FusedPasses | None = None
    replayed: bool = False


class RelaxationState:
    """States (rows, *shape) of every layer, changed in place, and the drives on them.

    ``input_drive`` (B, *shape) is the constant drive of layer 0 and ``nudge`` what is added in a nudge phase.
    ``senders`` knows what each neuron last sent. ``anchors`` make the reads where they are of reduced precision.
    ``change`` (rows, N) holds the largest change of each layer in the last step that was watched. ``order`` (B,) is the
    number in the batch of the sample at each place; of the ``samples`` places of a state that is used again only the
    first ``batch`` may be taken.
    """

    def __init__(
        self,
        reads: Reads,
        input_drive: Tensor,
        states: list[Tensor],
        phases: Sequence[Phase],
        *,
        nudge: Nudge | None = None,
        senders: SigmaDelta | None = None,
        anchors: Anchors | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._reads, self.network, self.kernels, self.phases = reads, reads.network, reads.kernels, phases
        self.input_drive, self.states = input_drive, states
        self.nudge, self.senders, self.obeys, self.observers = nudge, senders, reads.obeys, observers
        self.anchors, self.fused = anchors, None if observers else reads.fused
        self.copies, self.samples = len(phases), len(input_drive)
        self.active = self.batch = self.samples
        self.layers = len(states)
        self.tick = self.moment = 0
        self.fresh: list[int] = list(range(self.layers))
        self.watching = self.step_over = False
        self.change = states[0].new_zeros(len(states[0]), self.layers)
        self.order = torch.arange(self.samples, device=input_drive.device)
        self.routing: dict[int, Tensor] = {}
        self._forwards: dict[int, Tensor] = {}
        self._feedbacks: dict[int, Tensor] = {}
        self._exchanged = False
        self.down = Downwards(reads.feedback, nudged=nudge is not None)
        self._still = Stillness(states, self.copies if self.down.apart else 1, reads.replayed)
        if self.down.apart:
            known = senders if self.obeys else None
            received = [known.received(n, state) if known else state.clone() for n, state in enumerate(states)]
            self.down.free = [channels_last(state[:: self.copies]) for state in received]

    @property
    def kind(self) -> Hashable:
        """What two states must have in common for one to take over the contents of the other."""
        return tuple(self.phases), self.senders is not None, None if self.nudge is None else self.nudge.kind

    @property
    def host(self) -> tuple[list[int], bool]:
        """What ticks change outside of tensors, but for their number."""
        return list(self.fresh), self.step_over

    @host.setter
    def host(self, left: tuple[list[int], bool]) -> None:
        self.fresh, self.step_over = list(left[0]), left[1]

    @property
    def rows(self) -> int:
        """Rows of the samples that still move."""
        return self.active * self.copies

    def state(self, layer: int) -> Tensor:
        """The moving states (R, *shape) of ``layer``."""
        return self.states[layer][: self.rows]

    def received(self, layer: int) -> Tensor:
        """What receivers know of the moving states of ``layer``."""
        return self.senders.last[layer][: self.rows] if self.obeys and self.senders else self.state(layer)

    def sample_change(self) -> Tensor:
        """Largest change of each layer in the last watched step, over the rows of each moving sample, (A, N)."""
        return self.change[: self.rows].unflatten(0, (self.active, self.copies)).amax(1)

    def begin(self) -> None:
        """A tick begins: neurons whose state has moved far enough send it.

        Nothing is left of a tick that was cut off, as one is whose capture fails.
        """
        self._forwards.clear()
        self._feedbacks.clear()
        if self.senders is not None:
            for layer in self.fresh:
                self.senders.send(layer, self.state(layer))
        for observer in self.observers:
            observer.begin(self)
        self.fresh = []

    def read_up(self, edge: int) -> None:
        """Forward read of ``edge`` into the drive of its target, which keeps its routing until it is read again."""
        drive, routing = self._forward(edge)
        self.remember(edge, routing)
        self._gather(self._forwards, self.network.edges[edge].target, edge, drive)

    def read_down(self, edge: int) -> None:
        """Transposed read of ``edge``, routed as it last was, into the drive of its source."""
        if not self.silent(edge):
            drive = self._feedback(edge, self.remembered(edge))
            self._gather(self._feedbacks, self.network.edges[edge].source, edge, drive)

    def silent(self, edge: int) -> bool:
        """Whether nothing is passed down ``edge``, which need not be read then, unless somebody watches."""
        if self.down.silent(edge):
            return True
        if self.obeys or self.observers or not self.kernels[edge].repeatable:
            return False
        return self._still.nothing_from(self.network.edges[edge].target)

    def read_both(self, edge: int) -> None:
        """Both reads of ``edge`` at the states as they are."""
        if self.down.silent(edge):
            self.read_up(edge)
            return
        if (fused := self._fused(edge)) is not None:
            z, one = channels_last(self._before_pooling(edge)), self.network.edges[edge]
            up, routed, _ = fused.pool_and_route(z, self._driven(edge), str(one.pool))
            down = self._transposed(edge, routed)
        else:
            up, routing = self._forward(edge)
            down = self._feedback(edge, routing)
        self._gather(self._forwards, self.network.edges[edge].target, edge, up)
        self._gather(self._feedbacks, self.network.edges[edge].source, edge, down)

    def _gather(self, parts: dict[int, Tensor], layer: int, edge: int, part: Tensor) -> None:
        """Add ``part``, that of ``edge``, to what ``layer`` gets from one side."""
        if layer in parts:
            parts[layer].add_(part)
        else:  # what an identity gives are states, which must stay as they are
            parts[layer] = part if self.kernels[edge].reads_synapses else part.clone()

    def _forward(self, edge: int) -> tuple[Tensor, Tensor | None]:
        """Forward read of ``edge``: its part of the drive of its target, and the argmax routing κ."""
        if self.kernels[edge].reads_synapses:
            for observer in self.observers:
                observer.forward(self, edge, self.received(self.network.edges[edge].source))
        return self.read(edge)

    def read(self, edge: int) -> tuple[Tensor, Tensor | None]:
        """The drive and the routing that a forward read of ``edge`` gives, shown to no observer."""
        z, pool = self._before_pooling(edge), self.network.edges[edge].pool
        if self._keeps(edge):
            routing = self.routing[edge][: self.rows]
            return primitive.pool_at(z, routing), routing
        if (fused := self._fused(edge)) is not None:
            return fused.pool(channels_last(z), str(pool))
        return primitive.pool_forward(z, pool)

    def _feedback(self, edge: int, routing: Tensor | None) -> Tensor:
        """Transposed read of ``edge``: its part of the drive of its source."""
        one = self.network.edges[edge]
        post = self._driven(edge)
        if (fused := self._fused(edge)) is not None:
            return self._transposed(edge, fused.route(post, routing, one.pre_pool_shape))
        routed = one.route(post, routing)
        if self.kernels[edge].reads_synapses:
            for observer in self.observers:
                observer.transposed(self, edge, self.received(one.source), post, routed, routing)
        return self._transposed(edge, routed)

    def _driven(self, edge: int) -> Tensor:
        """What a transposed read of ``edge`` drives its columns with."""
        layer = self.network.edges[edge].target
        return self.down.driven(edge, layer, self.received(layer), self.active)

    def _fused(self, edge: int) -> FusedPasses | None:
        """The fused passes where ``edge`` has pooling for them."""
        return None if self.network.edges[edge].pool is None or self._keeps(edge) else self.fused

    def _keeps(self, edge: int) -> bool:
        """Whether ``edge`` is pooled and routed by the argmax of the free state throughout."""
        return self.down.apart and self.network.edges[edge].pool == "max"

    def _before_pooling(self, edge: int) -> Tensor:
        source = self.network.edges[edge].source
        pre = self.received(source)
        if self.anchors is not None:
            return self.anchors.forward(edge, pre)
        return self._still.forward(edge, self.kernels[edge], source, pre)

    def _transposed(self, edge: int, routed: Tensor) -> Tensor:
        kernel = self.kernels[edge]
        drive = kernel.feedback(routed) if self.anchors is None else self.anchors.feedback(edge, routed)
        return self.down.weighed(edge, drive, own=kernel.reads_synapses)

    def keep_routing(self) -> None:
        """Pool and route by the argmax of the free states from now on, where the displacement has a gain of its own."""
        kernels = self.kernels if self.anchors is None else self.anchors.exact
        for number in filter(self._keeps, range(1, len(self.network.edges))):
            z = kernels[number].forward(self.down.free[self.network.edges[number].source])
            self._still.keep(number, z)
            routing = primitive.pool_forward(z, "max")[1]
            assert routing is not None
            self._store(number, repeat_rows(routing, self.copies))

    def anchor(self, places: Tensor | slice) -> None:
        """Make the present states at ``places`` of those that move what reads of reduced precision start from."""
        if self.anchors is not None:
            for number, edge in enumerate(self.network.edges[1:], 1):
                self.anchors.take(number, self.received(edge.source), self._driven(number), self.samples, places)

    def remember(self, edge: int, routing: Tensor | None) -> None:
        """Keep the routing of ``edge`` until it is read again."""
        if routing is not None and not self._keeps(edge):
            self._store(edge, routing)

    def _store(self, edge: int, routing: Tensor) -> None:
        if edge in self.routing:
            self.routing[edge][: self.rows].copy_(routing)
        else:
            self.routing[edge] = routing

    def remembered(self, edge: int) -> Tensor | None:
        """The routing last kept for ``edge``."""
        return self.routing[edge][: self.rows] if edge in self.routing else None

    def update(self, layer: int) -> None:
        """Read all edges of ``layer`` from fresh states, and write it; edge 0, which the image drives, is read once."""
        for edge in self.network.incoming[layer]:
            if edge > 0:
                self.read_up(edge)
        for edge in self.network.outgoing[layer]:
            self.read_down(edge)
        self.write(layer)

    def write(self, layer: int) -> None:
        """Put ``layer`` at σ of its drive, which its edges have been read for."""
        activation, state = self.network.activations[layer], self.state(layer)
        change = self.change[: self.rows, layer] if self.watching else None
        if self.fused is not None and self.fused.writes(activation):
            drives, shared = self._apart(layer)
            self.fused.write_state(activation, state, drives, shared=shared, change=change)
        else:
            new = activation.sigma_(self.drive(layer))
            if change is not None:
                change.copy_(memory_rows(state.sub_(new).abs_()).amax(1))
            state.copy_(new)
        self.fresh.append(layer)
        self._still.moved(layer)

    def drive(self, layer: int) -> Tensor:
        """∂Φ_aug/∂s of ``layer`` from what its edges gave when they were read last, which is used up.

        Layer 0 has the constant input from below. The derivative of Φ is Eq 1's, the nudge that of Eq 10.
        """
        forward, feedback = self._forwards.pop(layer, None), self._feedbacks.pop(layer, None)
        if layer == 0:
            drive = self._input_plus(feedback)
        else:
            assert forward is not None
            drive = forward if feedback is None else forward.add_(feedback)
        if self.nudge is not None:
            self.nudge.add_(layer, drive, self.received(layer))
        return drive

    def _input_plus(self, feedback: Tensor | None) -> Tensor:
        constant = self.input_drive[: self.active]
        if feedback is None:
            return constant.repeat_interleave(self.copies, 0)
        feedback.unflatten(0, (self.active, self.copies)).add_(constant.unsqueeze(1))
        return feedback

    def _apart(self, layer: int) -> tuple[list[Tensor], Tensor | None]:
        """The parts of :meth:`drive`, row by row and shared by the rows of a sample, where no error is added to it."""
        sides = [parts[layer] for parts in (self._forwards, self._feedbacks) if layer in parts]
        if not sides or (self.nudge is not None and self.nudge.pushes(layer)):
            return [channels_last(self.drive(layer))], None
        self._forwards.pop(layer, None)
        self._feedbacks.pop(layer, None)
        return [channels_last(side) for side in sides], self.input_drive[: self.active] if layer == 0 else None

    def end(self, step_over: bool = True, tick_over: bool = True) -> None:
        """A moment of updates side by side is over, and the tick it is in and the policy's step as far as they say."""
        self.moment += 1
        self.tick += tick_over
        self.step_over = step_over
        for observer in self.observers:
            observer.end(self)

    def twin(self) -> RelaxationState:
        """A state of the same shape with buffers of its own, and no observers."""
        nudge, senders, anchors = self.nudge, self.senders, self.anchors
        return RelaxationState(
            self._reads, self.input_drive.clone(), [state.clone() for state in self.states], self.phases,
            nudge=None if nudge is None else nudge.twin(), senders=None if senders is None else senders.fork(1),
            anchors=anchors,
        )  # fmt: skip

    def load(self, other: RelaxationState) -> None:
        """Take over the contents of a state of the same kind, all samples in the order of the batch, as many as there
        are in both; other places keep what they hold.
        """
        self.active, self.tick, self.moment, self.fresh = self.samples, 0, 0, list(range(self.layers))
        self._still.forget()
        self.batch = min(self.samples, other.samples)
        torch.arange(self.samples, out=self.order)
        for mine, theirs, _ in self._shared(other):
            rows = min(len(mine), len(theirs))
            mine[:rows].copy_(theirs[:rows])

    def admit(self, other: RelaxationState, places: Tensor) -> None:
        """Give the samples of ``other``, a prepared state of the same kind, these places (int64), in their order."""
        if self.anchors is not None and other.anchors is not None:
            self.anchors.admit(other.anchors, places)
        for mine, theirs, copies in self._shared(other):
            mine.index_copy_(0, rows_of(places, copies), theirs)

    def _shared(self, other: RelaxationState) -> list[tuple[Tensor, Tensor, int]]:
        """What a state of the same kind is told of its samples: this one's, that one's, and the rows of a sample."""
        pairs = [(self.change, other.change), *zip(self.states, other.states, strict=True)]
        pairs += [(self.routing[layer], kept) for layer, kept in other.routing.items() if layer in self.routing]
        if self.nudge is not None and other.nudge is not None:
            pairs += zip(self.nudge.tensors(), other.nudge.tensors(), strict=True)
        if self.senders is not None and other.senders is not None:
            pairs += zip(self.senders.last, other.senders.last, strict=True)
        samples = [(self.input_drive, other.input_drive), *zip(self.down.free, other.down.free, strict=True)]
        return [*((*pair, 1) for pair in samples), *((*pair, self.copies) for pair in pairs)]

    def exchange(self, front: Tensor, back: Tensor) -> None:
        """Let the samples at places ``front`` and ``back`` (int64, equal length) change places in every buffer."""
        self._exchanged = True
        for buffer, copies in self._buffers():
            first, second = (rows_of(places, copies) for places in (front, back))
            rows = memory_rows(buffer)
            rows[first], rows[second] = rows[second], rows[first]

    def restore_order(self) -> None:
        """Put every sample back where it was in the batch; all are shown again."""
        self.active = self.samples
        if not self._exchanged:
            return
        inverse = torch.argsort(self.order)
        for buffer, copies in self._buffers():
            rows = memory_rows(buffer)
            rows.copy_(rows[rows_of(inverse, copies)])
        self._exchanged = False

    def _buffers(self) -> list[tuple[Tensor, int]]:
        """Every buffer with the rows it has per sample."""
        rows = [*self.states, self.change, *self.routing.values()]
        if self.nudge is not None:
            rows += self.nudge.row_buffers()
        if self.senders is not None:
            rows += self.senders.row_buffers()
        for observer in self.observers:
            rows += observer.row_buffers()
        anchored = self.anchors.sample_buffers() if self.anchors else ()
        samples = [self.input_drive, self.order, *self.down.free, *anchored]
        return [*((buffer, 1) for buffer in samples), *((buffer, self.copies) for buffer in rows)]
