"""`neurosim-ep hw check`: what a model says of one array at work, and what of that silicon has not shown."""

from __future__ import annotations

from collections import Counter

from neurosim_ep.hardware.bill.oneread import one_read, one_read_recording
from neurosim_ep.hardware.bill.sanity import Sanity
from neurosim_ep.hardware.model.file import ModelFile, numbers
from neurosim_ep.hardware.model.quantities import Coefficient, Number, Quantity
from neurosim_ep.units import format_si


def at_work(file: ModelFile) -> Sanity:
    """Figures of one array that is read all the time, with what stands beside it; levels: components of a read."""
    model = file.model
    read, chip = one_read(model), one_read_recording(model).chip
    static_W = chip.static_power().chip_W(1)
    whole_J = read.total_J or float("inf")
    per_J = 2 * read.multiply_adds / whole_J
    return Sanity(
        power_W=static_W + (read.total_J / read.time_s if read.time_s else 0.0),
        area_m2=chip.area_m2(),
        static_W=static_W,
        operations_per_J=per_J,
        bit_operations_per_J=per_J * model.digital.state_bits.value * model.weight_bits(),
        cells_used=1.0,
        time_used=1.0,
        levels={part: energy / whole_J for part, energy in read.energy_J.items()},
    )


def check_rows(file: ModelFile) -> list[tuple[str, str]]:
    """Lines (label, value) about a model that has passed the strict reading."""
    model, found = file.model, at_work(file)
    given = [number for _, number in numbers(model) if isinstance(number, Quantity)]
    kinds = Counter(number.kind for number in given)
    unsure = [number for number in given if not isinstance(number, Number | Coefficient)]
    intervals = sum(number.at("low") < number.at("high") for number in unsure)
    own = sum(origin == file.path.stem for origin in file.origins.values())
    array, read = model.array, one_read(model)
    pulses_s = array.input_pulses.value * model.cell.read_time.value
    cells_m2 = array.rows.value * array.columns.value * array.slices.value * model.cell.area.value
    return [
        ("model", f"{model.model.name}: {model.model.description}"),
        ("numbers", f"{own} keys of its own; of all {len(given)} numbers "
                    + ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
                    + f"; {intervals} of {len(unsure)} uncertain ones have an interval"),
        ("array", f"{array.rows.value} x {array.columns.value} x {array.slices.value} cells, "
                  f"{model.converters_per_tile()} converters of {model.adc.bits.value} bits"),
        ("area", f"{1e6 * found.area_m2:.3g} mm^2 with memories and router, "
                 f"{cells_m2 / found.area_m2 if found.area_m2 else 0:.1%} cells"),
        ("one read", f"{format_si(read.total_J, 'J')} in {format_si(read.time_s, 's')}, "
                     f"{format_si(pulses_s, 's')} of it pulses"),
        ("sanity", found.line + ", an array that is read all the time"),
        ("energy goes to", found.shares),
    ]  # fmt: skip


def doubts(file: ModelFile) -> list[str]:
    """What silicon has not shown, inputs that do not carry a state, and converters that cannot tell the results of a
    read apart.
    """
    model, found = file.model, at_work(file).warnings
    array, pulses = model.array, model.array.input_pulses.value
    state_bits, carried = model.digital.state_bits.value, pulses * model.dac.bits.value
    counted = pulses >= 2 ** (state_bits - 1) - 1  # as many pulses as the value says
    if carried < state_bits and not counted:
        found.append(
            f"array.input_pulses = {pulses}: with drivers of {model.dac.bits.value} bits (dac.bits) they carry "
            f"{carried} of the {state_bits} bits of a state; the bill takes them as they are, so give more pulses, "
            "drivers of more bits, or fewer digital.state_bits"
        )
    active = (array.rows_per_read or array.rows).value
    levels = 2 ** -(-model.weight_bits() // array.slices.value)
    pulse = 2 ** (model.dac.bits.value if array.conversions == "per_pulse" else carried)
    results = active * (levels - 1) * (pulse - 1) + 1
    if model.adc_cost().energy_J and model.adc.bits.value < (needed := (results - 1).bit_length()):
        found.append(
            f"adc.bits = {model.adc.bits.value}: a read of {active} rows has {needed} bits of different results; the "
            "rest is rounded, which the bill does not see and [hardware.converters] of a scenario does"
        )
    return found
