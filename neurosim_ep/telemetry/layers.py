"""Per-layer statistics of an epoch, accumulated on the device and read once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from neurosim_ep.ep.activations import Activation
from neurosim_ep.ep.network import Network
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


class LayerStatistics:
    """Means over the batches given to :meth:`add`."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.sums: list[Tensor] = []
        self.batches = 0

    @torch.no_grad()
    def add(self, result: Gradients) -> list[Tensor]:
        """Add one batch's states, nudge differences (where there was a nudge) and gradients; returns its row of every
        layer, on the device.
        """
        rows = []
        for n, activation in enumerate(self.network.activations):
            nudge = result.free[n].new_tensor(math.nan)
            if isinstance(result, EPGradients):
                nudge = (self._end(result.plus, result)[n] - self._end(result.minus, result)[n]).abs().mean()
            rows.append(
                torch.cat(
                    [
                        state_statistics(result.free[n], activation),
                        nudge[None],
                        self._weights([f"connections.{place}" for place in self.network.into(n)], result),
                    ]
                )
            )
        if self.network.readout is not None:
            rows.append(
                torch.cat([rows[0].new_full((len(STATE_COLUMNS) + 1,), math.nan), self._weights(["readout"], result)])
            )
        self.sums = [total + row for total, row in zip(self.sums, rows, strict=True)] if self.sums else rows
        self.batches += 1
        return rows

    def _weights(self, owners: Sequence[str], result: Gradients) -> Tensor:
        gradient = _together([result.grads[f"{owner}.weight"] for owner in owners])
        weight = _together([self.network.get_parameter(f"{owner}.weight") for owner in owners])
        return torch.stack([gradient.abs().mean(), gradient.norm(), weight.norm()])

    @staticmethod
    def _end(states: Sequence[Tensor] | None, result: EPGradients) -> Sequence[Tensor]:
        return result.free if states is None else states

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
