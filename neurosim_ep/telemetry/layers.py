"""Per-layer statistics of an epoch, accumulated on the device and read once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from neurosim_ep.ep.activations import Activation
from neurosim_ep.ep.network import Network
from neurosim_ep.ranks import ALONE, Ranks
from neurosim_ep.scheduler.presentation import EPGradients, Gradients

STATE_COLUMNS = ("mean_abs_state", "std_across_samples", "fraction_zero", "fraction_upper", "dead_fraction")
GRADIENT_COLUMNS = ("mean_abs_dW", "norm_dW", "norm_W")


def state_statistics(state: Tensor, activation: Activation) -> Tensor:
    """One value per name of ``STATE_COLUMNS`` for a state (B, *shape): the mean of |s|, the deviation across samples
    (mean over neurons), the fractions of states at 0, where they drive no line, and at the upper bound of
    ``activation``, and the fraction of neurons that are dead, see :meth:`Activation.dead`.
    """
    flat = state.flatten(1)
    masks = flat == 0, activation.at_upper(flat), activation.dead(flat)
    deviation = flat.std(0, correction=0)
    return torch.stack([flat.abs().mean(), deviation.mean(), *(mask.float().mean() for mask in masks)])


def state_sums(state: Tensor, activation: Activation) -> Tensor:
    """What :func:`statistics_of_sums` needs, a sum over the samples of a ``state`` (B, *shape) per neuron and quantity,
    float64 (6, features): sums of parts of a batch add up to those of the batch.
    """
    flat = state.flatten(1).double()
    masks = flat == 0, activation.at_lower(flat), activation.at_upper(flat)
    values = [flat, flat.square(), flat.abs(), *masks]
    return torch.stack([value.sum(0, dtype=torch.float64) for value in values])


def statistics_of_sums(sums: Tensor, samples: int, activation: Activation) -> Tensor:
    """:func:`state_statistics` of ``samples`` samples from their :func:`state_sums`, float64."""
    mean, square, size, zero, lower, upper = sums / samples
    dead = (lower == 1) | (upper == 1) if activation.signed else lower == 1
    deviation = (square - mean.square()).clamp(min=0).sqrt()
    return torch.stack([value.mean() for value in (size, deviation, zero, upper, dead.double())])


class LayerStatistics:
    """Means over the batches given to :meth:`add`, which ``ranks`` share."""

    def __init__(self, network: Network, ranks: Ranks = ALONE) -> None:
        self.network, self.ranks = network, ranks
        self.sums: list[Tensor] = []
        self.batches = 0

    @torch.no_grad()
    def add(self, result: Gradients, samples: int) -> list[Tensor]:
        """Add states, nudge differences (where there was a nudge) and gradients of one batch of ``samples`` samples,
        ``result`` being of those of this process, its gradients of all; returns the batch's row of every layer, on the
        device.
        """
        weights = [
            self._weights([f"connections.{place}" for place in self.network.into(n)], result)
            for n in range(self.network.layers)
        ]
        states = self._states(result) if self.ranks.count == 1 else self._states_of_all(result, samples)
        rows = [torch.cat(parts) for parts in zip(states, weights, strict=True)]
        if self.network.readout is not None:
            rows.append(
                torch.cat([rows[0].new_full((len(STATE_COLUMNS) + 1,), math.nan), self._weights(["readout"], result)])
            )
        self.sums = [total + row for total, row in zip(self.sums, rows, strict=True)] if self.sums else rows
        self.batches += 1
        return rows

    def state_dict(self) -> dict[str, Any]:
        """What the batches so far add up to."""
        return {"sums": self.sums, "batches": self.batches}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.sums, self.batches = state["sums"], state["batches"]

    def _states(self, result: Gradients) -> list[Tensor]:
        """Statistics of the states of every layer, and how far the nudge has moved them."""
        return [
            torch.cat([state_statistics(state, activation), moved.mean()[None]])
            for state, activation, moved in zip(result.free, self.network.activations, self._moved(result), strict=True)
        ]

    def _states_of_all(self, result: Gradients, samples: int) -> list[Tensor]:
        """The same of the states that all processes have."""
        activations = self.network.activations
        sums = [
            torch.cat([state_sums(state, activation), moved.flatten(1).sum(0, keepdim=True, dtype=torch.float64)])
            for state, activation, moved in zip(result.free, activations, self._moved(result), strict=True)
        ]
        rows = []
        for whole, activation, state in zip(self.ranks.summed(sums), activations, result.free, strict=True):
            moved = (whole[-1] / samples).mean()[None]
            rows.append(torch.cat([statistics_of_sums(whole[:-1], samples, activation), moved]).to(state))
        return rows

    def _moved(self, result: Gradients) -> list[Tensor]:
        """How far apart the ends of the nudge phases are (B, *shape), by layer; NaN where there were none."""
        if not isinstance(result, EPGradients):
            return [torch.full_like(state, math.nan) for state in result.free]
        plus, minus = (result.free if one is None else one for one in (result.plus, result.minus))
        return [(high - low).abs() for high, low in zip(plus, minus, strict=True)]

    def _weights(self, owners: Sequence[str], result: Gradients) -> Tensor:
        gradient = _together([result.grads[f"{owner}.weight"] for owner in owners])
        weight = _together([self.network.get_parameter(f"{owner}.weight") for owner in owners])
        return torch.stack([gradient.abs().mean(), gradient.norm(), weight.norm()])

    def rows(self) -> dict[str, dict[str, float | None]]:
        """The columns of layers.csv known here, by name of the layer; those of the readout last."""
        columns = (*STATE_COLUMNS, "mean_abs_nudge_difference", *GRADIENT_COLUMNS)
        names = [*self.network.layer_names, *(["readout"] if self.network.readout is not None else [])]
        table = (torch.stack(self.sums) / self.batches).tolist()
        return {
            name: {column: None if math.isnan(value) else value for column, value in zip(columns, row, strict=True)}
            for name, row in zip(names, table, strict=True)
        }


def _together(tensors: Sequence[Tensor]) -> Tensor:
    """All numbers of ``tensors`` in one."""
    return tensors[0] if len(tensors) == 1 else torch.cat([tensor.flatten() for tensor in tensors])
