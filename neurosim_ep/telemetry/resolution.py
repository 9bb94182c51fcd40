"""What real tiles can tell apart and write: conversion steps against the nudge signal, clipped results, pulses.

A nudge moves the states of a layer by |s⁺ − s⁻|, a few hundredths or less, and both phases are read through converters
whose step is set by the whole range of the drives. Where the step is much larger, both phases get the same codes, and
the gradient of the layer is what rounding leaves of it. In a single sweep downwards a layer sees the nudge from above
alone: what it reads from below are the codes of the free states in both phases, however coarse they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from neurosim_ep.experiment.model import Model
from neurosim_ep.ranks import ALONE, Ranks
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.telemetry.alerts import Alert
from neurosim_ep.telemetry.layers import STATE_COLUMNS
from neurosim_ep.tiles.converters import Conversions
from neurosim_ep.tiles.crossbar import FORWARD, TRANSPOSED
from neurosim_ep.tiles.network_tiles import ChipTiles

NUDGE = len(STATE_COLUMNS)  # place of the nudge difference in a row of layer statistics
RESOLVED = 0.5
"""A nudge signal below this part of a step is not resolved: most states are rounded as if there were no nudge."""

Columns = dict[str, float | None]


@contextmanager
def watching(tiles: ChipTiles | None, batch: int, *, sampled: bool = False, ranks: Ranks = ALONE) -> Iterator[None]:
    """Calibrate the converters of ``tiles``, if there are any, in the presentation of ``batch`` (from 0) where it is
    time to, and count what they do during a ``sampled`` one. All ``ranks`` go on with the largest of the ranges that
    they have found.
    """
    if tiles is None:
        yield
        return
    calibrated = batch % tiles.arrays[0].section.converters.calibrate_every == 0
    with tiles.calibrating(calibrated), tiles.counting(sampled):
        yield
    if calibrated and ranks.count > 1:
        found = ranks.exchanged([array.ranges.fresh for array in tiles.arrays])
        for array, *each in zip(tiles.arrays, *found, strict=True):
            array.ranges.widen(each)


def nudge_step(rises: bool, forward: float | None, transposed: float | None) -> float | None:
    """The step that a nudge of a layer has to be compared with: the larger one of the reads whose inputs it moves,
    those from below only where it ``rises``. None where there is none.
    """
    known = [step for step in (forward if rises else None, transposed) if step is not None]
    return max(known, default=None)


class Resolution:
    """One epoch of the ``tiles`` of ``model``: means over the sampled batches, pulses of all batches."""

    def __init__(self, scenario: Scenario, model: Model, tiles: ChipTiles) -> None:
        self.network, self.names, self.tiles = tiles.network, tiles.network.layer_names, tiles
        self.rises, self.gains = scenario.nudge_rises, model.feedback.of_reads()
        self.steps: list[list[Tensor]] = []
        self.nudges: list[Tensor] = []
        self.clipped: list[list[Tensor]] = []
        self.pulses: list[Tensor] = []

    def unite(self, ranks: Ranks, samples: int) -> None:
        """In the first of the ``ranks``, let the converters have done what they did in all of them; those of this
        process have seen ``samples`` samples, for which their steps count.
        """
        done = [
            {
                key: Conversions(one.done, float(one.clipped), float(one.step) * samples, one.reads * samples)
                for key, one in array.conversions.items()
            }
            for array in self.tiles.arrays
        ]
        for array, *found in zip(self.tiles.arrays, *ranks.gathered(done), strict=True):
            for key in dict.fromkeys(key for each in found for key in each):
                array.conversions[key] = sum((each[key] for each in found if key in each), Conversions())

    def add(self, rows: Sequence[Tensor]) -> None:
        """Take what the converters of a sampled batch did, and the layers' statistics ``rows`` with their nudges."""
        self.nudges.append(torch.stack([row[NUDGE] for row in rows[: len(self.names)]]).double())
        steps, clipped = [], []
        for layer in range(len(self.names)):
            sides = (FORWARD, self.network.into(layer)), (TRANSPOSED, self.network.out_of(layer))
            for direction, numbers in sides:
                step, share = self._converters(numbers, direction)
                steps.append(step)
                clipped.append(share)
        self.steps.append(steps)
        self.clipped.append(clipped)

    def _converters(self, numbers: Sequence[int], direction: str) -> tuple[Tensor, Tensor]:
        """Mean step of the connections ``numbers`` in the nudge phases (the free one where only that reads them), and
        the share of all their conversions that were clipped; NaN where there are none.
        """
        missing = self.nudges[-1].new_tensor(torch.nan)
        arrays = [self.tiles.arrays[number] for number in numbers]
        known = []
        for number, array in zip(numbers, arrays, strict=True):
            gain = self.gains[number] if direction == TRANSPOSED else 1.0
            steps = (array.step(phase, direction) for phase in ("nudge", "free"))
            known += [missing.new_tensor(0.0) + step * gain for step in steps if step is not None][:1]
        counted = [
            one for array in arrays for (_, way), one in array.conversions.items() if way == direction and one.done
        ]
        if not known or not counted:
            return missing, missing
        clipped = sum((torch.as_tensor(one.clipped) for one in counted), torch.tensor(0)).double()
        step = known[0] if len(known) == 1 else torch.stack(known).mean()
        return step, clipped.to(missing.device) / sum(one.done for one in counted)

    def written(self) -> None:
        """Take the pulses of the batch that was just written."""
        if self.tiles.pulsed:
            self.pulses.append(torch.stack([devices.counts.totals() for devices in self.tiles.devices]))

    def state_dict(self) -> dict[str, Any]:
        """What the batches so far have left."""
        return {"steps": self.steps, "nudges": self.nudges, "clipped": self.clipped, "pulses": self.pulses}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.steps, self.nudges = list(state["steps"]), list(state["nudges"])
        self.clipped, self.pulses = list(state["clipped"]), list(state["pulses"])

    def columns(self) -> list[Columns]:
        """Columns of layers.csv of every layer: steps in units of the drive, shares of conversions, and pulses per
        weight and batch.
        """
        steps, clipped = (self._means(values) for values in (self.steps, self.clipped))
        names = ("adc_step_forward", "adc_step_transposed"), ("clipped_forward", "clipped_transposed")
        found: list[Columns] = []
        for layer in range(len(self.names)):
            values = [*zip(names[0], steps[layer], strict=True), *zip(names[1], clipped[layer], strict=True)]
            columns = {name: value if value == value else None for name, value in values}
            found.append(
                {**columns, "adc_step_nudge": nudge_step(self.rises, columns[names[0][0]], columns[names[0][1]])}
            )
        if self.pulses:
            totals = torch.stack(self.pulses).mean(0).tolist()
            for layer, columns in enumerate(found):
                mine = self.network.into(layer)
                cells = sum(self.tiles.devices[number].weights.numel() for number in mine)
                pulses = (sum(of) / cells for of in zip(*(totals[number] for number in mine), strict=True))
                columns |= dict(zip(("pulses_up", "pulses_down", "pulses_net"), pulses, strict=True))
        return found

    def warnings(self) -> list[Alert]:
        """One line that names the layers whose converters cannot resolve the nudge, if there are any."""
        if not self.nudges:
            return []
        nudges = torch.stack(self.nudges).mean(0).tolist()
        coarse = {}
        for name, nudge, columns in zip(self.names, nudges, self.columns(), strict=True):
            step = columns["adc_step_nudge"]
            if step is not None and nudge < RESOLVED * step:
                coarse[name] = f"{name} (step {step:.1e}, nudge {nudge:.1e})"
        if not coarse:
            return []
        kind = "the converters cannot resolve the nudge signal"
        remedy = (
            "raise hardware.converters.adc_bits or relaxation.beta, or narrow the range (adc_range, "
            "calibration_quantile)"
        )
        return [Alert(f"{kind} |s+ - s-| of {', '.join(coarse.values())}; {remedy}", kind, coarse, remedy)]

    def _means(self, batches: Sequence[Sequence[Tensor]]) -> list[list[float]]:
        """Means over the sampled batches, forward and transposed of each layer."""
        if not batches:
            return [[torch.nan, torch.nan]] * len(self.names)
        stacked = torch.stack([torch.stack(list(batch)) for batch in batches])
        return stacked.mean(0).view(len(self.names), 2).tolist()
