"""What changing the weights costs, in the scheme of the model's ``[write]`` section.

| scheme | how weight changes reach the cells |
| --- | --- |
| accumulate | summed over the batch by a digital accumulator beside each tile, then programmed, a row's cells at once |
| row_verify | the same, and after each of its pulses a row is read to check it |
| outer_product | every sample writes its two signed outer products, by coinciding pulses on rows and columns |
| continual | the same in every nudge tick (continual EP): many more writes |
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd

from neurosim_ep.hardware.bill.action import Action
from neurosim_ep.hardware.bill.reads import read_time_s
from neurosim_ep.hardware.bill.settling import tile_copies
from neurosim_ep.hardware.chip.components import Part
from neurosim_ep.hardware.chip.counts import DIRECTIONS
from neurosim_ep.hardware.chip.phases import READ_PHASES, UPDATE
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.terms import counted, of_chip


def writing_actions(recording: Recording, style: Style) -> Iterator[Action]:
    """Accumulation and programming of the synapses, tile by tile; in the settling style every copy of a tile is
    programmed, and one accumulator serves them all.
    """
    chip, counts = recording.chip, recording.counts
    model, term, columns = chip.model, chip.model.term, of_chip("columns of a tile", chip.plan.columns)
    copies = of_chip("copies of a tile", tile_copies(chip)) if style is Style.SETTLING else 1
    act = partial(Action, UPDATE, per_tile=True)
    pulses = counted("programming pulses", write_pulses(recording))
    yield act(Part.CELL_WRITE, pulses * copies, model.cell_write_energy())
    if model.write.parallel:
        lines = counted("lines driven in outer products", _driven_lines(recording))
        yield act(Part.DAC, lines * term("write.slots") * copies, term("dac.pulse_energy"))
        return
    steps, slices = counted("rows of pulses", counts.updates("write_steps")), term("array.slices")
    yield act(Part.DAC, steps * (columns + 1) * slices * copies, term("dac.pulse_energy"))
    adds = counted("additions into accumulators", counts.updates("accumulate_adds"))
    yield act(Part.UPDATE_ADD, adds, term("digital.multiply_add_energy"))
    moved = adds * 2 * term("digital.accumulator_bits")
    yield act(Part.UPDATE_MEMORY, moved, model.buffer_energy(chip.accumulator_bits))
    if model.write.scheme == "row_verify":
        cells = steps * term("write.verify_reads") * columns * copies * slices
        yield act(Part.CELL_READ, cells * term("array.input_pulses"), model.cell_read_energy())
        conversions = cells * model.conversions_per_result()
        yield act(Part.SAMPLE_HOLD, conversions, term("sample_hold.sample_energy"))
        yield act(Part.ADC, conversions, model.conversion_energy())
        yield act(Part.ADD, conversions, term("digital.add_energy"))


def write_pulses(recording: Recording) -> np.ndarray:
    """Programming pulses of each tile, [tiles]: those that devices got where the tiles count them; else those that
    the batch's net change takes, or, where outer products are written directly, the expected coincidences: two
    pulses, each high with the probability ``input_duty``, in each of the ``slots`` of each (row, column, sample,
    position) of both terms.
    """
    counts, model = recording.counts, recording.chip.model
    if counts.applied or not model.write.parallel:
        return counts.updates("pulses_up") + counts.updates("pulses_down")
    coincidence = model.write.slots.value * model.cell.input_duty.value**2
    return counts.updates("accumulate_adds") * coincidence * _products(recording)


def write_time_s(recording: Recording) -> float:
    """Time of the update, of the slowest tile: its additions, by its multiply-add units or as fast as its memory reads
    and writes, and pulses in a row, each row's cells at once (and read, where verified), the tiles of a core in turn
    where they share what that takes; or the slots of all outer products of a tile, one position after the other.
    """
    counts, chip = recording.counts, recording.chip
    model, pulse_s = chip.model, chip.model.cell.write_time.value
    if model.write.parallel:
        reuse = max(tile.reuse for tile in chip.plan.tiles)
        return counts.samples * reuse * counts.terms * model.write.slots.value * pulse_s * _products(recording)
    steps, verified = counts.updates("write_steps"), model.write.scheme == "row_verify"
    step_s = np.full(len(steps), pulse_s)
    if verified:
        step_s = step_s + model.write.verify_reads.value * read_time_s(chip, "forward")
    in_turn = model.shared("drivers") or (verified and model.shared("converters"))
    return float((_accumulation_s(recording) + chip.levels.summed(steps * step_s, shared=in_turn)).max())


def _accumulation_s(recording: Recording) -> np.ndarray:
    """Time of the additions into the accumulator of each tile, or of its core where that is shared, float64 [tiles]."""
    chip, adds = recording.chip, recording.counts.updates("accumulate_adds")
    digital, buffer = chip.model.digital, chip.model.buffer
    added_s = adds * digital.multiply_add_time.value / digital.multiply_add_units.value
    moved_s = 2 * adds * digital.accumulator_bits.value * buffer.seconds_per_bit
    return np.maximum(
        chip.levels.summed(added_s, shared=chip.model.shared("multiply_adds")),
        chip.levels.summed(moved_s, shared=chip.model.shared("accumulators")),
    )


def endurance_table(recording: Recording, samples: float) -> pd.DataFrame:
    """Wear of each tile: tile, layer, name, pulses_per_cell over ``samples`` training samples (mean over the used
    cells of a slice, as if all pulses of a weight of several slices went to one of them), and endurance_used, its share
    of what a cell endures (NaN where the model gives no endurance).
    """
    chip, endures = recording.chip, recording.chip.model.cell.endurance
    cells = chip.plan.rows * chip.plan.columns
    pulses = write_pulses(recording) / cells * samples / max(recording.counts.samples, 1)
    frame = chip.plan.to_frame()[["tile", "layer", "name"]]
    used = pulses / endures.value if endures is not None else np.full(len(pulses), np.nan)
    return frame.assign(pulses_per_cell=pulses, endurance_used=used)


def _products(recording: Recording) -> float:
    """How often the outer products of a sample are written: once, or whenever nudge phases have updated a layer (the
    mean of both).
    """
    counts = recording.counts
    if recording.chip.model.write.scheme == "outer_product":
        return 1.0
    updates = [counts.presentations[phase].sum(0).max() for phase in READ_PHASES[1:] if phase in counts.presentations]
    return float(np.mean(updates)) / max(counts.samples, 1) if updates else 0.0


def _driven_lines(recording: Recording) -> np.ndarray:
    """Rows and columns that carry pulses when the outer products of all samples are written, [tiles]: for each of them
    the lines driven per position in the mean clocked read of all phases, in both directions.
    """
    counts, plan = recording.counts, recording.chip.plan
    products = counts.terms * counts.samples * np.array([tile.reuse for tile in plan.tiles])
    lines = np.zeros(len(plan.tiles))
    for way in DIRECTIONS:
        reads, active = (
            sum(counts.of(phase, "clocked", way, quantity) for phase in READ_PHASES)
            for quantity in ("reads", "active_lines")
        )
        lines += np.asarray(active) / np.maximum(reads, 1) * products
    return lines * _products(recording)
