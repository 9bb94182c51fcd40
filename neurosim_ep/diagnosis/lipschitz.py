"""How strongly a network is coupled: spectral norm of the Hessian of Φ, local spectral radius, and Theorem 3.1.

Φ (arXiv 2508.15989, Eq 1) is bilinear in layers that an edge joins once the argmax κ of every max-pool is fixed. Its
Hessian H in the states is therefore symmetric, has zero diagonal blocks, and is constant between switches of κ. In a
chain ``(Hv)^n = P_κ(w_n ⋆ v^{n-1}) + w_{n+1} ⋆ᵀ P⁻¹(v^{n+1}; κ)``: for every edge a forward read without bias and a
transposed read.

Where layers have two colours such that every edge joins both, as even and odd layers of a chain, with λ also −λ is an
eigenvalue. The largest magnitude is found by power iteration on H², whose Rayleigh quotient at v of norm 1 is
``‖Hv‖²``; ``‖Hv‖`` rises from step to step and never passes the true value: a norm that is cut short is too small, and
a margin made of it too large.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim_ep.ep.edges import Connection
from neurosim_ep.ep.feedback import Feedback
from neurosim_ep.ep.network import Network, channels_last
from neurosim_ep.ep.primitive import pool_forward
from neurosim_ep.ep.signals import Signals
from neurosim_ep.scheduler.kernels import Kernel, make_kernels

TOLERANCE = 1e-5  # relative change of an estimate between two iterations, below which it counts as converged
LIMIT = 500  # iterations

Vector = list[Tensor]
"""One direction per sample in the space of all states: per layer (B, *shape)."""


class Linearisation:
    """The dynamics around ``states`` (per layer (B, *shape)) of images with ``input_drive`` (B, *shape).

    Real tiles count with the weights that they hold; their drivers and converters, which round and clip, have no
    derivative and are left out.
    ``slopes``: σ' of every neuron at its drive ∂Φ/∂s, per layer (B, *shape).

    With a gain γ of the ``feedback`` the map is that of Φ_γ, whose Hessian is symmetric in states scaled by γ^{d/2}, d
    being the depth of their layer: there both directions of an edge have the root of what its feedback has. Eigenvalues
    are the same in any scale, norms those of the scaled states.
    """

    @torch.no_grad()
    def __init__(
        self, network: Network, input_drive: Tensor, states: Sequence[Tensor], feedback: Feedback | None = None
    ) -> None:
        self.network, gains = network, feedback or Feedback(network)
        self._coupling = [gains.coupling(number) for number in range(len(network.edges))]
        self.kernels = [_held(kernel) for kernel in make_kernels(network, "float32")]
        self._routing: dict[int, Tensor | None] = {}
        drives = {0: input_drive}
        for number, edge in enumerate(network.edges[1:], 1):
            z = self.kernels[number].forward(states[edge.source])
            drive, self._routing[number] = pool_forward(z, edge.pool)
            drives[edge.target] = drive if edge.target not in drives else drives[edge.target] + drive
        for number, edge in enumerate(network.edges[1:], 1):
            down = self._feedback(number, states[edge.target])
            drives[edge.source] = drives[edge.source] + down * self._coupling[number] ** 2
        self.slopes = [activation.slope(drives[layer]) for layer, activation in enumerate(network.activations)]

    @torch.no_grad()
    def hessian(self, vector: Sequence[Tensor]) -> Vector:
        """``Hv`` of each sample."""
        product = [torch.zeros_like(part) for part in vector]
        for number, edge in enumerate(self.network.edges[1:], 1):
            coupling = self._coupling[number]
            product[edge.source] = product[edge.source] + self._feedback(number, vector[edge.target]) * coupling
            product[edge.target] = product[edge.target] + self._forward(number, vector[edge.source]) * coupling
        return product

    def map_hessian(self, vector: Sequence[Tensor]) -> Vector:
        """``D^½ H D^½ v`` of each sample, D the diagonal of the slopes: similar to the Jacobian ``J = D H`` of the free
        map ``s ← σ(∂Φ/∂s)``, and symmetric.
        """
        roots = [value.sqrt() for value in self.slopes]
        product = self.hessian([root * part for root, part in zip(roots, vector, strict=True)])
        return [root * part for root, part in zip(roots, product, strict=True)]

    def _forward(self, edge: int, value: Tensor) -> Tensor:
        z, routing = self.kernels[edge].forward(value, bias=False), self._routing[edge]
        if routing is None:
            return pool_forward(z, self.network.edges[edge].pool)[0]
        return z.flatten(2).gather(2, routing.flatten(2)).view_as(routing)

    def _feedback(self, edge: int, value: Tensor) -> Tensor:
        return self.kernels[edge].feedback(self.network.edges[edge].route(value, self._routing[edge]))


def _held(kernel: Kernel) -> Kernel:
    """``kernel``, or one with the weights that tiles hold, read exactly."""
    edge = kernel.edge
    if not isinstance(edge, Connection) or edge.tiles is None:
        return kernel
    exact = deepcopy(edge, {id(edge.tiles): None})
    exact.weight.copy_(edge.tiles.weight())
    return Kernel(exact)


@dataclass(frozen=True)
class PowerIteration:
    """Largest |eigenvalue| of each sample, ``value`` (B,) float64 on the CPU, from below.

    ``change`` (B,): relative change in the last of ``iterations``; ``converged`` (B,): whether it is within the
    tolerance.
    """

    value: Tensor
    change: Tensor
    iterations: int
    converged: Tensor


@torch.no_grad()
def power_iteration(
    operator: Callable[[Vector], Vector],
    like: Sequence[Tensor],
    *,
    tolerance: float = TOLERANCE,
    limit: int = LIMIT,
) -> PowerIteration:
    """Largest |eigenvalue| of a symmetric ``operator`` that acts on each sample by itself, all samples at once.

    Vectors have the shapes of ``like``, per layer (B, *shape); they start Gaussian, from the seed 0. The iteration ends
    when no sample's estimate changed by more than ``tolerance`` relative to itself, or after ``limit`` steps.
    """
    random = torch.Generator().manual_seed(0)
    vector = [channels_last(torch.randn(part.shape, generator=random, dtype=torch.float64).to(part)) for part in like]
    vector = _divided(vector, _norms(vector))
    value = change = torch.full((len(like[0]),), torch.inf, dtype=torch.float64)
    iterations = 0
    while iterations < limit:
        vector = operator(vector)
        norms = _norms(vector)
        vector = _divided(vector, norms)
        old, value = value, norms.cpu()
        change = torch.where(value > 0, (value - old).abs() / value, 0.0)
        iterations += 1
        if bool((change <= tolerance).all()):
            break
    return PowerIteration(value, change, iterations, change <= tolerance)


def _norms(vector: Sequence[Tensor]) -> Tensor:
    """Euclidean norm of each sample's vector, (B,) float64."""
    return torch.stack([part.flatten(1).double().square().sum(1) for part in vector]).sum(0).sqrt()


def _divided(vector: Sequence[Tensor], norms: Tensor) -> Vector:
    inverse = torch.where(norms > 0, 1 / norms, 0.0)
    return [part * inverse.to(part).view(-1, *(1,) * (part.dim() - 1)) for part in vector]


@dataclass(frozen=True)
class Bounds:
    """What Theorem 3.1 needs beside L_Φ: the slope c, and the bounds L_1 and L_2 of the Hessians of the losses."""

    c: float
    L_1: float
    L_2: float

    def margin(self, L_phi: Tensor, beta: float, alpha: float) -> Tensor:
        """``1 − c (L_Φ + β (L_1 + α L_2))``: above 0 the augmented map contracts everywhere the argmax of pooling stays
        as it is. L_Φ is that of the gains of the displacement.
        """
        return 1 - self.c * (L_phi + beta * (self.L_1 + alpha * self.L_2))


@torch.no_grad()
def bounds(network: Network, signals: Signals | None, feedback: Feedback | None = None) -> Bounds:
    """The :class:`Bounds` of a network: L_1 of its readout (1 for squared error), L_2 the largest of its signals', each
    times what the ``feedback`` makes of an error at its layer.
    """
    squares, gains = [], feedback or Feedback(network)
    if signals is not None:  # a direct signal's matrix is the identity
        squares = [
            gains.of_error(n) * (_squared_norm(signals.matrices[n]) if n in signals.matrices else 1.0)
            for n in signals.layers
        ]
    scale = 0.0 if signals is None else 0.5 * signals.temperature ** (signals.exponent - 2)
    return Bounds(
        c=max(activation.largest_slope for activation in network.activations),
        L_1=1.0 if network.readout is None else 0.5 * _squared_norm(network.readout.weight),
        L_2=scale * max(squares, default=0.0),
    )


def _squared_norm(matrix: Tensor) -> float:
    return float(torch.linalg.matrix_norm(matrix.double(), ord=2)) ** 2
