"""Strict readers of the exported formats, written from what the formats say and not from what writes them."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

SANA_FE = (
    "timestep,mid,src_neuron,src_hw,dest_hw,hops,spikes,send_timestamp,received_timestamp,processed_timestamp,"
    "generation_delay,processing_delay,network_delay,blocking_delay,min_hop_delay,messages_along_route,subnet"
)
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
        return self.pir * (self.t_off - self.t_on)


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
    codes: np.ndarray


def lines_of(path: Path) -> list[str]:
    """Lines of a text file, each of which ends."""
    text = path.read_text("ascii")
    assert text.endswith("\n") and "\r" not in text
    return text.split("\n")[:-1]


def read_booksim(folder: Path) -> tuple[dict[str, str], dict[int, list[Packet]]]:
    """Configuration, and the packets of every layer."""
    config = {}
    for line in lines_of(folder / "mesh_config"):
        if not line.startswith("//"):
            match = re.fullmatch(r"(\w+) ?= ?(\w+);", line)
            assert match, line
            assert match[1] not in config
            config[match[1]] = match[2]
    assert (config["topology"], config["n"], config["routing_function"]) == ("mesh", "2", "dim_order")
    assert config["traffic"] == config["injection_process"] == "trace_based"
    (side,) = lines_of(folder / "mesh_size.csv")
    assert side == config["k"]
    layers = {}
    for path in (folder / "Chiplet_0").iterdir():
        match = re.fullmatch(r"trace_file_layer_(\d+)\.txt", path.name)
        assert match, path
        lines = lines_of(path)
        assert lines and all(re.fullmatch(r"\d+ \d+ \d+", line) for line in lines)
        packets = [Packet(*map(int, line.split(" "))) for line in lines]
        times = [packet.time for packet in packets]
        assert times == sorted(times) and times[-1] < int(config["sample_period"])
        for packet in packets:
            check_ends(packet.src, packet.dst, int(side) ** 2)
        layers[int(match[1])] = packets
    return config, layers


def read_noxim(path: Path, nodes: int) -> list[Rate]:
    """All lines of a traffic table."""
    rates = []
    for line in lines_of(path):
        assert len(line) < 511  # Noxim's buffer
        if line.startswith("%"):
            continue
        assert re.fullmatch(rf"\d+ \d+ {NUMBER} {NUMBER} \d+ \d+ \d+", line), line
        src, dst, pir, por, *times = line.split(" ")
        rate = Rate(int(src), int(dst), float(pir), float(por), *map(int, times))
        check_ends(rate.src, rate.dst, nodes)
        assert 0 <= rate.pir <= 1 and 0 <= rate.por <= 1
        assert 0 <= rate.t_on < rate.t_off < rate.t_period
        rates.append(rate)
    assert len({(rate.src, rate.dst, rate.t_on) for rate in rates}) == len(rates)
    for t_on in {rate.t_on for rate in rates}:  # Noxim draws one packet of a source per cycle at most
        together: dict[int, float] = {}
        for rate in rates:
            if rate.t_on == t_on:
                together[rate.src] = together.get(rate.src, 0) + rate.pir
        assert max(together.values()) <= 1 + 1e-12
    return rates


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


def read_neurosim(folder: Path, names: list[str], bits: int) -> list[Connection]:
    """Rows of NetWork.csv with weights, and inputs as unsigned integers [rows, windows]."""
    found = []
    for line, name in zip(lines_of(folder / "NetWork.csv"), names, strict=True):
        assert re.fullmatch(r"\d+(,\d+){7}", line)
        row = tuple(map(int, line.split(",")))
        height, width, cin, kh, kw, cout, pool, stride = row
        assert pool in (0, 1) and stride == 1 and min(height, width, cin, kh, kw, cout) >= 1
        weights = lines_of(folder / f"weight_{name}.csv")
        assert all(re.fullmatch(r" *-?\d+\.\d{5}(, *-?\d+\.\d{5})*", line) for line in weights)
        assert all(len(cell) >= 10 for line in weights for cell in line.split(","))
        matrix = np.array([[float(cell) for cell in line.split(",")] for line in weights])
        assert matrix.shape == (cin * kh * kw, cout)
        inputs = lines_of(folder / f"input_{name}.csv")
        assert all(re.fullmatch(r"[01](,[01])*", line) for line in inputs)
        digits = np.array([[int(cell) for cell in line.split(",")] for line in inputs])
        assert digits.shape[0] == cin * kh * kw and digits.shape[1] % bits == 0
        codes = digits.reshape(len(digits), -1, bits) @ (1 << np.arange(bits)[::-1])
        found.append(Connection(row, matrix, codes))
    return found


def check_ends(src: int, dst: int, nodes: int) -> None:
    assert 0 <= src < nodes and 0 <= dst < nodes and src != dst
