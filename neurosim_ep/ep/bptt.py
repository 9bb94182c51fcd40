"""Gradients by backpropagation through time (BPTT): the exact derivative of the loss after the last ticks of a phase.

The synchronous map ``s_{t+1} = σ(∂Φ/∂s(x, s_t, θ))`` is a recurrent network that uses the same θ in every tick. The
gradient of the augmented loss L = l_out + α Σ l_l at s_T is the sum over ticks of its partial gradients, each with
respect to the parameters as used in that tick alone (arXiv 2508.15989, Eq 5). What is kept is the states: on the way
back each tick is computed once more, differentiably, and pulls the adjoint λ_t = ∂L/∂s_t one tick further.

Where σ or max-pooling has no derivative, that of PyTorch is taken: σ' = slope at the ends of a clipped line, and the
argmax κ of a pooling window is held where it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from neurosim_ep.ep.feedback import Feedback
from neurosim_ep.ep.network import Network, channels_last
from neurosim_ep.ep.signals import Objective

Trajectory = Sequence[Sequence[Tensor]]
"""States of every layer (B, *shape) before each of K ticks and after the last one, K + 1 in all."""


def tick(
    network: Network, input_drive: Tensor, states: Sequence[Tensor], feedback: Feedback | None = None
) -> list[Tensor]:
    """One free synchronous tick, ``σ(∂Φ/∂s)`` of every layer (B, *shape), differentiable in everything it uses.

    ``input_drive`` (B, *shape of layer 0) is ``P(w_1 ⋆ x + b_1)``; ``feedback`` has the gains (default: 1).
    """
    drives = {0: input_drive.clone()}
    gains = (feedback or Feedback(network)).gains(nudged=False)
    for edge, (gain, *_) in zip(network.edges[1:], gains[1:], strict=True):  # from below before from above
        above, routing = edge(states[edge.source])
        drives[edge.target] = above if edge.target not in drives else drives[edge.target] + above
        if gain:
            down = edge.feedback(edge.route(states[edge.target], routing))
            drives[edge.source] = drives[edge.source] + (down if gain == 1 else down * gain)
    return [activation.sigma_(drives[layer]) for layer, activation in enumerate(network.activations)]


def loss_gradients(
    network: Network, states: Sequence[Tensor], objective: Objective
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Derivatives of the batch-mean augmented loss at ``states``: with respect to the state of every layer (B, *shape),
    and to the parameters outside of the dynamics, which are the readout and learned matrices of signals.
    """
    outside = {f"readout.{name}": value for name, value in _parameters(network.readout)}
    if (signals := objective.errors.signals) is not None:
        outside |= {f"signals.{signals.matrix_name(layer)}": signals.matrices[layer] for layer in signals.learned}
    with torch.enable_grad(), _tracked(outside.values()):
        leaves = [state.detach().requires_grad_() for state in states]
        loss = objective.loss(network, leaves).mean()
        found = torch.autograd.grad(loss, [*leaves, *outside.values()], materialize_grads=True, allow_unused=True)
    return list(found[: len(leaves)]), dict(zip(outside, found[len(leaves) :], strict=True))


def partial_gradients(
    network: Network,
    x: Tensor,
    trajectory: Trajectory,
    adjoint: Sequence[Tensor],
    feedback: Feedback | None = None,
) -> Iterator[dict[str, Tensor]]:
    """Gradient with respect to the parameters of the connections as used in one tick alone, the last tick first.

    x (B, C, H, W); ``adjoint``: ∂L/∂s of every layer (B, *shape) at the end of ``trajectory``. One dictionary
    (parameter name → tensor) per tick is made when it is asked for, so a sum needs no more memory than two of them.
    """
    x = channels_last(x)
    first, (input_drive, input_routing) = network.connections[0], network.input_drive(x)
    above = {
        f"connections.{n}.{name}": value
        for n, connection in enumerate(list(network.connections)[1:], 1)
        for name, value in _parameters(connection)
    }
    for states in reversed(trajectory[:-1]):
        with torch.enable_grad(), _tracked(above.values()):
            leaves = [state.detach().requires_grad_() for state in states]
            drive = input_drive.detach().requires_grad_()
            after = tick(network, drive, leaves, feedback)
            found = torch.autograd.grad(
                after, [*leaves, drive, *above.values()], list(adjoint), materialize_grads=True, allow_unused=True
            )
        del after
        adjoint = found[: len(leaves)]
        weight, bias = first.update(x, first.route(found[len(leaves)], input_routing))
        grads = {"connections.0.weight": weight, "connections.0.bias": bias}
        yield grads | dict(zip(above, found[len(leaves) + 1 :], strict=True))


@torch.no_grad()
def gradients(
    network: Network,
    x: Tensor,
    objective: Objective,
    trajectory: Trajectory,
    feedback: Feedback | None = None,
) -> dict[str, Tensor]:
    """Gradient of the batch-mean augmented loss at the end of ``trajectory``, through all of its ticks (Eq 5).

    Parameter name → tensor: connections, readout, and projections where they are learned (``signals.R0``).
    """
    adjoint, outside = loss_gradients(network, trajectory[-1], objective)
    total: dict[str, Tensor] = {}
    for partial in partial_gradients(network, x, trajectory, adjoint, feedback):
        total = {name: total[name].add_(value) for name, value in partial.items()} if total else partial
    return total | outside


def _parameters(module: torch.nn.Module | None) -> list[tuple[str, Tensor]]:
    return [] if module is None else list(module.named_parameters())


@contextmanager
def _tracked(parameters: Iterable[Tensor]) -> Iterator[None]:
    """Let autograd see ``parameters`` while the block runs; everywhere else they are plain numbers."""
    parameters = list(parameters)
    for value in parameters:
        value.requires_grad_(True)
    try:
        yield
    finally:
        for value in parameters:
            value.requires_grad_(False)
