"""Exports hold every message of the mean sample, in the formats that other simulators read."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import libsonata
import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from chips import GEOMETRIES, READOUT, random_counts
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from new_run import new_run
from paths import DOCS
from synthetic_run import MODEL, synthetic_run
from tiny_run import tiny_run
from trace_parsers import (
    SANA_FE,
    Packet,
    read_booksim,
    read_messages_csv,
    read_neurosim,
    read_noxim,
    read_sonata,
)

from neurosim_ep.cli import main
from neurosim_ep.diagnosis.samples import choose_samples
from neurosim_ep.errors import UsageError
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.hardware.bill.latency import latencies_s
from neurosim_ep.hardware.chip.counts import READ_PHASES
from neurosim_ep.hardware.chip.messages import message_table
from neurosim_ep.hardware.chip.projections import Projection
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.file import read_model
from neurosim_ep.record.export.common import largest_remainder, mean_sample, recording_of, spread
from neurosim_ep.record.export.neurosim import bit_columns
from neurosim_ep.record.rundir import RunDirectory
from neurosim_ep.record.traffic import TrafficWriter
from neurosim_ep.record.whole_folder import new_folder
from neurosim_ep.registry import EXPORTERS, ClassRegistry
from neurosim_ep.scheduler.presentation import free_phase
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.tiles.mapping import ArrayGeometry, plan_tiles

PAGE = DOCS / "traffic-format.md"
SIGNALS = (Projection(1, 80, 80, direct=True, off_chip_bits=1283),)


def small_run(path: Path, model: str = MODEL.to_toml(), samples: int = 4) -> Path:
    """A run of three connections on tiles of 32 x 48 cells, with stored targets longer than a flit."""
    plan = plan_tiles(GEOMETRIES, ArrayGeometry(32, 48, 2))
    run = new_run(path, "small")
    (path / "hardware.toml").write_text(model)
    writer = TrafficWriter(
        path / "traffic.h5", plan, scenario_name="small", seed=0, event_threshold=0, signals=SIGNALS, readout=READOUT
    )
    writer.append(1, [(0, random_counts(plan, samples, seed=1)), (9, random_counts(plan, samples, seed=2))], {})
    run.update_run_json(status="done")
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("runs") / "small")


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_run(tmp_path_factory.mktemp("runs") / "vgg", epochs=1).path


def export(run_dir: Path, form: str, out: Path) -> dict[str, Any]:
    assert main(["export", str(run_dir), "--format", form, "--out", str(out)]) == 0
    document: dict[str, Any] = json.loads((out / "export.json").read_text())
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == {
        "export.json",
        *document["files"],
    }
    return document


def phase_of(document: dict[str, Any], place: float, unit: str = "cycles") -> str:
    """The phase in which a cycle or a tick lies."""
    for phase in document["phases"]:
        if place < phase[unit]:
            return str(phase["name"])
        place -= phase[unit]
    raise AssertionError(f"{place} after the last phase")


def exported(document: dict[str, Any]) -> dict[str, int]:
    return {phase["name"]: phase["messages"]["exported"] for phase in document["phases"]}


def test_the_command_knows_every_format() -> None:
    assert EXPORTERS.names() == ["booksim", "messages-csv", "noxim", "sonata", "neurosim"]


def test_classes_are_found_in_the_source_of_their_homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever way the two texts are given; modules without them are left alone, and none is run before it is asked."""
    (tmp_path / "shelf").mkdir()
    for module, source in {
        "__init__": "",
        "two": 'class A:\n    name: str = "a"\n    sentence = ("one "\n        "line")\n'
        'class B:\n    name, sentence = "b", "other"\nraise RuntimeError("run")\n',
        "base": "class Base:\n    name: str\n    sentence: str\nclass Half(Base):\n    name = 'half'\n",
    }.items():
        (tmp_path / "shelf" / f"{module}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    registry: ClassRegistry[Any] = ClassRegistry("thing", "no.such.group", "shelf")
    assert registry.sentences() == {"a": "one line", "b": "other"} and "half" not in registry
    with pytest.raises(RuntimeError, match="run"):
        _ = registry["a"]


@pytest.mark.parametrize("name", ["small", "vgg"])
def test_nothing_is_lost(name: str, request: pytest.FixtureRequest) -> None:
    recording = recording_of(RunDirectory.open(request.getfixturevalue(name)))
    sample, samples = mean_sample(recording), recording.counts.samples
    table = message_table(recording)
    place = sample.placement
    router = {tile: int(y * place.width + x) for tile, (x, y) in enumerate(zip(place.x, place.y, strict=True))}
    table["src"], table["dst"] = (table[end].map(router | {-1: 0}) for end in ("src", "dst"))
    flows = len(sample.flows)
    for phase in sample.phases:
        mine = table[table.phase == phase.name]
        assert phase.packets + phase.local == round(mine.messages.sum() / samples)
        stays = mine.loc[mine.src == mine.dst, "messages"].sum() / samples
        assert phase.local == pytest.approx(stays, abs=len(mine))
        away = mine[mine.src != mine.dst].groupby(["src", "dst"]).messages.sum() / samples
        pairs = sample.between(phase.messages.sum(1))
        found = {tuple(pair): count for pair, count in zip(sample.ends[0].tolist(), pairs, strict=True)}
        assert sum(found.values()) == pytest.approx(away.sum(), rel=0.01)
        for pair, count in away.items():
            assert found[pair] == pytest.approx(count, abs=flows / len(found) * (1 + phase.ticks))
        assert phase.ticks == len(recording.counts.sends[phase.name])
        assert (phase.tick_cycles > 0).all()
        sent = np.zeros((place.width * place.height, phase.ticks), np.int64)
        np.add.at(sent, sample.flows["src"], phase.messages)
        assert (sent.max(0) <= phase.tick_cycles).all()
    assert [phase.name for phase in sample.phases] == list(READ_PHASES)


@given(arrays.arrays(np.int64, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 50)),
       st.integers(1, 9))  # fmt: skip
def test_the_largest_remainder_keeps_the_sum(totals: np.ndarray, samples: int) -> None:
    whole = largest_remainder(totals, samples)
    assert whole.sum() == round(totals.sum() / samples)
    assert (np.abs(whole - totals / samples) < 1).all()
    up, down = (totals % samples)[whole > totals // samples], (totals % samples)[whole == totals // samples]
    assert up.min(initial=samples) >= down.max(initial=0) or not len(up)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=8), st.lists(st.integers(0, 64), min_size=1, max_size=9))
def test_spreading_keeps_sums_and_pace(amounts: list[int], present: list[int]) -> None:
    weights = np.array([1, *present])
    found = spread(np.array(amounts), weights)
    assert found.sum(1).tolist() == amounts
    assert (np.abs(found - np.outer(amounts, weights / weights.sum())) <= 1).all()


def test_booksim_traces_conserve_packets(small: Path, tmp_path: Path) -> None:
    document = export(small, "booksim", tmp_path / "out")
    config, layers = read_booksim(tmp_path / "out")
    packets = [packet for layer in layers.values() for packet in layer]
    assert set(layers) == {0, 1, 2}
    assert Counter(phase_of(document, packet.time) for packet in packets) == exported(document)
    assert max(Counter((packet.src, packet.time) for packet in packets).values()) == 1  # one per source and cycle
    width = document["mesh"]["width"]
    assert int(config["k"]) == document["side"] == width
    assert all(max(src, dst) < width * document["mesh"]["height"] for src, dst, _ in packets)
    assert document["packets_by_flits"].keys() > {"1"}  # targets are longer than a flit
    assert int(config["packet_size"]) == 1
    assert sum(document["packets_by_flits"].values()) == len(packets)
    # the layers are those that pay: partial sums and states of a layer's own tiles
    sample = mean_sample(recording_of(RunDirectory.open(small)))
    messages = sum(phase.messages.sum(1) for phase in sample.phases)
    by_layer = pd.Series(messages).groupby(sample.flows["layer"].to_numpy()).sum()
    assert by_layer.to_dict() == {layer: len(found) for layer, found in layers.items()}


def test_a_source_mixes_its_destinations(small: Path, tmp_path: Path) -> None:
    export(small, "booksim", tmp_path / "out")
    layers = read_booksim(tmp_path / "out")[1]
    packets = sorted((packet for layer in layers.values() for packet in layer), key=lambda packet: packet.time)
    by_source: dict[int, list[Packet]] = {}
    for packet in packets:
        by_source.setdefault(packet.src, []).append(packet)
    busiest = max(by_source.values(), key=len)
    runs = sum(a.dst == b.dst for a, b in itertools.pairwise(busiest))
    assert runs < len(busiest) / 2


@pytest.mark.parametrize("name", ["small", "vgg"])
def test_noxim_tables_conserve_packets(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    document = export(request.getfixturevalue(name), "noxim", tmp_path / "out")
    rates = read_noxim(tmp_path / "out" / "noxim.txt", document["mesh"]["width"] * document["mesh"]["height"])
    assert len(rates) == document["entries"]
    for phase in document["phases"]:
        mine = [rate for rate in rates if rate.t_on == phase["first_cycle"]]
        assert {rate.t_off for rate in mine} == {phase["first_cycle"] + phase["cycles"]}
        assert sum(rate.packets for rate in mine) == pytest.approx(phase["messages"]["exported"], rel=1e-9)
    assert {rate.t_period for rate in rates} == {document["cycles"] + 1}


@pytest.mark.parametrize("name", ["small", "vgg"])
def test_sonata_files_load_with_libsonata(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    document = export(request.getfixturevalue(name), "sonata", tmp_path / "out")
    path = tmp_path / "out" / "spikes.h5"
    spikes = read_sonata(path, document["mesh"]["width"] * document["mesh"]["height"])
    per_phase: Counter[str] = Counter()
    for ms, messages in zip(spikes.ms, spikes.messages.tolist(), strict=True):
        per_phase[phase_of(document, ms, "ticks")] += messages
    assert per_phase == exported(document)
    triples = set(zip(spikes.ms.tolist(), spikes.src.tolist(), spikes.dst.tolist(), strict=True))
    assert len(triples) == len(spikes.ms) == document["entries"]
    sample = mean_sample(recording_of(RunDirectory.open(request.getfixturevalue(name))))
    bits = sum((phase.messages.sum(1) * sample.flows["bits"]).sum() for phase in sample.phases)
    assert spikes.bits.sum() == bits

    population = libsonata.SpikeReader(str(path))["tiles"]
    assert population.sorting == "by_time"
    assert population.time_units == "ms"
    read = population.get()
    assert [node for node, _ in read] == spikes.src.tolist()
    assert [time for _, time in read] == spikes.ms.tolist()
    source = int(spikes.src[0])
    assert len(population.get(libsonata.Selection([source]))) == (spikes.src == source).sum()


@pytest.mark.parametrize("name", ["small", "vgg"])
def test_messages_csv_is_that_of_sana_fe(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    document = export(request.getfixturevalue(name), "messages-csv", tmp_path / "out")
    width, height = document["mesh"]["width"], document["mesh"]["height"]
    messages = read_messages_csv(tmp_path / "out" / "messages.csv", width * height)
    per_phase: Counter[str] = Counter()
    for message in messages:
        across = abs(message.src % width - message.dst % width)
        assert message.hops == across + abs(message.src // width - message.dst // width)
        per_phase[phase_of(document, message.timestep - 1, "ticks")] += message.spikes
    assert per_phase == exported(document)
    assert len({(m.timestep, m.src, m.dst) for m in messages}) == len(messages) == document["entries"]
    assert set(document["empty_columns"]) < set(SANA_FE.split(","))
    bins = document["ticks_per_bin"]
    assert bins["free"] == (2 if name == "vgg" else 1)
    assert all((m.timestep - 1) % bins["free"] == 0 for m in messages if m.timestep <= document["phases"][0]["ticks"])


def test_a_network_without_time_has_cycles_of_packets(tmp_path: Path) -> None:
    run_dir = small_run(tmp_path / "run", read_model("ideal").to_toml())
    document = export(run_dir, "booksim", tmp_path / "out")
    assert document["cycle_s"] is None and "takes no time" in document["cycle_note"]
    packets = [packet for layer in read_booksim(tmp_path / "out")[1].values() for packet in layer]
    assert len(packets) == document["messages"]["exported"]


def test_the_placement_of_the_model_is_used(tmp_path: Path) -> None:
    text = MODEL.to_toml()
    assert 'placement = "serpentine"' in text
    annealed = small_run(tmp_path / "run", text.replace('placement = "serpentine"', 'placement = "annealed"'))
    sample = mean_sample(recording_of(RunDirectory.open(annealed)))
    plain = mean_sample(recording_of(RunDirectory.open(small_run(tmp_path / "plain"))))
    assert (sample.placement.x != plain.placement.x).any()
    lengths = [
        int((one.hops(one.ends[0]) * one.between(sum(phase.messages.sum(1) for phase in one.phases))).sum())
        for one in (sample, plain)
    ]
    assert lengths[0] < lengths[1]


def test_ticks_last_as_long_as_the_recorded_ones(vgg: Path) -> None:
    recording = recording_of(RunDirectory.open(vgg))
    lasts = latencies_s(recording, Style.EVENT)
    for phase in mean_sample(recording).phases:
        cycles = lasts[phase.name] / recording.counts.samples / recording.chip.model.noc.hop_time.value
        assert 0 <= phase.cycles - cycles < phase.ticks  # each tick is rounded up


def test_samples_at_rest_take_no_time() -> None:
    plan = plan_tiles(GEOMETRIES, ArrayGeometry(32, 48, 2))
    counts = random_counts(plan)
    counts.presentations["free"][3:] = 1  # one of four goes on
    phase = mean_sample(Recording.of(counts, plan, MODEL.model)).phases[0]
    early, late = phase.tick_cycles[1], phase.tick_cycles[-1]
    assert late == pytest.approx(early / 4, rel=0.01)


def test_what_is_refused(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(run_dir: Path, out: Path, form: str = "noxim") -> str:
        assert main(["export", str(run_dir), "--format", form, "--out", str(out)]) == 2
        return capsys.readouterr().err

    filled = tmp_path / "filled"
    filled.mkdir()
    (filled / "mine.txt").write_text("mine")
    for form in EXPORTERS.names():
        assert "filled: is not an empty folder; choose another --out" in refused(small, filled, form)
    assert "is not an empty folder" in refused(small, filled / "mine.txt")
    assert [path.name for path in tmp_path.rglob("*")] == ["filled", "mine.txt"]
    assert "cannot be written" in refused(small, filled / "mine.txt" / "out")
    assert "no such run directory" in refused(tmp_path / "gone", tmp_path / "out")
    bare = Path(shutil.copytree(small, tmp_path / "bare"))
    (bare / "hardware.toml").unlink()
    assert "has no hardware.toml" in refused(bare, tmp_path / "out")
    (bare / "traffic.h5").unlink()
    assert "no traffic was recorded there" in refused(bare, tmp_path / "out")
    assert "not one of" in refused(small, tmp_path / "out", "gem5")
    assert not (tmp_path / "out").exists()


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with pytest.raises(KeyError), new_folder(out) as folder:
        (folder / "half").write_text("")
        raise KeyError
    assert not out.exists() and not list(out.parent.iterdir())
    out.mkdir()
    with new_folder(out) as folder:
        (folder / "whole").write_text("")
        assert not list(out.iterdir())
    assert [path.name for path in out.parent.rglob("*")] == ["out", "whole"]
    with pytest.raises(UsageError), new_folder(out):
        pass


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run of the smoke scenario."""
    sizes = ("data.train_samples=60", "data.test_samples=40", "relaxation.tolerance=1e-2")
    return tiny_run(tmp_path_factory.mktemp("runs") / "run", *sizes)


def test_neurosim_reads_the_weights_and_the_states_at_rest(trained: Path, tmp_path: Path) -> None:
    document = export(trained, "neurosim", tmp_path / "out")
    bits = document["bits"]
    assert bits == read_model(str(trained / "hardware.toml")).model.digital.state_bits.value == 8
    names = [layer["name"] for layer in document["connections"]]
    assert names == ["conv1", "conv2", "fc1"]
    conv1, conv2, fc1 = read_neurosim(tmp_path / "out", names, bits)
    state = torch.load(trained / "checkpoints" / "last.pt", weights_only=True)["trainer"]["network"]
    for place, found in enumerate((conv1, conv2, fc1)):
        weight = state[f"connections.{place}.weight"]
        np.testing.assert_allclose(found.weights, weight.reshape(len(weight), -1).T, atol=5.1e-6)
    assert [layer["signed"] for layer in document["connections"]] == [True, False, False]
    assert [layer["full_scale"] for layer in document["connections"][1:]] == [1.0, 1.0]
    assert conv1.row[2:] == (3, 3, 3, 8, 1, 1) and conv2.row[2:] == (8, 3, 3, 16, 1, 1)
    flat = math.prod(side // 2 for side in conv2.row[:2]) * conv2.row[5]
    assert fc1.row == (1, 1, flat, 1, 1, 32, 0, 1)

    # the windows are those of a convolution: reading them gives what PyTorch gives
    scale = document["connections"][0]["full_scale"] / 127
    signed = np.where(conv1.codes >= 128, conv1.codes - 256, conv1.codes) * scale
    height, width = conv1.row[:2]
    image = signed.reshape(3, 3, 3, height, width)[:, 1, 1]  # the middle of every window
    weight = torch.from_numpy(conv1.weights.T.reshape(8, 3, 3, 3))
    expected = F.conv2d(torch.from_numpy(image[None]), weight, padding=1)
    np.testing.assert_allclose((conv1.weights.T @ signed).reshape(8, height, width), expected[0], atol=1e-9)

    # what the upper connections read are the states at rest
    opened = Experiment.open(trained, device="cpu")
    image, relaxation = choose_samples(opened, 1), opened.scenario.relaxation
    schedule = Schedule.of(opened.scenario.scheduler, relaxation)
    free = free_phase(opened.model.network, image.x, relaxation.free_steps, image.start, schedule=schedule)
    assert document["image"] == {"test_image": int(image.places[0]), "label": int(image.labels[0])}
    middle = conv2.codes.reshape(8, 3, 3, *conv2.row[:2])[:, 1, 1]
    for codes, state in ((middle, free.states[0][0]), (fc1.codes, free.states[1][0])):
        np.testing.assert_allclose(codes.ravel() / 255, state.flatten(), atol=0.5001 / 255)
        assert codes.max() > 0
    rest = document["free_phase"]
    assert (rest["ticks"], rest["residual"]) == (int(free.ticks[0]), float(free.residual[0]))
    assert rest["at_rest"] is (rest["residual"] <= rest["tolerance"])


def test_neurosim_needs_the_checkpoint(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = Path(shutil.copytree(trained, tmp_path / "run"))
    (broken / "checkpoints" / "last.pt").unlink()
    assert main(["export", str(broken), "--format", "neurosim", "--out", str(tmp_path / "out")]) == 2
    assert "checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_trained_run_exports_its_traffic(trained: Path, tmp_path: Path) -> None:
    document = export(trained, "noxim", tmp_path / "out")
    rates = read_noxim(tmp_path / "out" / "noxim.txt", document["mesh"]["width"] * document["mesh"]["height"])
    assert sum(rate.packets for rate in rates) == pytest.approx(document["messages"]["exported"], rel=1e-9)
    assert document["messages"]["total"] == document["messages"]["exported"] + document["messages"]["local"] > 0


def test_bits_are_twos_complement_most_significant_first() -> None:
    values = np.array([[0.0, 1.0, -1.0, 0.5]])
    assert bit_columns(values[:, :2], 4, 1.0, signed=False).tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]
    assert bit_columns(values[:, 1:3], 4, 1.0, signed=True).tolist() == [[0, 1, 1, 1, 1, 0, 0, 1]]
    assert bit_columns(values[:, 3:], 8, 1.0, signed=False).tolist() == [[1, 0, 0, 0, 0, 0, 0, 0]]


def test_the_page_reads_a_traffic_file(vgg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "RUN_DIR").symlink_to(vgg)
    recording: Recording = recording_of(RunDirectory.open(vgg))
    plain: dict[str, Any] = {}
    exec(blocks[0], plain)
    assert len(blocks[0].strip().splitlines()) <= 10
    assert plain["events"].tolist() == recording.counts.events["free"].sum(0).tolist()
    assert plain["reads"].sum() == recording.counts.of("free", "event", "forward", "reads").sum()
    frames: dict[str, Any] = {}
    exec(blocks[1], frames)
    pd.testing.assert_frame_equal(
        frames["noc"], message_table(recording), check_dtype=False, check_column_type=False, check_like=True
    )
    cost = pd.read_csv(vgg / "cost.csv")
    assert frames["cost"]["energy_J"].sum() == pytest.approx(cost["energy_J"].sum(), rel=1e-12)


def test_the_page_names_every_dataset_and_format(vgg: Path) -> None:
    text = PAGE.read_text("utf-8")
    names: set[str] = set()
    with h5py.File(vgg / "traffic.h5") as file:
        file.visititems(lambda name, node: names.add(name) if isinstance(node, h5py.Dataset) else None)
        names |= set(file["meta"].attrs)
    assert [name for name in names if f"`{name.split('/')[-1]}`" not in text] == []
    for form in EXPORTERS.names():
        assert f"--format {form} " in text
