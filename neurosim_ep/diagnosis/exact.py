"""How far the gradient of EP points from that of the loss through the free rest, where gains make it no gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from neurosim_ep.diagnosis.angles import cosine
from neurosim_ep.diagnosis.nudging import Ends, Setting
from neurosim_ep.diagnosis.rest import FreePhase
from neurosim_ep.ep import bptt
from neurosim_ep.ep.losses import one_hot
from neurosim_ep.ep.plasticity import contrastive, gradient_names
from neurosim_ep.scheduler.engine import Engine

ROUNDS, MORE = 3, 10  # ticks that the derivative goes back at rest: so many per layer, and so many more


@torch.no_grad()
def loss_cosines(
    engine: Engine, x: Tensor, free: FreePhase, ends: Ends, setting: Setting, beta: float
) -> list[float | None]:
    """Cosine of the weight gradient of EP with that of the loss, connection by connection; None where one is 0.

    x (B, C, H, W). The loss's is that of ticks which stay at the end of ``free``, those of an ideal network.
    """
    network, gains, rest = engine.network, engine.feedback, free.end.states
    high, low, scale = ends.received_plus, ends.received_minus, 1 / (2 * beta * len(x))
    ours = contrastive(network, x, high, low, scale, feedback=gains, free=free.end.received)
    onehot, ticks = one_hot(setting.labels, network.num_classes, x), ROUNDS * network.layers + MORE
    exact = bptt.gradients(
        network, x, onehot, [rest] * (ticks + 1), setting.signals, setting.alpha, setting.teacher, gains
    )
    return [cosine(ours[name], exact[name]) for name, _ in gradient_names(network)]
