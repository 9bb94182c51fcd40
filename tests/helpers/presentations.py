"""A deep network, images that come to rest at different times, and a presentation of both under every policy."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from nets import conv, custom, linear
from torch import Tensor

from neurosim_ep.ep.network import Network, build_network
from neurosim_ep.ep.signals import Errors
from neurosim_ep.scheduler.presentation import EPGradients, Phases, ep_gradients
from neurosim_ep.scheduler.schedule import Schedule

POLICIES = ("synchronous", "alternating", "sweep", "event")


def deep_network(pool: str = "max", scale: float = 0.7, dtype: torch.dtype = torch.float64) -> Network:
    section = custom(conv(6, pool=pool), conv(8, pool=pool), linear(12), linear(9), weight_scale=scale)
    return build_network(section, 4, (3, 12, 12), seed=5).to(dtype)


def images(samples: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(samples)
    x = (
        torch.randn(samples, 3, 12, 12, generator=random, dtype=torch.float64)
        * torch.linspace(0.05, 2, samples)[:, None, None, None]
    )
    return x.to(dtype), torch.arange(samples) % 4


def present(network: Network, x: Tensor, y: Tensor, schedule: Schedule, **options: Any) -> EPGradients:
    return by_name(network, x, y, free_steps=80, nudge_steps=20, beta=0.2, schedule=schedule, **options)


def by_name(network: Network, x: Tensor, y: Tensor, **options: Any) -> EPGradients:
    """``ep_gradients`` with the fields of its phases and errors as options."""
    phases, errors = (
        {name: options.pop(name) for name in _names(kind) if name in options} for kind in (Phases, Errors)
    )
    return ep_gradients(network, x, y, Phases(**phases), Errors(**errors), **options)


def _names(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]
