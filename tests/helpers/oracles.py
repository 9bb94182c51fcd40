"""Slow, plain versions of what the product computes in closed form: autograd of Φ and backpropagation through time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from neurosim_ep.ep import losses
from neurosim_ep.ep.feedback import Feedback
from neurosim_ep.ep.network import Network, channels_last
from neurosim_ep.ep.nudge import Nudge
from neurosim_ep.ep.primitive import primitive
from neurosim_ep.ep.signals import Signals
from neurosim_ep.hardware.chip.phases import Phase
from neurosim_ep.registry import POLICIES
from neurosim_ep.scheduler.kernels import make_kernels
from neurosim_ep.scheduler.relaxation_state import Reads, RelaxationState


def augmented_loss(
    network: Network,
    states: list[Tensor],
    onehot: Tensor,
    signals: Signals | None,
    alpha: float,
    teacher: Mapping[int, Tensor] | None = None,
) -> Tensor:
    """``l_out + α Σ l_l`` of each sample, (B,) (Eq 9)."""
    logits = network.logits(states)
    criterion = losses.squared_error if network.readout is None else losses.cross_entropy
    loss = criterion(logits, onehot)
    return loss if signals is None else loss + alpha * signals.loss(states, onehot, teacher)


def augmented_primitive(
    network: Network,
    x: Tensor,
    states: list[Tensor],
    onehot: Tensor,
    beta: Tensor,
    signals: Signals | None,
    alpha: float,
    teacher: Mapping[int, Tensor] | None = None,
) -> Tensor:
    """``Φ − β L`` summed over the batch (Eq 10), ``beta`` (B,) signed."""
    phi = primitive(network.edges, x, states)
    return (phi - beta * augmented_loss(network, states, onehot, signals, alpha, teacher)).sum()


class Drives(RelaxationState):
    """A relaxation state that keeps the drive of every layer where it would put the layer at its activation."""

    def __init__(self, network: Network, x: Tensor, states: Sequence[Tensor], nudge: Nudge | None = None) -> None:
        drive, _ = network.input_drive(x)
        reads = Reads(network, make_kernels(network, "float32"), Feedback(network))
        super().__init__(reads, drive, [*map(channels_last, states)], (Phase.FREE,), nudge=nudge)
        self.found: dict[int, Tensor] = {}

    def write(self, layer: int) -> None:
        self.found[layer] = self.drive(layer)


@torch.no_grad()
def closed_form_drives(
    network: Network, x: Tensor, states: Sequence[Tensor], nudge: Nudge | None = None, policy: str = "synchronous"
) -> list[Tensor]:
    """∂Φ_aug/∂s of every layer at ``states``, as the scheduler computes it."""
    relaxing, chosen = Drives(network, x, states, nudge), POLICIES[policy](network)
    chosen.prepare(relaxing)
    chosen.step(relaxing)
    return [relaxing.found[layer] for layer in range(relaxing.layers)]


def bptt_gradients(
    network: Network,
    x: Tensor,
    y: Tensor,
    free_states: list[Tensor],
    steps: int,
    signals: Signals | None = None,
    alpha: float = 1.0,
    teacher: Mapping[int, Tensor] | None = None,
    outside: bool = False,
) -> dict[str, Tensor]:
    """Gradient of the batch-mean loss at the end of ``steps`` free ticks from ``free_states`` (Eq 5), by autograd
    through all ticks at once; with ``outside`` also that of the readout and of the projections.
    """
    parameters = {name: value for name, value in network.named_parameters() if outside or "connections" in name}
    if outside and signals is not None:
        parameters |= {f"signals.{name}": value for name, value in signals.named_parameters()}
    for value in parameters.values():
        value.requires_grad_(True)
    states = [state.clone().requires_grad_(True) for state in free_states]
    for _ in range(steps):
        phi = primitive(network.edges, x, states).sum()
        drives = torch.autograd.grad(phi, states, create_graph=True)
        states = [activation.sigma_(drive * 1.0) for activation, drive in zip(network.activations, drives, strict=True)]
    loss = augmented_loss(network, states, losses.one_hot(y, network.num_classes, x), signals, alpha, teacher).mean()
    grads = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, materialize_grads=True)
    for value in parameters.values():
        value.requires_grad_(False)
    return dict(zip(parameters, grads, strict=True))
