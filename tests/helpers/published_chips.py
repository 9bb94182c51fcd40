"""Published chips beside the figures that the cost model gives for them. Run it to print the table of
docs/validation.md.

Each figure says how it comes about: "given": the chip's file holds the number, and the model must give it back;
"composed": it follows from other numbers of the chip by the rules of the model; "uncalibrated": it follows from numbers
that have nothing to do with the chip; "calibrated": the same with a factor that others fitted to the chip; "twofold":
uncalibrated, of a whole chip, where a factor of two is as near as such models come to each other.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import neurosim_chip
import numpy as np
from hardware_models import load_hardware_model, tile_area_m2

from neurosim_ep.hardware.bill.cost import bill
from neurosim_ep.hardware.bill.oneread import OneRead, one_read, one_read_recording
from neurosim_ep.hardware.bill.writing import write_time_s, writing_actions
from neurosim_ep.hardware.chip.area import area_items
from neurosim_ep.hardware.chip.counts import ACCOUNTINGS, DIRECTIONS, TileCounts
from neurosim_ep.hardware.chip.memory import INPUTS, LINES, RESULTS, MemoryItem
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.hardware.chip.recording import Chip, Recording
from neurosim_ep.hardware.chip.static import static_power
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.file import merged, parse_hardware_model
from neurosim_ep.hardware.model.sections import HardwareModel
from neurosim_ep.resources import shipped_files
from neurosim_ep.tiles.mapping import ConnectionGeometry, plan_tiles

LIMITS = {"given": 2.0, "composed": 15.0, "uncalibrated": 15.0, "calibrated": 2.0, "twofold": 100.0}
"""Largest error in percent that needs no explanation, of the larger number over the smaller where a factor is meant."""


class Figure(NamedTuple):
    """A published number and the model's; ``unit`` is that of both. ``miss``: the number of the explanation in
    docs/validation.md where the error is beyond the limit.
    """

    chip: str
    what: str
    unit: str
    published: float
    model: float
    kind: str
    source: str
    miss: int | None = None

    @property
    def error_percent(self) -> float:
        """How far the model is above the published number."""
        return 100 * (self.model / self.published - 1)

    @property
    def met(self) -> bool:
        """Whether the error is within the limit of its kind."""
        error = self.error_percent
        if self.kind == "twofold" and error < 0:
            error = 100 * (self.published / self.model - 1)
        return abs(error) <= LIMITS[self.kind]

    @property
    def row(self) -> str:
        """Row of the table."""
        miss = f" [{self.miss}]" if self.miss else ""
        error = f"{round(self.error_percent, 1) + 0.0:+.1f} %{miss}"
        numbers = f"{self.published:.4g} | {self.model:.4g} | {self.unit} | {error}"
        return f"| {self.chip} | {self.what} | {numbers} | {self.kind} | {self.source} |"


def changed(model: HardwareModel, section: str, **values: int) -> HardwareModel:
    """``model`` with other whole numbers in a section."""
    old = getattr(model, section)
    new = {key: getattr(old, key).model_copy(update={"value": value}) for key, value in values.items()}
    return model.model_copy(update={section: old.model_copy(update=new)})


def per_mac(read: OneRead, *components: str) -> float:
    """Energy of some components per multiply-add."""
    return sum(read.energy_J[component] for component in components) / read.multiply_adds


def isaac() -> list[Figure]:
    model = load_hardware_model("validation/isaac_chip")
    read, source = one_read(model), "HWL, PUMA"
    spent = isaac_unit(model)
    adc, dac, crossbar, add, edram, router, bus, registers = 1.5625, 0.3906, 0.2344, 0.0195, 0.168, 0.085, 0.057, 0.143
    rows_J = 1e-12 * (adc + dac + crossbar + add + edram + router + bus + registers)
    network_J = spent["core_transfer"] + spent["cluster_transfer"]
    kept_J = spent["line_register"] + spent["drive_register"]
    tile_J = per_mac(read, "adc", "dac", "cell_read", "add") + spent["input_buffer"] + network_J + kept_J
    areas, static_W = isaac_areas(model), isaac_static_W(model)
    rate_per_s = ISAAC_TILES * 96 * read.multiply_adds / read.time_s
    assert model.port is not None
    chip_J = tile_J + (model.port.power.value + ISAAC_TILES * static_W) / rate_per_s

    def figure(what: str, unit: str, published: float, found: float, kind: str, miss: int | None = None) -> Figure:
        return Figure("ISAAC", what, unit, published, found, kind, source, miss)

    return [
        figure("ADC per 16-bit MAC", "pJ", adc, 1e12 * per_mac(read, "adc"), "given"),
        figure("DAC per 16-bit MAC", "pJ", dac, 1e12 * per_mac(read, "dac"), "given"),
        figure("crossbar per 16-bit MAC", "pJ", crossbar, 1e12 * per_mac(read, "cell_read"), "given"),
        figure("shift and add per 16-bit MAC", "pJ", add, 1e12 * per_mac(read, "add"), "given"),
        figure("time of a read of 16 planes", "us", 1.6, 1e6 * read.time_s, "composed"),
        figure("eDRAM per 16-bit MAC", "pJ", edram, 1e12 * spent["input_buffer"], "composed"),
        figure("registers of inputs and results per 16-bit MAC", "pJ", registers, 1e12 * kept_J, "composed"),
        figure("router per 16-bit MAC", "pJ", router, 1e12 * spent["cluster_transfer"], "composed"),
        figure("bus per 16-bit MAC", "pJ", bus, 1e12 * spent["core_transfer"], "composed"),
        figure("network per 16-bit MAC", "pJ", router + bus, 1e12 * network_J, "composed"),
        figure("tile per 16-bit MAC", "pJ", 1e12 * rows_J, 1e12 * tile_J, "composed"),
        figure("tile, throughput per watt", "GOPS/W", 2e-9 / rows_J, 2e-9 / tile_J, "composed"),
        figure("chip, throughput", "TOPS", 41.3, 2e-12 * rate_per_s, "composed"),
        figure("chip, throughput per watt", "GOPS/W", 627, 2e-9 / chip_J, "composed"),
        figure("tile, area", "mm2", 0.372, 1e6 * areas[0], "composed"),
        figure("chip, area", "mm2", 85.4, 1e6 * areas[1], "composed"),
        figure("tile, static power", "mW", 10.0, 1e3 * static_W, "twofold"),
        figure("crossbar, from V^2 G t of its cells", "pJ", crossbar, 1e12 * isaac_cells(model), "uncalibrated", 1),
    ]


ISAAC_TILES = 168


def isaac_unit(model: HardwareModel) -> dict[str, float]:
    """Energy per multiply-add and component outside of the arrays, when twelve arrays of a tile read 1536 states that
    the 96 arrays of the tile beside it send, for 100 ticks.
    """
    ticks = 100
    layers = [
        ConnectionGeometry(f"fc{n}", "linear", (inputs,), (outputs,), (outputs,))
        for n, inputs, outputs in ((1, 128, 1536), (2, 1536, 16))
    ]
    plan = plan_tiles(layers, model.array_geometry())
    counts = TileCounts.zeros(len(plan.tiles))
    where = (READ_PHASES.index("free"), ACCOUNTINGS.index("clocked"), DIRECTIONS.index("forward"))
    counts.traffic[where][0, plan.tile_range(1)] = ticks
    counts.presentations["free"] = counts.needed["free"] = np.ones((ticks, 2), np.int64)
    counts.events["free"] = counts.messages["free"] = np.zeros((ticks, 2), np.int64)
    counts.sends["free"] = np.zeros((ticks, len(plan.senders)), np.int64)
    counts.samples = counts.batches = 1
    table = bill(Recording.of(counts, plan, model)).query("style == 'clocked' and phase == 'free'")
    mine = table[(table.layer == 1) | table.component.isin(["cluster_transfer", "input_buffer"])]
    energy: dict[str, float] = (mine.groupby("component").energy_J.sum() / (ticks * layers[1].weights)).to_dict()
    return energy


def isaac_areas(model: HardwareModel) -> tuple[float, float]:
    """Area of a tile with its share of a router, and of a chip with its links to the outside, whose arrays are full."""
    outputs = ISAAC_TILES * 96 * 16
    plan = plan_tiles([ConnectionGeometry("all", "linear", (128,), (outputs,), (outputs,))], model.array_geometry())
    chip = Chip(plan, model)
    chip_m2 = sum(item.area_m2 for item in area_items(chip, isaac_memory(chip)))
    assert model.port is not None
    return (chip_m2 - model.port.area.value) / ISAAC_TILES, chip_m2


def isaac_memory(chip: Chip) -> list[MemoryItem]:
    """What ISAAC, which reads its arrays forwards only, has beside them: eDRAM, registers of inputs and results."""
    ways = {LINES: Fraction(128, 128 + 16), RESULTS: Fraction(16, 128)}
    kept = [item for item in chip.memory if item.item in (INPUTS, *ways)]
    return [item._replace(bits=int(item.bits * ways.get(item.item, 1))) for item in kept]


def isaac_static_W(model: HardwareModel) -> float:
    """Static power of one tile, links to the outside and refresh of its eDRAM apart."""
    plan = plan_tiles([ConnectionGeometry("all", "linear", (128,), (6144,), (6144,))], model.array_geometry())
    chip = Chip(plan, model.model_copy(update={"port": None}))
    found = static_power(chip, isaac_memory(chip))
    return (96 * 4 * found.tile_W + float(np.sum(found.beside.value))) / 4


def isaac_cells(model: HardwareModel) -> float:
    """Crossbar energy per multiply-add with pulses of 1 ns and half of the bits high, from the cell's conductances."""
    cell = model.cell
    times = {"read_time": 1e-9, "input_duty": 0.5}
    changes = {key: getattr(cell, key).model_copy(update={"value": value}) for key, value in times.items()}
    plain = model.model_copy(update={"cell": cell.model_copy(update={**changes, "read_energy": None})})
    return per_mac(one_read(plain), "cell_read")


def jia() -> list[Figure]:
    figures, source = [], "CiMLoop"
    published = {"850mV": (9.7, 1.79, 8.3, 0.874, 400, "composed"), "1200mV": (20.4, 3.56, 14.7, 2.185, 192, "given")}
    for name, (cim, adc, nmc, tops, tops_per_W, timed) in published.items():
        model = load_hardware_model(f"validation/jia_{name}")
        read, columns = one_read(model), model.array.columns.value
        chip = f"Jia, {int(name[:-2]) / 1000:g} V"
        figures += [
            Figure(chip, f"{what} per column", "pJ", value, 1e12 * read.energy_J[component] / columns, "given", source)
            for what, component, value in (("array", "cell_read", cim), ("ADC", "adc", adc), ("datapath", "add", nmc))
        ]
        macro_J = per_mac(read, "cell_read", "adc")
        figures += [
            Figure(chip, "array and ADC, 1 bit", "TOPS/W", tops_per_W, 2e-12 / macro_J, "composed", source),
            Figure(chip, "throughput, 1 bit", "TOPS", tops, read.operations_per_s / 1e12, timed, source),
        ]
    faster, columns = jia_by_law(), 256
    figures += [
        Figure(
            "Jia, 1.2 V", f"{what} per column, from 0.85 V by the law", "pJ", value,
            1e12 * faster.energy_J[part] / columns, "uncalibrated", source,
        )
        for what, part, value in (("array", "cell_read", 20.4), ("ADC", "adc", 3.56), ("datapath", "add", 14.7))
    ]  # fmt: skip
    model = load_hardware_model("validation/jia_850mV")
    fit = model.adc.model_copy(update={"kind": "fit"}).cost(model.model.node_nm)
    areas = {part: 1e6 * area for part, area in tile_area_m2(model).items()}
    fitted = [
        ("ADC energy of the regression", "pJ", 1.79, 1e12 * fit.energy_J, "uncalibrated", 2),
        ("ADC energy of the regression x 0.275", "pJ", 1.79, 0.275e12 * fit.energy_J, "calibrated", None),
        ("ADC area of the regression", "mm2", 0.497, 256e6 * fit.area_m2, "uncalibrated", 2),
        ("ADC area of the regression x 0.4", "mm2", 0.497, 256e6 * 0.4 * fit.area_m2, "calibrated", None),
        ("array area", "mm2", 2.91, areas["array"], "given", None),
        ("macro area, with sparsity controller", "mm2", 4.296, sum(areas.values()), "composed", None),
    ]
    return figures + [
        Figure("Jia", what, unit, wanted, found, kind, source, miss) for what, unit, wanted, found, kind, miss in fitted
    ]


def jia_by_law() -> OneRead:
    """A read of the array at 1.2 V with the numbers measured at 0.85 V."""
    document = merged(shipped_files("hwmodels")["validation/jia_850mV"])[0]
    about = {"unit": "V", "source": "Jia et al., JSSC 2020", "kind": "measured", "node_nm": 65}
    volts = {"supply": 1.2, "nominal": 0.85, "lowest": 0.85, "highest": 1.2, "threshold": 0.4}
    document["voltage"] = {name: {"value": value, **about} for name, value in volts.items()}
    return one_read(parse_hardware_model(document, "Jia at 1.2 V"))


def neurram() -> list[Figure]:
    figures, source = [], "CiMLoop"
    published = {
        (3, 1): (2.122, 43.08, 8.990, 10.62, 3.446), (6, 4): (0.7439, 15.95, 21.76, 29.11, 11.51),
        (8, 6): (0.4177, 8.257, 37.22, 52.48, 19.24), (10, 8): (0.2639, 6.437, 50.52, 75.86, 27.51),
    }  # fmt: skip
    misses = {
        ("input pulses", 3, 1): 3, ("input pulses", 6, 4): 3, ("input pulses", 10, 8): 3,
        ("word lines", 3, 1): 4, ("efficiency", 3, 1): 4,
        ("sum, cells at half of on and off", 6, 4): 7, ("sum, cells at half of on and off", 10, 8): 7,
    }  # fmt: skip
    for bits, (tops, tops_per_W, lines, neurons, pulses) in published.items():
        model = load_hardware_model("validation/neurram_{}b_{}b".format(*bits))
        read = one_read(model)
        femto = {name: 1e15 / 2 * per_mac(read, *parts) for name, parts in NEURRAM_PARTS.items()}
        found = {
            "throughput of 48 cores": ("TOPS", tops, 48 * read.operations_per_s / 1e12),
            "efficiency": ("TOPS/W", tops_per_W, read.operations_per_J / 1e12),
            "word lines": ("fJ/op", lines, femto["word lines"]),
            "neurons": ("fJ/op", neurons, femto["neurons"]),
            "input pulses": ("fJ/op", pulses, femto["input pulses"]),
            "sum of the three": ("fJ/op", lines + neurons + pulses, sum(femto.values())),
            "sum, cells at half of on and off": ("fJ/op", lines + neurons + pulses, 1e15 / 2 * half_way(model)),
        }
        chip = "NeuRRAM, {1}-bit in, {0}-bit out".format(*bits)
        figures += [
            Figure(chip, what, unit, wanted, value, "composed", source, misses.get((what, *bits)))
            for what, (unit, wanted, value) in found.items()
        ]
    core_mm2 = 1270e-6 * 256 / 0.28
    areas = {part: 1e6 * area for part, area in tile_area_m2(load_hardware_model("validation/neurram_10b_8b")).items()}
    converters = areas["adc"] + areas["sample_hold"] + areas["add"]
    return [
        *figures,
        Figure("NeuRRAM", "RRAM area of a core", "mm2", 0.12 * core_mm2, areas["array"], "composed", source),
        Figure("NeuRRAM", "neuron area of a core", "mm2", 0.28 * core_mm2, converters, "composed", "HWL"),
        Figure("NeuRRAM", "driver area of a core", "mm2", 0.21 * core_mm2, areas["driver"], "given", source),
    ]


def half_way(model: HardwareModel) -> float:
    """Energy per multiply-add of a core of NeuRRAM with the rule of models that give no read energy: V^2 G t, at the
    mean of on and off conductance, here for its current pulse of 10 ns.
    """
    cell = model.cell
    pulse = cell.read_time.model_copy(update={"value": 10e-9})
    plain = model.model_copy(update={"cell": cell.model_copy(update={"read_energy": None, "read_time": pulse})})
    return one_read(plain).total_J / one_read(plain).multiply_adds


NEURRAM_PARTS = {"word lines": ("dac",), "neurons": ("sample_hold", "adc", "add"), "input pulses": ("cell_read",)}


def colonnade() -> list[Figure]:
    model, source = load_hardware_model("validation/colonnade"), "CiMLoop"
    read = one_read(model)
    parts = {"array": ("cell_read", 0.602), "drivers and decoder": ("dac", 0.323), "registers": ("add", 0.075)}
    figures = [
        Figure(
            "Colonnade", f"{what} per 1 x 8 bit MAC", "fJ", share * 144.3, 1e15 * per_mac(read, part), "given", source
        )
        for what, (part, share) in parts.items()
    ]
    scaled = {(1, 1): 68.32, (1, 4): 105.3, (1, 8): 144.3, (1, 16): 243.2, (4, 4): 423.4, (8, 8): 1170, (16, 16): 3995}
    for (inputs, weights), wanted in scaled.items():
        other = one_read(changed(model, "array", cells_per_weight=weights + 7, input_pulses=inputs))
        found = 1e15 * other.total_J / other.multiply_adds
        kind = "given" if (inputs, weights) == (1, 8) else "composed"
        figures.append(Figure("Colonnade", f"{inputs} x {weights} bit MAC", "fJ", wanted, found, kind, source))
    area = 1e6 * sum(tile_area_m2(model).values())
    return [*figures, Figure("Colonnade", "area", "mm2", 0.2272, area, "given", source)]


class Written(NamedTuple):
    """An update of all weights of an array."""

    energy_J: float
    time_s: float


def written(model: HardwareModel) -> Written:
    """One outer product into a whole array, or one pulse in every cell of it, row by row, as the scheme says."""
    recording = one_read_recording(model)
    plan, counts = recording.chip.plan, recording.counts
    weights = plan.geometries[0].weights
    outer = model.write.scheme == "outer_product"
    counts.update[:, 0] = [2 * weights, 0, 0, 0, 0] if outer else [0, weights, 0, plan.array.rows, weights]
    energy_J = sum(float(action.energy_J.sum()) for action in writing_actions(recording, Style.CLOCKED))
    terms = 2 if outer else 1  # EP contrasts two states: two outer products for each sample
    return Written(energy_J / terms, write_time_s(recording) / terms)


def panther() -> list[Figure]:
    source = "PUMA"
    outer, serial = (load_hardware_model(f"validation/{name}") for name in ("panther", "panther_serial"))
    at_once, by_row = written(outer), written(serial)
    device = load_hardware_model("rram_32nm")
    array = changed(device, "array", cells_per_weight=1)
    plain, direct = (
        written(array.model_copy(update={"write": device.write.model_copy(update={"scheme": scheme})}))
        for scheme in ("accumulate", "outer_product")
    )
    one_bit = changed(load_hardware_model("validation/isaac_chip"), "digital", state_bits=1)
    plane = one_read(changed(one_bit, "array", input_pulses=1))
    found = [
        ("product of matrix and vector", "pJ", 309, 1e12 * one_read(outer).total_J, "given", None),
        ("product of matrix and vector, with ISAAC's numbers", "pJ", 309, 1e12 * plane.total_J, "uncalibrated", None),
        ("outer product, energy", "pJ", 88.8, 1e12 * at_once.energy_J, "given", None),
        ("outer product, time", "ns", 20, 1e9 * at_once.time_s, "given", None),
        ("serial read and write, energy", "nJ", 27.6, 1e9 * by_row.energy_J, "given", None),
        ("serial read and write, time", "us", 21.2, 1e6 * by_row.time_s, "given", None),
        ("serial : outer product, energy", "x", 27.6e3 / 88.8, by_row.energy_J / at_once.energy_J, "composed", None),
        ("serial : outer product, time", "x", 21.2e3 / 20, by_row.time_s / at_once.time_s, "composed", None),
        ("serial write, with the device of rram_32nm, energy", "nJ", 21.1, 1e9 * plain.energy_J, "uncalibrated", None),
        ("serial write, with the device of rram_32nm, time", "us", 10.97, 1e6 * plain.time_s, "uncalibrated", 5),
        ("outer product, with the device of rram_32nm, energy", "nJ", 0.0888, 1e9 * direct.energy_J, "uncalibrated", 6),
    ]
    return [
        Figure("PANTHER", what, unit, wanted, value, kind, source, miss)
        for what, unit, wanted, value, kind, miss in found
    ]


def neurosim() -> list[Figure]:
    found, source = neurosim_chip.modelled(), "run"
    return [
        Figure("NeuroSim, VGG-8", what, unit, value, found[what], "twofold", source, neurosim_chip.MISSES.get(what))
        for what, (unit, value) in neurosim_chip.MEASURED.items()
    ]


FIGURES = [*isaac(), *jia(), *neurram(), *colonnade(), *panther(), *neurosim()]
HEADER = "| chip | what | published | model | unit | error | kind | source |\n" + "| --- " * 8 + "|"


if __name__ == "__main__":
    print(HEADER, *(figure.row for figure in FIGURES), sep="\n")
