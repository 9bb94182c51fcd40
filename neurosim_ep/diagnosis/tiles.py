"""What real tiles do to a nudge and to a weight change: conversion steps and clipping, bounds and asymmetry of devices.

A pulse up and a pulse down of a device at weight w change it by up(w) and down(w), whose sizes differ by the asymmetry
a = (|up| − |down|) / (|up| + |down|). G pulses, half of them each way, move it by a G (|up| + |down|)/2. Where the two
terms of EP's rule leave N net pulses of G, this drift is |a| G/N times the change that was meant.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim_ep.diagnosis.nudging import Ends
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.telemetry.resolution import nudge_step
from neurosim_ep.tiles.converters import Conversions
from neurosim_ep.tiles.crossbar import FORWARD, TRANSPOSED
from neurosim_ep.tiles.network_tiles import ChipTiles
from neurosim_ep.tiles.pulsed_update import Devices

AT_BOUND = 0.02  # of the range of a device, from a bound
AT_SYMMETRY = 0.05  # of the range of a device, from its symmetry point

Counted = Mapping[tuple[str, str], Conversions]


@dataclass(frozen=True)
class TileFigures:
    """One layer; None where its tiles do not have what is asked for, which leaves all but the first on ideal ones.

    ``mean_abs_nudge_difference``: mean |s⁺ − s⁻| over neurons and samples. ``adc_step_forward``,
    ``adc_step_transposed``: conversion steps, in units of the drive, of the two reads that make it up (the input: in
    the free phase), gains of the feedback included; ``adc_step_nudge``: the one that hides the nudge, see
    :func:`~neurosim_ep.telemetry.resolution.nudge_step`; ``nudge_per_step``: nudge difference over it.
    ``clipped_forward``, ``clipped_transposed``: shares of the conversions outside the range. ``devices_at_lower``,
    ``devices_at_upper``, ``devices_at_symmetry``: share of the devices near their bounds and their symmetry point.
    ``device_asymmetry``: mean of a over the devices that get the pulses, at their present weights;
    ``device_abs_asymmetry``: mean of its size.
    ``pulses_gross``, ``pulses_net``: per weight and batch, last epoch; ``cancellation``: their ratio;
    ``drift_per_net``: mean |a| times this ratio; ``counting_noise``: √gross / net, by how much of what is left of them
    the numbers of coinciding random pulses vary.
    """

    mean_abs_nudge_difference: float
    adc_step_forward: float | None = None
    adc_step_transposed: float | None = None
    adc_step_nudge: float | None = None
    clipped_forward: float | None = None
    clipped_transposed: float | None = None
    nudge_per_step: float | None = None
    devices_at_lower: float | None = None
    devices_at_upper: float | None = None
    devices_at_symmetry: float | None = None
    device_asymmetry: float | None = None
    device_abs_asymmetry: float | None = None
    pulses_gross: float | None = None
    pulses_net: float | None = None
    cancellation: float | None = None
    drift_per_net: float | None = None
    counting_noise: float | None = None


@contextmanager
def counting(tiles: ChipTiles | None) -> Iterator[list[Counted]]:
    """A list that holds what the converters of each connection did inside the block, once it has ended."""
    found: list[Counted] = []
    if tiles is None:
        yield found
        return
    with tiles.counting():
        yield found
    found += [dict(array.conversions) for array in tiles.arrays]


def tile_figures(run: Experiment, ends: Ends, counted: Sequence[Counted]) -> list[TileFigures]:
    """:class:`TileFigures` of each layer; the nudge phases end at ``ends``, and the reads of each connection did what
    was ``counted``.
    """
    nudges = [float((plus - minus).abs().double().mean()) for plus, minus in zip(ends.plus, ends.minus, strict=True)]
    tiles = run.model.tiles
    if tiles is None:
        return [TileFigures(nudge) for nudge in nudges]
    pulses: dict[int, tuple[float, float]] = last_pulses(run) if tiles.pulsed else {}
    found = []
    gains = run.model.feedback.of_reads()
    for layer, nudge in enumerate(nudges):
        network = run.model.network
        own, above = ([(counted[n], gains[n]) for n in into] for into in (network.into(layer), network.out_of(layer)))
        columns = resolution(nudge, [(one, 1.0) for one, _ in own], above, run.scenario.nudge_rises)
        if tiles.pulsed:
            columns |= devices_now(tiles.devices[layer])
            if layer in pulses:
                gross, net = pulses[layer]
                columns |= cancellation(gross, net, columns["device_abs_asymmetry"])
                if tiles.devices[layer].random_trains and net:
                    columns["counting_noise"] = math.sqrt(gross) / net
        found.append(TileFigures(nudge, **columns))
    return found


def resolution(
    nudge: float, own: Sequence[tuple[Counted, float]], above: Sequence[tuple[Counted, float]], rises: bool
) -> dict[str, float | None]:
    """Steps and clipped shares of a layer's forward read, by its ``own`` connections, and its transposed one, by those
    ``above``, each with the gain of what it gives, and the ``nudge`` over the step that hides it.
    """
    columns: dict[str, float | None] = {}
    for direction, conversions in ((FORWARD, own), (TRANSPOSED, above)):
        mine = [(one, gain) for array, gain in conversions for (_, way), one in array.items() if way == direction]
        done, reads = sum(one.done for one, _ in mine), sum(one.reads for one, _ in mine)
        if done and reads:
            columns[f"adc_step_{direction}"] = sum(float(one.step) * gain for one, gain in mine) / reads
            columns[f"clipped_{direction}"] = sum(float(one.clipped) for one, _ in mine) / done
    step = nudge_step(rises, columns.get(f"adc_step_{FORWARD}"), columns.get(f"adc_step_{TRANSPOSED}"))
    if step is not None:
        columns |= {"adc_step_nudge": step, "nudge_per_step": nudge / step}
    return columns


def devices_now(devices: Devices) -> dict[str, float | None]:
    """Where the weights of a connection lie between the bounds of their devices, and how unequal pulses up and down are
    there. Devices without a range, which are stuck, are at no bound.
    """
    model, array = devices.model, devices.slow
    w, lower, upper = (value.double() for value in (array.w, array.constants["w_min"], array.constants["w_max"]))
    span = upper - lower
    symmetry = model.symmetry_point(array.constants).double()
    written = array if devices.fast is None else devices.fast
    asymmetry = model.asymmetry(written.w, written.constants).double()
    return {
        "devices_at_lower": _share((w - lower <= AT_BOUND * span) & (span > 0)),
        "devices_at_upper": _share((upper - w <= AT_BOUND * span) & (span > 0)),
        "devices_at_symmetry": _share(((w - symmetry).abs() <= AT_SYMMETRY * span) & (span > 0)),
        "device_asymmetry": _mean(asymmetry),
        "device_abs_asymmetry": _mean(asymmetry.abs()),
    }


def cancellation(gross: float, net: float, asymmetry: float | None) -> dict[str, float | None]:
    """How many pulses are sent for one that stays, and the drift by an ``asymmetry`` over the change that stays."""
    ratio = gross / net if net else None
    drift = ratio * asymmetry if ratio is not None and asymmetry is not None else None
    return {"pulses_gross": gross, "pulses_net": net, "cancellation": ratio, "drift_per_net": drift}


def last_pulses(run: Experiment) -> dict[int, tuple[float, float]]:
    """Gross and net pulses per weight and batch of each layer in the last finished epoch, from the run's layers.csv;
    nothing where no epoch is finished.

    Raises :class:`CheckpointError` when the table is broken.
    """
    path = run.run.path / "layers.csv"
    if run.epoch == 0 or not path.exists():
        return {}
    from neurosim_ep.analysis.load import read_table

    table = read_table(path, ("epoch", "layer", "pulses_up", "pulses_down", "pulses_net"))
    table = table[table["epoch"] == run.epoch].dropna(subset=["pulses_net"])
    gross = table["pulses_up"] + table["pulses_down"]
    return {
        int(layer): (float(all_of_them), float(net))
        for layer, all_of_them, net in zip(table["layer"], gross, table["pulses_net"], strict=True)
    }


def _share(mask: Tensor) -> float:
    return float(mask.double().mean())


def _mean(values: Tensor) -> float | None:
    """Mean of the values that are numbers."""
    known = values[torch.isfinite(values)]
    return float(known.mean()) if known.numel() else None
