"""One presentation of a batch as a feed-forward pass, trained by backpropagation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from neurosim_ep.ep import feedforward, losses
from neurosim_ep.ep.arithmetic import tf32
from neurosim_ep.ep.network import Network
from neurosim_ep.scheduler.engine import Relaxation
from neurosim_ep.scheduler.inputs import check_inputs
from neurosim_ep.scheduler.presentation import Gradients, Terms
from neurosim_ep.scheduler.quiescence import Motion


def backprop_gradients(network: Network, x: Tensor, y: Tensor, *, precision: str = "float32") -> Gradients:
    """Gradient of the loss of ``network`` as a feed-forward pass, by backpropagation; through real tiles, where it has
    any, the signed errors by transposed reads.

    x (B, C, H, W) images, y (B,) class indices; ``precision`` of the convolutions is "float32" or "tf32".
    Raises :class:`UsageError` for tensors that do not fit the network in shape, number format or device.
    """
    check_inputs(network, x, y)
    onehot = losses.one_hot(y, network.num_classes, x)
    with tf32(precision == "tf32"):
        forward = feedforward.feed_forward(network, x, slopes=True)
        grads = feedforward.gradients(network, x, onehot, forward)
    logits = network.logits(forward.states)
    loss = losses.output_loss(network, logits, onehot)
    terms = Terms([(-1, forward.slopes)], forward.states, [1.0] * len(network.connections))
    return Gradients(grads, forward.states, loss, logits, _at_rest(forward.states), terms=terms)


def feed_forward_passes(
    network: Network, batches: Iterable[Tensor], *, precision: str = "float32"
) -> Iterator[tuple[Tensor, Relaxation]]:
    """The feed-forward pass of the images (B, C, H, W) of each of ``batches``: their numbers (B,), counted through all
    batches, and where they end.
    """
    done = 0
    for x in batches:
        check_inputs(network, x)
        with tf32(precision == "tf32"):
            states = feedforward.feed_forward(network, x).states
        yield torch.arange(done, done + len(x), device=x.device), _at_rest(states)
        done += len(x)


def _at_rest(states: list[Tensor]) -> Relaxation:
    """The end of a phase in which every layer was written once, from what below it does not change any more."""
    samples = len(states[0])
    change = states[0].new_zeros(samples, len(states))
    ticks = torch.ones(samples, dtype=torch.long, device=change.device)
    return Relaxation(states, states, change, ticks, torch.full_like(change, Motion.SETTLED, dtype=torch.uint8))
