"""Exports hold every message of the mean sample, in the formats that other simulators read."""

from __future__ import annotations

import itertools
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
from chips import GEOMETRIES, READOUT, random_counts
from exporting import export
from hardware_example import FLAT
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from leveled import number
from new_run import new_run
from paths import DOCS
from synthetic_run import MODEL, synthetic_run
from trace_parsers import (
    SANA_FE,
    Packet,
    read_booksim,
    read_messages_csv,
    read_noxim,
    read_sonata,
)

from neurosim_ep.cli import main
from neurosim_ep.errors import UsageError
from neurosim_ep.hardware.bill.latency import latencies_s
from neurosim_ep.hardware.chip.messages import message_table
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.hardware.chip.projections import Projection
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.file import parse_hardware_model, read_model
from neurosim_ep.record.export.noxim import clock
from neurosim_ep.record.export.packets import Course, Unit, mean_sample, whole_numbers
from neurosim_ep.record.export.traffic import recording_of
from neurosim_ep.record.rundir import RunDirectory
from neurosim_ep.record.traffic import TrafficWriter
from neurosim_ep.record.whole_folder import new_folder
from neurosim_ep.registry import EXPORTERS, ClassRegistry
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


def phase_of(document: dict[str, Any], place: float, unit: str = "cycles") -> str:
    """The phase in which a cycle or a tick lies."""
    for phase in document["phases"]:
        if place < phase[unit]:
            return str(phase["name"])
        place -= phase[unit]
    raise AssertionError(f"{place} after the last phase")


def exported(document: dict[str, Any]) -> dict[str, int]:
    return {phase["name"]: phase[unit_of(document)]["exported"] for phase in document["phases"]}


def unit_of(document: dict[str, Any]) -> Unit:
    return Unit.PACKETS if document["format"] in ("booksim", "noxim") else Unit.MESSAGES


def test_the_command_knows_every_format() -> None:
    assert EXPORTERS.names() == ["booksim", "messages-csv", "noxim", "parquet", "sonata", "neurosim", "spice"]


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
        assert phase.exported + phase.local == round(mine.messages.sum() / samples)
        stays = mine.loc[mine.src == mine.dst, "messages"].sum() / samples
        assert phase.local == pytest.approx(stays, abs=len(mine))
        away = mine[mine.src != mine.dst].groupby(["src", "dst"]).messages.sum() / samples
        pairs = sample.between(phase.messages)
        found = {tuple(pair): count for pair, count in zip(sample.ends[0].tolist(), pairs, strict=True)}
        assert sum(found.values()) == pytest.approx(away.sum(), rel=0.01)
        for pair, count in away.items():
            assert found[pair] == pytest.approx(count, abs=flows / len(found) * (1 + phase.ticks))
        assert phase.ticks == len(recording.counts.sends[phase.name])
        assert (phase.tick_cycles > 0).all()
        sent = np.zeros((place.width * place.height, phase.ticks), np.int64)
        for tick, messages in enumerate(phase.sent()):
            assert (messages >= 0).all()
            np.add.at(sent[:, tick], sample.flows["src"], messages * sample.flits)
        assert (sent.max(0) <= phase.tick_cycles).all()
        assert sum(phase.sent(7)).tolist() == phase.messages.tolist()
    assert [phase.name for phase in sample.phases] == list(READ_PHASES)


@given(arrays.arrays(np.int64, st.integers(1, 12), elements=st.integers(0, 50)), st.integers(1, 9))
def test_whole_numbers_keep_the_sum(totals: np.ndarray, samples: int) -> None:
    whole = whole_numbers(totals, samples)
    assert whole.sum() == (totals.sum() + samples // 2) // samples
    assert (np.abs(whole - totals / samples) < 1).all()


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=8), st.lists(st.integers(0, 64), min_size=1, max_size=9))
def test_messages_follow_the_samples_that_move_or_the_events(amounts: list[int], present: list[int]) -> None:
    weights, none = np.array([1, *present]), np.zeros(len(amounts), bool)
    for sends, sender in ((weights[:, None], 0), (np.zeros((len(weights), 0), np.int64), -1)):
        course = Course(sends, np.full(len(amounts), sender), np.cumsum(weights), none, np.array(amounts))
        found = np.diff([course.by(tick) for tick in range(len(weights))], axis=0, prepend=0)
        assert found.sum(0).tolist() == amounts
        assert (np.abs(found - np.outer(weights / weights.sum(), amounts)) < 1 + 1e-6).all()
    assert (
        Course(sends, np.full(len(amounts), -1), np.cumsum(weights), ~none, np.array(amounts)).by(0) == amounts
    ).all()


@pytest.mark.parametrize("style", list(Style))
def test_booksim_traces_conserve_packets(style: Style, small: Path, tmp_path: Path) -> None:
    document = export(small, "booksim", tmp_path / "out", style)
    assert document["style"] == style
    config, sizes = read_booksim(tmp_path / "out")
    packets = [packet for found in sizes.values() for packet in found]
    assert Counter(phase_of(document, packet.time) for packet in packets) == Counter(exported(document))
    assert max(Counter((packet.src, packet.time) for packet in packets).values()) == 1  # one per source and cycle
    width = document["mesh"]["width"]
    assert int(config["k"]) == document["side"] == width
    assert all(max(src, dst) < width * document["mesh"]["height"] for src, dst, _ in packets)
    assert len(sizes) > 1  # targets are longer than a flit
    assert document["packets_by_flits"] == {str(flits): len(found) for flits, found in sizes.items()}
    sample = mean_sample(recording_of(RunDirectory.open(small)), style, Unit.PACKETS)
    period, busiest = (
        document["sample_period"],
        [sample.busiest(sample.between(p.messages * sample.flits)) for p in sample.phases],
    )
    assert period == int(config["sample_period"]) >= max(sample.cycles, sum(busiest)) + 1000, (
        "in which all of it arrives"
    )
    rates = {
        flits: rate * period * int(config["k"]) ** 2
        for flits, rate in document["accepted_packet_rate_by_flits"].items()
    }
    assert rates == pytest.approx(document["packets_by_flits"])
    by_size = pd.Series(sum(phase.messages for phase in sample.phases)).groupby(sample.flits).sum()
    assert by_size[by_size > 0].to_dict() == {flits: len(found) for flits, found in sizes.items()}


@pytest.mark.parametrize("tiles", [1, 3], ids=["router per tile", "router per core"])
@pytest.mark.parametrize("style", list(Style))
def test_traces_have_the_flits_of_the_bill(style: Style, tiles: int) -> None:
    """Of one sample, packet by packet: every route as often as the bill packs it, once to every router it leads to."""
    plan, sent = plan_tiles(GEOMETRIES, ArrayGeometry(32, 48, 2)), 0
    core = {**read_model("rram_32nm").document["core"], "tiles": number(tiles)}
    model = parse_hardware_model({**MODEL.document, "core": core}, "cores")
    recording = Recording.of(random_counts(plan, samples=1), plan, model, SIGNALS, READOUT)
    sample, node = mean_sample(recording, style, Unit.PACKETS), recording.chip.levels.node_of
    flows = sample.flows.assign(sent=sum(phase.messages for phase in sample.phases))
    for phase in READ_PHASES:
        for route, flits in zip(recording.routes.all, recording.sent(phase, style).flits.tolist(), strict=True):
            home = 0 if route.source == -1 else node[route.source]
            sent += flits * len({int(node[tile]) for tile in route.destinations} - {int(home)})
    assert (flows.sent * flows.flits).sum() == sent > 0
    noc = model.noc
    assert (flows.flits == -(-flows.bits // noc.flit_bits.value)).all() and flows.flits.max() <= noc.packet_flits.value


def test_a_trace_by_hand() -> None:
    """docs/hardware.md: 40 states of 8 bits go in packets of eight and of three flits, in each of three ticks."""
    sample = mean_sample(FLAT, Style.CLOCKED, Unit.PACKETS)
    states = sample.flows[sample.flows.component == "message"]
    (free,) = sample.phases
    for sent in free.sent():
        assert sorted((sent[place], states.flits[place]) for place in states.index if sent[place]) == [(1, 3), (1, 8)]
    assert (states.bits.sum(), len(states)) == (320 + 2 * 16, 2)
    single = mean_sample(FLAT, Style.CLOCKED)
    assert single.phases[0].messages[single.flows.component == "message"].tolist() == [3 * 40]


def test_a_source_mixes_its_destinations(small: Path, tmp_path: Path) -> None:
    export(small, "booksim", tmp_path / "out")
    sizes = read_booksim(tmp_path / "out")[1]
    packets = sorted((packet for found in sizes.values() for packet in found), key=lambda packet: packet.time)
    by_source: dict[int, list[Packet]] = {}
    for packet in packets:
        by_source.setdefault(packet.src, []).append(packet)
    busiest = max(by_source.values(), key=len)
    runs = sum(a.dst == b.dst for a, b in itertools.pairwise(busiest))
    assert runs < len(busiest) / 2


@pytest.mark.parametrize("style", list(Style))
@pytest.mark.parametrize("name", ["small", "vgg"])
def test_noxim_tables_conserve_packets(name: str, style: Style, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    document = export(request.getfixturevalue(name), "noxim", tmp_path / "out", style)
    config, rates = read_noxim(tmp_path / "out")
    assert len(rates) == document["entries"]
    assert (config["mesh_dim_x"], config["mesh_dim_y"]) == (document["mesh"]["width"], document["mesh"]["height"])
    stretch, reset = document["cycles_per_cycle"], config["reset_time"]
    for phase in document["phases"]:
        start = reset + stretch * phase["first_cycle"]
        mine = [rate for rate in rates if rate.t_on == start - 1]  # it draws none in t_on itself
        assert {rate.t_off for rate in mine} <= {start + stretch * phase["cycles"]}
        flits = document["flits"][phase["name"]]
        assert sum(rate.packets for rate in mine) * config["max_packet_size"] == pytest.approx(flits, rel=1e-9)
        assert flits >= phase["packets"]["exported"]
    assert document["packet_flits"] == config["max_packet_size"]
    command = document["command"].split()
    assert command == ["noxim", "-config", "config.yaml", "-power", "power.yaml", "-seed", "1"]


def test_noxims_clock_does_not_overflow() -> None:
    assert clock(2e-9, 10_000) == 2000
    assert clock(0.0, 10_000) == 1000  # a network that takes no time
    assert clock(2e-9, 10**7) * 10**7 < 2**31


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
    bits = sum((phase.messages * sample.flows["bits"]).sum() for phase in sample.phases)
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
    packets = [packet for found in read_booksim(tmp_path / "out")[1].values() for packet in found]
    assert len(packets) == document["packets"]["exported"]


def test_the_placement_of_the_model_is_used(tmp_path: Path) -> None:
    text = MODEL.to_toml()
    assert 'placement = "serpentine"' in text
    annealed = small_run(tmp_path / "run", text.replace('placement = "serpentine"', 'placement = "annealed"'))
    sample = mean_sample(recording_of(RunDirectory.open(annealed)))
    plain = mean_sample(recording_of(RunDirectory.open(small_run(tmp_path / "plain"))))
    assert (sample.placement.x != plain.placement.x).any()
    lengths = [
        int((one.hops(one.ends[0]) * one.between(sum(phase.messages for phase in one.phases))).sum())
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
    command = ["export", str(small), "--out", str(tmp_path / "out"), "--format"]
    assert main([*command, "noxim", "--tile", "1"]) == 2
    assert "--tile: the format noxim has no such choice (--style)" in capsys.readouterr().err
    assert main([*command, "spice", "--style", "clocked"]) == 2
    assert "--style: the format spice has no such choice (--tile, --set)" in capsys.readouterr().err
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
