"""Which neurons can still pass an error: those whose drive lies where the activation rises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from neurosim_ep.ep.activations import Activation
from neurosim_ep.telemetry.layers import STATE_COLUMNS, state_statistics


@dataclass(frozen=True)
class Saturation:
    """One layer at the end of the free phase; every fraction is of all (neuron, sample) pairs unless said otherwise.

    ``at_lower`` and ``at_upper``: states at the lower and upper bound of the activation; ``dead``: neurons at the lower
    bound in all samples, of signed states also those at the upper one; ``std_across_samples``: mean over neurons;
    ``linear``: drives at which σ' is not 0.
    """

    mean_state: float
    at_lower: float
    at_upper: float
    dead: float
    std_across_samples: float
    linear: float


def saturation(
    activations: Sequence[Activation], states: Sequence[Tensor], slopes: Sequence[Tensor]
) -> list[Saturation]:
    """:class:`Saturation` of each layer, from states (B, *shape) and the slopes σ' (B, *shape) at their drives."""
    found = []
    for activation, state, slope in zip(activations, states, slopes, strict=True):
        values = dict(zip(STATE_COLUMNS, state_statistics(state, activation).tolist(), strict=True))
        found.append(
            Saturation(
                mean_state=values["mean_abs_state"],
                at_lower=float(activation.at_lower(state).float().mean()),
                at_upper=values["fraction_upper"],
                dead=values["dead_fraction"],
                std_across_samples=values["std_across_samples"],
                linear=float((slope != 0).double().mean()),
            )
        )
    return found
