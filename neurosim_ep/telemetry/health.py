"""Layers that fail while a run goes on: neurons that fall silent, states that no longer depend on the input, and
errors that float32 does not resolve.

These are how deep equilibrium propagation stops learning without an error. The thresholds stand between what was
measured in runs that learned and in runs that did not (VGG-11 at widths 0.125 and 1, epoch means of layers.csv):

- :data:`DYING`. In runs that learned, at most four in ten neurons of any layer were at 0 for a whole batch, mostly
  fewer than two in ten. In runs without signals six to seven in ten were in the last layer. A fresh network has about
  half of them at 0, as its states do not depend on the input yet and half the drives are negative. States with a sign
  are held at a bound instead, at either one.
- :data:`INPUT_INDEPENDENT`. In runs that learned, the deviation of a state across samples was a quarter to the whole
  of the mean |s|, in every layer. In runs without signals it was some hundredths in the middle layers and a millionth
  in the last ones.
- :data:`UNRESOLVED`. Of 138 layers (VGG-7, VGG-11, VGG-13 and a small network, β of 1e-6 to 0.5, gains of 0.02 to 1)
  those whose states the nudge moved by less than 2 ε |s| on average, ε = 2⁻²³ being the spacing of float32 at 1, had
  gradients with a cosine of −0.2 to 0.97 and 1.03 to 6e6 times the norm of those in float64, and no others had one
  below 0.85; from 5 ε |s| on it was above 0.93.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from neurosim_ep.telemetry.alerts import Alert
from neurosim_ep.telemetry.layers import STATE_COLUMNS

DYING = 0.6
"""A layer is dying when more than this fraction of its neurons is dead for every sample of a batch."""
INPUT_INDEPENDENT = 0.05
"""A layer does not depend on the input when its deviation across samples is below this part of its mean |s|."""
UNRESOLVED = 2 * 2.0**-23
"""A nudge that moves states by less than this part of the mean |s| is lost among their roundings."""
COLUMNS = (*STATE_COLUMNS, "mean_abs_nudge_difference")
"""What is known of a layer here."""
KINDS = {
    "dead": ("layer is dead", "raise network.weight_scale, lower training.learning_rate, or set network.activation"),
    "dying": ("layer is dying", "raise network.weight_scale or lower training.learning_rate"),
    "input": (
        "layer hardly depends on the input",
        "the verdict at the end says whether that stops learning; weaker feedback (relaxation.feedback) or local "
        "errors (signals.kind = le) wake deep layers",
    ),
    "rounding": (
        "float32 does not resolve the nudge",
        "raise relaxation.beta, or bring errors down to the layer with local errors (signals.kind = le) or "
        "relaxation.nudge_feedback = 1",
    ),
}
"""Of each cause what its warnings have in common, and what to do."""
WINDOW = 5
"""Sampled batches that are judged together: their mean is read from the device once."""


class LayerHealth:
    """Warnings about the layers ``names`` (first to last) in one epoch of ``batches`` batches.

    Each layer and cause is reported once. The deep layers of a fresh network do not depend on the input: in runs that
    learn they begin to after some hundred updates. With ``fresh``, the first epoch, a layer that was never found well
    is therefore judged from the middle of the epoch on only.
    """

    def __init__(self, names: Sequence[str], batches: int, *, fresh: bool) -> None:
        self.names, self.batches, self.fresh = names, batches, fresh
        self.window: list[Tensor] = []
        self.last = 0
        self.well: set[str] = set()
        self.reported: set[tuple[str, str]] = set()

    def add(self, statistics: Sequence[Tensor], batch: int, samples: int) -> list[Alert]:
        """Take the ``COLUMNS`` of every layer for ``batch`` (from 1) of ``samples`` samples.

        ``statistics`` are on the device and start with these columns; rows beyond the layers are not read. Returns new
        warnings, which can come with every fifth call only.
        """
        rows = torch.stack([row[: len(COLUMNS)] for row in statistics[: len(self.names)]])
        if samples == 1:
            rows[:, COLUMNS.index("std_across_samples")] = math.inf  # one sample says nothing about others
        self.window.append(rows)
        self.last = batch
        return self._judge() if len(self.window) == WINDOW else []

    def close(self) -> list[Alert]:
        """New warnings at the end of the epoch, from the batches that were not judged yet."""
        self.fresh = False
        return self._judge() if self.window else []

    def state_dict(self) -> dict[str, Any]:
        """What has been seen and said."""
        return {
            "window": self.window, "last": self.last, "well": sorted(self.well),
            "reported": [list(one) for one in sorted(self.reported)],
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.window, self.last, self.well = list(state["window"]), state["last"], set(state["well"])
        self.reported = {(name, cause) for name, cause in state["reported"]}

    def _judge(self) -> list[Alert]:
        means = torch.stack(self.window).mean(0).tolist()
        self.window = []
        resting = self.fresh and self.last < self.batches / 2
        found: list[Alert] = []
        for name, values in zip(self.names, means, strict=True):
            causes = dict(_causes(dict(zip(COLUMNS, values, strict=True))))
            if not causes:
                self.well.add(name)
            if resting and name not in self.well:
                continue
            for cause, text in causes.items():
                if (name, cause) not in self.reported:
                    self.reported.add((name, cause))
                    kind, remedy = KINDS[cause]
                    found.append(Alert(f"layer {name} {text} (seen by batch {self.last})", kind, [name], remedy))
        return found


def _causes(row: dict[str, float]) -> Iterator[tuple[str, str]]:
    """What is wrong with a layer of these statistics: a name for the cause, and a text that follows the layer's."""
    dead, size, deviation = row["dead_fraction"], row["mean_abs_state"], row["std_across_samples"]
    where = "0" if row["fraction_zero"] > dead / 2 else "held at a bound"
    if dead == 1:
        yield "dead", f"is dead: all its states are {where} for every sample"
    elif dead > DYING:
        yield "dying", f"is dying: {dead:.0%} of its neurons are {where} for every sample of a batch"
    if size > 0 and deviation < INPUT_INDEPENDENT * size:
        yield (
            "input",
            f"hardly depends on the input: its states deviate across samples by {deviation / size:.1e} of |s|",
        )
    if unresolved(nudge := row["mean_abs_nudge_difference"], size):
        yield (
            "rounding",
            f"has a gradient of rounding noise: the nudge moves its states by {nudge / size:.1e} of |s|, less than "
            "float32 tells apart",
        )


def unresolved(nudge: float, size: float) -> bool:
    """Whether states of mean size ``size`` are moved by a ``nudge``, but by less than float32 tells apart."""
    return 0 < nudge < UNRESOLVED * size
