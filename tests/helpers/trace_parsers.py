"""Strict readers of the exported formats, written from what the formats say and not from what writes them."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import yaml

SANA_FE = (
    "timestep,mid,src_neuron,src_hw,dest_hw,hops,spikes,send_timestamp,received_timestamp,processed_timestamp,"
    "generation_delay,processing_delay,network_delay,blocking_delay,min_hop_delay,messages_along_route,subnet"
)
NOXIM_KEYS = set(
    [
        "topology",
        "mesh_dim_x",
        "mesh_dim_y",
        "r2r_link_length",
        "r2h_link_length",
        "buffer_depth",
        "flit_size",
        "min_packet_size",
        "max_packet_size",
        "routing_algorithm",
        "routing_table_filename",
        "selection_strategy",
        "packet_injection_rate",
        "probability_of_retransmission",
        "traffic_distribution",
        "traffic_table_filename",
        "traffic_hardcoded_filename",
        "clock_period_ps",
        "simulation_time",
        "n_virtual_channels",
        "reset_time",
        "stats_warm_up_time",
        "detailed",
        "dyad_threshold",
        "max_volume_to_be_drained",
        "show_buffer_stats",
        "use_winoc",
        "use_wirxsleep",
        "verbose_mode",
        "trace_mode",
        "trace_filename",
        "Hubs",
        "RadioChannels",
    ]
)
"""What Noxim stops without."""
NUMBER = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"


class Packet(NamedTuple):
    src: int
    dst: int
    time: int


class Rate(NamedTuple):
    src: int
    dst: int
    pir: float
    por: float
    t_on: int
    t_off: int
    t_period: int

    @property
    def packets(self) -> float:
        """Expected ones: Noxim draws while t_on < cycle < t_off."""
        return self.pir * (self.t_off - self.t_on - 1)


class Message(NamedTuple):
    timestep: int
    mid: int
    src: int
    dst: int
    hops: int
    spikes: int


class Spikes(NamedTuple):
    ms: np.ndarray
    src: np.ndarray
    dst: np.ndarray
    messages: np.ndarray
    bits: np.ndarray


class Connection(NamedTuple):
    row: tuple[int, ...]
    weights: np.ndarray
    old: np.ndarray
    codes: np.ndarray
    activity: float

    @property
    def windows(self) -> float:
        """Input vectors that NeuroSim reads of it."""
        height, width, _, kh, kw, _, _, stride = self.row
        return (height - kh + 1) / stride * (width - kw + 1) / stride


def lines_of(path: Path) -> list[str]:
    """Lines of a text file, each of which ends."""
    text = path.read_text("ascii")
    assert text.endswith("\n") and "\r" not in text
    return text.split("\n")[:-1]


def read_booksim(folder: Path) -> tuple[dict[str, str], dict[int, list[Packet]]]:
    """Configuration, and the packets of every size in flits, as the reader beside them takes them."""
    config = {}
    for line in lines_of(folder / "mesh_config"):
        if not line.startswith("//"):
            match = re.fullmatch(r"(\w+) = ([\w.(){},]+);", line)
            assert match, line
            assert match[1] not in config
            config[match[1]] = match[2]
    assert (config["topology"], config["n"], config["routing_function"]) == ("mesh", "2", "dim_order")
    assert (config["sim_type"], config["warmup_periods"], config["max_samples"]) == ("latency", "1", "2")
    nodes = int(config["k"]) ** 2
    sizes = config["packet_size"].strip("{}").split(",")
    traces = [f"trace({{packets_{size}.txt,{config['sample_period']}}})" for size in sizes]
    assert config["traffic"] == (traces[0] if len(traces) == 1 else "{" + ",".join(traces) + "}")
    assert config["injection_process"] == config["traffic"] and len(sizes) == int(config["classes"])
    assert nodes >= 4
    found = {}
    for size in sizes:
        path = folder / f"packets_{size}.txt"
        lines = lines_of(path) if path.stat().st_size else []
        assert all(re.fullmatch(r"\d+ \d+ \d+", line) for line in lines)
        packets = [Packet(*map(int, line.split(" "))) for line in lines]
        times = [packet.time for packet in packets]
        assert times == sorted(times) and max(times, default=0) < int(config["sample_period"])
        for packet in packets:
            check_ends(packet.src, packet.dst, nodes)
        found[int(size)] = packets
    return config, found


def read_noxim(folder: Path) -> tuple[dict[str, Any], list[Rate]]:
    """The configuration, checked as Noxim does, and all lines of the traffic table."""
    config = yaml.safe_load((folder / "config.yaml").read_text("ascii"))
    assert config.keys() >= NOXIM_KEYS
    assert (config["topology"], config["routing_algorithm"]) == ("MESH", "XY")
    assert config["mesh_dim_x"] > 1 and config["mesh_dim_y"] > 1
    assert 2 <= config["min_packet_size"] == config["max_packet_size"] <= config["buffer_depth"]
    assert 0 < config["packet_injection_rate"] <= 1 and config["flit_size"] > 0
    assert 0 == config["stats_warm_up_time"] <= config["simulation_time"]
    assert config["clock_period_ps"] >= 2
    assert (config["reset_time"] + config["simulation_time"]) * config["clock_period_ps"] < 2**31
    assert list(config["Hubs"]) == ["defaults"] and config["use_winoc"] is False
    assert set(config["RadioChannels"]["defaults"]) == {"ber", "data_rate", "mac_policy"}
    assert config["traffic_distribution"] == "TRAFFIC_TABLE_BASED"
    check_noxim_power(folder / "power.yaml", config)
    rates = []
    for line in lines_of(folder / config["traffic_table_filename"]):
        assert len(line) < 511  # Noxim's buffer
        if line.startswith("%"):
            continue
        assert re.fullmatch(rf"\d+ \d+ {NUMBER} {NUMBER} \d+ \d+ \d+", line), line
        src, dst, pir, por, *times = line.split(" ")
        rate = Rate(int(src), int(dst), float(pir), float(por), *map(int, times))
        check_ends(rate.src, rate.dst, config["mesh_dim_x"] * config["mesh_dim_y"])
        assert 0 <= rate.pir <= 1 and 0 <= rate.por <= 1
        assert config["reset_time"] <= rate.t_on + 1 < rate.t_off < rate.t_period
        assert rate.t_off < config["reset_time"] + config["simulation_time"] < rate.t_period  # it does not start over
        rates.append(rate)
    assert len({(rate.src, rate.dst, rate.t_on) for rate in rates}) == len(rates)
    for t_on in {rate.t_on for rate in rates}:  # Noxim draws one packet of a source per cycle at most
        together: dict[int, float] = {}
        for rate in rates:
            if rate.t_on == t_on:
                together[rate.src] = together.get(rate.src, 0) + rate.pir
        assert max(together.values()) * config["max_packet_size"] <= 0.5  # two cycles per flit
    return config, rates


def check_noxim_power(path: Path, config: dict[str, Any]) -> None:
    """Whether Noxim finds in it what it looks up for a mesh without hubs."""
    energy = yaml.safe_load(path.read_text("ascii"))["Energy"]
    flit = config["flit_size"]
    assert [row[:2] for row in energy["Buffer"]] == [[config["buffer_depth"], flit]] and len(energy["Buffer"][0]) == 6
    lengths = [row[0] for row in energy["LinkBitLine"]]
    assert config["r2r_link_length"] in lengths and config["r2h_link_length"] in lengths
    router = energy["Router"]
    assert [5, flit] in [row[:2] for row in router["crossbar"]] and {len(row) for row in router["crossbar"]} == {4}
    assert flit in [row[0] for row in router["network_interface"]]
    assert len(router["routing"]["XY"]) == len(router["selection"]["default"]) == 2
    assert len(energy["Hub"]["transceiver_leakage"]) == len(energy["Hub"]["transceiver_biasing"]) == 2


def read_sonata(path: Path, nodes: int) -> Spikes:
    """The population ``tiles`` of a spike file."""
    with h5py.File(path) as file:
        assert file.attrs["magic"] == 0x0A7A and file.attrs["magic"].dtype == np.uint32
        assert file.attrs["version"].tolist() == [0, 1] and file.attrs["version"].dtype == np.uint32
        assert list(file["spikes"]) == ["tiles"]
        group = file["spikes/tiles"]
        names = h5py.check_enum_dtype(group.attrs.get_id("sorting").dtype)
        assert names == {"none": 0, "by_id": 1, "by_time": 2}
        assert group.attrs["sorting"] == names["by_time"]
        assert group["timestamps"].dtype == np.float64 and group["node_ids"].dtype == np.uint64
        assert group["timestamps"].attrs["units"] == "ms"
        assert group["timestamps"].attrs["one_ms_is"].startswith("one tick")
        found = Spikes(*(group[name][:] for name in ("timestamps", "node_ids", "dst", "payload", "bits")))
    assert len({len(column) for column in found}) == 1
    assert (np.diff(found.ms) >= 0).all()
    assert (found.messages > 0).all() and (found.bits >= found.messages).all()
    for src, dst in zip(found.src.tolist(), found.dst.tolist(), strict=True):
        check_ends(src, dst, nodes)
    return found


def read_messages_csv(path: Path, nodes: int) -> list[Message]:
    """All rows; columns that nothing is known about are empty."""
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == SANA_FE.split(",")
    found = []
    for row in rows:
        cells = dict(zip(header, row, strict=True))
        hardware = [re.fullmatch(r"(\d+)\.0", cells.pop(name)) for name in ("src_hw", "dest_hw")]
        assert all(hardware)
        src, dst = (int(match[1]) for match in hardware if match)
        known = [int(cells.pop(name)) for name in ("timestep", "mid", "hops", "spikes")]
        assert not any(cells.values())
        check_ends(src, dst, nodes)
        found.append(Message(*known[:2], src, dst, *known[2:]))
    assert [message.mid for message in found] == list(range(len(found)))
    steps = [message.timestep for message in found]
    assert steps == sorted(steps) and steps[0] >= 1
    assert all(message.spikes > 0 for message in found)
    return found


def read_neurosim(folder: Path) -> list[Connection]:
    """What the command reads: rows of NetWork.csv with weights, and inputs as unsigned integers [rows, windows]."""
    *_, command = (folder / "trace_command.sh").read_text("ascii").replace("\\\n", "").splitlines()
    _, epoch, network, weight_bits, bits, *rest = command.split()
    assert (epoch, network) == ("1", "NetWork.csv") and int(weight_bits) >= 1
    found = []
    lines = lines_of(folder / network)
    assert len(rest) == 4 * len(lines)
    for line, (weights, old, inputs, activity) in zip(
        lines, zip(*(rest[part::4] for part in range(4)), strict=True), strict=True
    ):
        assert re.fullmatch(r"\d+(,\d+){7}", line)
        row = tuple(map(int, line.split(",")))
        height, width, cin, kh, kw, cout, pool, stride = row
        assert pool in (0, 1) and min(height, width, cin, kh, kw, cout, stride) >= 1
        matrices = [read_weights(folder / name) for name in (weights, old)]
        assert all(matrix.shape == (cin * kh * kw, cout) and np.abs(matrix).max() <= 1 for matrix in matrices)
        digits = lines_of(folder / inputs)
        assert all(re.fullmatch(r"[01](,[01])*", line) for line in digits)
        places = np.array([line.split(",") for line in digits], dtype=np.int64)
        assert places.shape[0] == cin * kh * kw and places.shape[1] % int(bits) == 0
        codes = places.reshape(len(places), -1, int(bits)) @ (1 << np.arange(int(bits))[::-1])
        assert float(activity) == pytest.approx(places.mean(), abs=1e-6)
        found.append(Connection(row, *matrices, codes, float(activity)))
        assert found[-1].windows == codes.shape[1]
    return found


def read_weights(path: Path) -> np.ndarray:
    """A weight file, each of whose numbers has ten places and five decimals."""
    lines = lines_of(path)
    assert all(re.fullmatch(r" *-?\d+\.\d{5}(, *-?\d+\.\d{5})*", line) for line in lines)
    assert all(len(cell) >= 10 for line in lines for cell in line.split(","))
    return np.array([[float(cell) for cell in line.split(",")] for line in lines])


def solve_netlist(path: Path) -> dict[str, float]:
    """Currents into every voltage source of a netlist of resistors and sources from ground, by nodal analysis."""
    resistors, sources = [], {}
    title, *lines = lines_of(path)
    assert title.startswith("* ") and lines[-2:] == [".op", ".end"]
    for line in lines[:-2]:
        if line.startswith("*"):
            continue
        name, first, second, *value = line.split()
        if name.startswith("R"):
            resistors.append((first, second, 1 / float(value[0])))
            assert len(value) == 1 and float(value[0]) > 0
        else:
            assert name.startswith("V") and second == "0" and value[0] == "DC" and first not in sources
            sources[first] = (name, float(value[1]))
    free = {node: place for place, node in enumerate({end for one in resistors for end in one[:2]} - sources.keys())}
    known = np.zeros(len(free))
    entries = []
    for first, second, siemens in resistors:
        for here, there in ((first, second), (second, first)):
            if here in free:
                entries.append((free[here], free[here], siemens))
                if there in free:
                    entries.append((free[here], free[there], -siemens))
                else:
                    known[free[here]] += siemens * sources[there][1]
    row, column, value = zip(*entries, strict=True) if entries else ((), (), ())
    matrix = scipy.sparse.csc_matrix((value, (row, column)), shape=(len(free), len(free)))
    solved = scipy.sparse.linalg.spsolve(matrix, known) if free else known
    volts = {node: solved[place] for node, place in free.items()} | {node: volt for node, (_, volt) in sources.items()}
    currents = dict.fromkeys((name for name, _ in sources.values()), 0.0)
    for first, second, siemens in resistors:
        for here, there in ((first, second), (second, first)):
            if here in sources:
                currents[sources[here][0]] += siemens * (volts[there] - volts[here])
    return currents


def check_ends(src: int, dst: int, nodes: int) -> None:
    assert 0 <= src < nodes and 0 <= dst < nodes and src != dst
