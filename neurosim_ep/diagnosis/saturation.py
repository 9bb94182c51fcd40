"""Which neurons can still pass an error: those whose drive lies where the activation rises."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from neurosim_ep.ep.activations import Activation
from neurosim_ep.telemetry.layers import STATE_COLUMNS, state_statistics


def saturation(
    activations: Sequence[Activation], states: Sequence[Tensor], slopes: Sequence[Tensor]
) -> list[dict[str, float]]:
    """Which neurons of each layer can still pass an error: those whose drive lies where the activation rises.

    From states (B, *shape) and the slopes σ' (B, *shape) at their drives; every fraction is of all (neuron, sample)
    pairs unless said otherwise. ``at_lower`` and ``at_upper``: states at the lower and upper bound of the activation;
    ``dead``: neurons at the lower bound in all samples, of signed states also those at the upper one;
    ``std_across_samples``: mean over neurons; ``linear``: drives at which σ' is not 0.
    """
    found = []
    for activation, state, slope in zip(activations, states, slopes, strict=True):
        values = dict(zip(STATE_COLUMNS, state_statistics(state, activation).tolist(), strict=True))
        found.append(
            {
                "mean_state": values["mean_abs_state"],
                "at_lower": float(activation.at_lower(state).float().mean()),
                "at_upper": values["fraction_upper"],
                "dead": values["dead_fraction"],
                "std_across_samples": values["std_across_samples"],
                "linear": float((slope != 0).double().mean()),
            }
        )
    return found
