"""What parts present, and how they compare what comes out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from relaxation import Product
from subject import Subject, random_subject

from gpu.session import Session
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scheduler.presentation import EPGradients
from neurosim_ep.scheduler.schedule import Schedule

CLASSES = {"cifar10": 10, "cifar100": 100}


def subject_of(
    session: Session,
    network: str,
    batch: int,
    width: float | None = None,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> Subject:
    """The scenario ``paper/<network>`` untrained, with random images."""
    scenario = load_scenario(f"paper/{network}", [f"network.width={width or session.width}"])
    subject = random_subject(scenario, CLASSES[scenario.data.kind], batch, device or session.device)
    return Subject(scenario, subject.model.to(subject.x.device, dtype), subject.x.to(dtype), subject.y, subject.source)


def product_of(session: Session, subject: Subject, schedule: Schedule) -> Product:
    """``subject`` presented with ``schedule`` for phases long enough for every kind of block."""
    return Product(subject, schedule, session.free_steps, session.nudge_steps)


def launched(product: Product) -> Product:
    """``product`` without captured graphs: every operation is launched by the host."""
    product.engine.graphs = None
    return product


@dataclass(frozen=True)
class Distance:
    """Largest distance of any state of free and nudge phases, and of any gradient relative to its norm."""

    equal: bool
    states: float
    gradients: float

    def __str__(self) -> str:
        if self.equal:
            return "are equal bit for bit"
        return f"DIFFER: states by {self.states:.1e}, gradients by {self.gradients:.1e} of their norm"

    def values(self) -> dict[str, object]:
        """For machines."""
        return {"equal": self.equal, "states_apart": self.states, "gradients_apart": self.gradients}


def apart(ours: EPGradients, theirs: EPGradients) -> Distance:
    """How far two presentations are from each other; they may be on different devices and of different formats."""
    pairs = list(zip(_states(ours), _states(theirs), strict=True))
    equal = all(torch.equal(a, b) for a, b in pairs) if _alike(*pairs[0]) else False
    equal = equal and all(torch.equal(grad, theirs.grads[name]) for name, grad in ours.grads.items())
    states = max(float(torch.sub(*_comparable(a, b)).abs().max()) for a, b in pairs)
    grads = (_comparable(grad, theirs.grads[name]) for name, grad in ours.grads.items())
    gradients = max(float((a - b).norm() / b.norm().clamp(min=1e-30)) for a, b in grads)
    return Distance(equal, states, gradients)


def cosines(ours: EPGradients, theirs: EPGradients) -> dict[str, float]:
    """Cosine of the gradients of every connection's weights."""
    return {
        name: float(torch.cosine_similarity(*(g.flatten() for g in _comparable(grad, theirs.grads[name])), dim=0))
        for name, grad in ours.grads.items()
        if name.startswith("connections") and name.endswith("weight")
    }


def _states(end: EPGradients) -> list[torch.Tensor]:
    return [*end.free, *(end.plus or ()), *(end.minus or ())]


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.device == other.device and one.dtype == other.dtype


def _comparable(one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both in float64, on the CPU where they are not on one device."""
    if one.device != other.device:
        one, other = one.cpu(), other.cpu()
    return one.double(), other.double()
