"""Whole runs: what they leave, that they repeat, and that an interrupted one goes on bit for bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
import pytest
import torch
from tiny_run import InterruptingReporter, outcome

import neurosim_ep
from neurosim_ep.cli import main
from neurosim_ep.data import feed
from neurosim_ep.errors import CheckpointError, DivergenceError, RunInterrupted
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.resources import shipped_files
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.telemetry.counters import TileCounter
from neurosim_ep.train import trainer, within
from neurosim_ep.train.resume import resume
from neurosim_ep.train.run import run
from neurosim_ep.train.trainer import Trainer

FILES = (
    "scenario.toml", "source.toml", "hardware.toml", "run.json", "run.log", "epochs.csv", "layers.csv", "residual.csv",
    "tiles.csv", "pulses.csv", "cost.csv", "comparison.csv", "sensitivity.csv", "memory.csv", "area.csv", "traffic.h5",
    "checkpoints/last.pt",
)  # fmt: skip
PLOTS = (
    "learning", "states", "gradients", "residual", "events", "energy", "memory", "breakeven", "tornado", "mesh",
    "utilisation",
)  # fmt: skip
TINY = (
    "data.train_samples=60", "data.test_samples=40", "training.epochs=3", "relaxation.free_steps=4",
    "relaxation.nudge_steps=3", "telemetry.stats_every=2", "telemetry.traffic_every=2",
    "telemetry.plots=false", "telemetry.report=false",
)  # fmt: skip


def tiny(*overrides: str) -> Scenario:
    return load_scenario("smoke", [*TINY, *overrides])


def test_a_run_leaves_everything(tmp_path: Path) -> None:
    result = neurosim_ep.run(tiny("telemetry.plots=true"), tmp_path / "out")
    for name in FILES + tuple(f"plots/{plot}.{kind}" for plot in PLOTS for kind in ("svg", "png")):
        assert (result.out / name).stat().st_size > 0, name
    info = json.loads((result.out / "run.json").read_text())
    assert info["status"] == "done"
    assert info["metrics"] == result.metrics
    assert info["seed"] == 0
    assert info["data"]["classes"] == 10
    assert info["peak_memory"]["bytes"] > 50e6 and info["peak_memory"]["where"] == "process"
    epochs = pd.read_csv(result.out / "epochs.csv")
    assert epochs["epoch"].tolist() == [1, 2, 3]
    assert epochs["test_accuracy"].between(0, 1).all()
    layers = pd.read_csv(result.out / "layers.csv")
    assert layers.groupby("epoch").size().tolist() == [4, 4, 4]
    assert layers["readout_accuracy"].notna().sum() == 2 * 3  # two signal layers
    assert (layers["energy_J"] > 0).all()
    costs = pd.read_csv(result.out / "cost.csv")
    clocked = costs[costs["style"] == "clocked"]
    per_sample = clocked["energy_J"].sum() / clocked["samples"].iloc[0]
    assert result.metrics["energy_clocked_J"] == pytest.approx(per_sample)
    assert sum(pd.read_csv(result.out / "tiles.csv")["reads"]) > 0
    pulses = pd.read_csv(result.out / "pulses.csv")
    with h5py.File(result.out / "traffic.h5") as file:
        for name in ("pulses_up", "pulses_down", "pulses_net"):
            assert pulses[name].tolist() == file[f"phases/update/{name}"][:].sum(0).tolist()
        assert not file["meta"].attrs["pulses_applied"]
    assert (pulses["pulses_net"] == pulses["pulses_up"] + pulses["pulses_down"]).all() and pulses["pulses_up"].sum() > 0


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("plasticity.rule=stdp", "signals.learned=true", "relaxation.state_init=uniform"),
        ("network.loss=squared_error", "relaxation.nudging=one_sided_plus", "data.augment=crop_flip"),
    ],
)
def test_the_resolved_scenario_repeats_the_run(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    first = run(tiny("training.epochs=2", *overrides), tmp_path / "first")
    second = run(load_scenario(first.out / "scenario.toml"), tmp_path / "second")
    assert outcome(first.out) == outcome(second.out)


@pytest.mark.whole
def test_pictures_can_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """By the scenario or on the command line, of `run` or `resume`; all else is the same, and `plot` draws them."""
    drawing, whole, stopped = tiny("telemetry.plots=true"), tmp_path / "whole", tmp_path / "stopped"
    with pytest.raises(RunInterrupted):
        run(drawing, stopped, reporter=InterruptingReporter())
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "neurosim_ep.analysis.plot", None)
        sets = [word for override in (*TINY, "telemetry.plots=true") for word in ("--set", override)]
        assert main(["run", "smoke", "--no-plots", *sets, "--out", str(whole)]) == 0
    script = "import sys; from neurosim_ep.cli import main; sys.exit(main(sys.argv[1:]) or 'matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", script, "resume", str(stopped), "--no-plots", "--quiet"], check=True)
    assert outcome(whole) == outcome(stopped)
    assert not any(path for out in (whole, stopped) for path in (out / "plots").iterdir())
    assert not load_scenario(whole / "scenario.toml").telemetry.plots
    assert "drawing" not in capsys.readouterr().err
    assert main(["plot", str(whole)]) == 0
    assert {path.stem for path in (whole / "plots").iterdir()} == set(PLOTS)


def copies_at_every_write(patch: pytest.MonkeyPatch, place: Path, copies: Path) -> None:
    """Keep in ``copies`` what a kill would leave of ``place`` at each moment: before a file reaches the disk or takes
    its name, and in the middle of writing one.
    """
    sizes: dict[Path, int] = {}

    def keep(cut: Path | None = None) -> None:
        copy = copies / f"{len(list(copies.iterdir())):03d}"
        shutil.copytree(place, copy)
        if cut is not None:
            os.truncate(copy / cut, (sizes.get(cut, 0) + (copy / cut).stat().st_size) // 2)

    def fsync(descriptor: int, original: Callable[[int], None] = os.fsync) -> None:
        file = Path(f"/proc/self/fd/{descriptor}").readlink()
        keep()
        if file.is_file():
            keep(cut=file.relative_to(place))
            sizes[file.relative_to(place)] = file.stat().st_size
        original(descriptor)

    def replace(source: Path, target: Path, original: Callable[[Path, Path], None] = os.replace) -> None:
        keep()
        original(source, target)
        if (name := Path(target).relative_to(place)).suffix:
            sizes[name] = (place / name).stat().st_size

    patch.setattr(os, "fsync", fsync)
    patch.setattr(os, "replace", replace)


@pytest.mark.whole
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="asks Linux which file is written")
@pytest.mark.parametrize("every_s", [300.0, 0.0])
def test_killed_at_any_write_and_resumed_equals_uninterrupted(tmp_path: Path, every_s: float) -> None:
    """Every seventh moment: an atomic write has four, so all kinds of them are met. Saved after each epoch or batch."""
    network = (
        'network.layers=[{kind = "conv", size = 4, pool = "max"}, {kind = "linear", size = 8}]',
        "signals.layers=[0]",
    )
    images = "data.train_samples=32", "data.test_samples=10", "relaxation.warm_start=hdf5"
    scenario = tiny("training.epochs=2", *network, *images)
    place, copies = tmp_path / "place", tmp_path / "copies"
    for folder in (place, copies):
        folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        copies_at_every_write(patch, place, copies)
        patch.setattr(within, "EVERY_S", every_s)
        patch.setattr(within, "PAUSE", 0)
        whole = outcome(run(scenario, place / "out").out)
    resumed = 0
    for copy in sorted(copies.iterdir())[::7]:
        if (copy / "out/run.json").exists():  # else killed before the run began: nothing is in the way of another
            assert resume(copy / "out").status == "done"
            assert outcome(copy / "out") == whole, copy.name
            resumed += 1
    assert resumed > 8


@pytest.mark.whole
def test_sigkill_and_resume_equals_uninterrupted(tmp_path: Path) -> None:
    """A real SIGKILL, the moment the first epoch is reported."""
    options = [option for override in TINY for option in ("--set", override)]
    command = [sys.executable, "-m", "neurosim_ep", "run", "smoke", "--out", str(tmp_path / "killed"), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 1/3"):
            process.send_signal(signal.SIGKILL)
            break
    process.stderr.close()
    assert process.wait() == -signal.SIGKILL
    resume(tmp_path / "killed")
    assert outcome(tmp_path / "killed") == outcome(run(tiny(), tmp_path / "whole").out)


def test_interrupt_saves_and_resume_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(RunInterrupted, match="neurosim-ep resume"):
        run(tiny(), out, reporter=InterruptingReporter())
    assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
    assert resume(out).status == "done"
    assert outcome(out) == outcome(run(tiny(), tmp_path / "whole").out)
    again = resume(out)  # complete: reports, changes nothing
    assert again.metrics == json.loads((out / "run.json").read_text())["metrics"]


def test_warm_starts_are_the_same_in_memory_in_a_file_and_after_an_interruption(tmp_path: Path) -> None:
    """Samples start where they rested in the epoch before, and therefore rest earlier."""
    slow = [f"training.{kind}learning_rate=1e-3" for kind in ("", "readout_", "projection_")]
    still = ("data.train_samples=20", "relaxation.free_steps=40", "relaxation.tolerance=1e-3", *slow)
    cold = run(tiny(*still), tmp_path / "cold")
    found = {}
    for kind in ("memory", "hdf5"):
        scenario = tiny(*still, f"relaxation.warm_start={kind}")
        whole, stopped = run(scenario, tmp_path / kind).out, tmp_path / f"{kind}_stopped"
        with pytest.raises(RunInterrupted):
            run(scenario, stopped, reporter=InterruptingReporter())
        resume(stopped)
        found[kind] = outcome(whole)
        assert outcome(stopped) == found[kind]
        assert [path.name for path in sorted((stopped / "checkpoints").iterdir())] == ["last.pt", "warm-3.h5"]
    assert found["memory"] == found["hdf5"]
    warm_ticks, cold_ticks = (
        pd.read_csv(path / "epochs.csv")["mean_ticks"] for path in (tmp_path / "memory", cold.out)
    )
    assert warm_ticks[0] == cold_ticks[0]
    assert (warm_ticks[1:] < 0.8 * cold_ticks[1:]).all()


def test_missing_warm_states_stop_a_resumed_run(tmp_path: Path) -> None:
    with pytest.raises(RunInterrupted):
        run(tiny("relaxation.warm_start=hdf5"), tmp_path / "out", reporter=InterruptingReporter())
    for path in (tmp_path / "out/checkpoints").glob("warm-*.h5"):
        path.unlink()
    with pytest.raises(CheckpointError, match=r"warm-1\.h5: .* missing"):
        resume(tmp_path / "out")


@pytest.mark.parametrize("kind", ["memory", "hdf5"])
def test_damaged_warm_states_stop_a_resumed_run(tmp_path: Path, kind: str) -> None:
    with pytest.raises(RunInterrupted):
        run(tiny(f"relaxation.warm_start={kind}"), tmp_path / "out", reporter=InterruptingReporter())
    (tmp_path / "out/checkpoints/warm-1.h5").write_bytes(b"not HDF5")
    with pytest.raises(CheckpointError, match=r"warm-1\.h5: damaged"):
        resume(tmp_path / "out")


@pytest.mark.parametrize("policy", ["synchronous", "alternating", "event"])
def test_the_work_done_and_the_samples_in_motion_are_reported(tmp_path: Path, policy: str) -> None:
    result = run(tiny(f"scheduler.policy={policy}", "relaxation.nudge_steps=4"), tmp_path / "out")
    layers, epochs = (pd.read_csv(result.out / name) for name in ("layers.csv", "epochs.csv"))
    neurons = layers[layers["name"] != "readout"]
    dense = 60 * (4 + 2 * 4)  # samples x (T + 2 K)
    assert (neurons["updates_dense"] == dense).all()
    assert (neurons["updates"] == (dense // 2 if policy == "alternating" else dense)).all()  # too few ticks to rest
    assert neurons["updates_needed"].between(0.5, 1).all()
    assert (epochs["not_converged"] > 0.9).all()
    kinds = epochs[["free_slow", "free_period_2", "free_other"]].sum(axis=1)
    assert kinds.tolist() == pytest.approx(epochs["not_converged"].tolist())
    assert (epochs["free_residual"] > 1e-4).all()
    residual = pd.read_csv(result.out / "residual.csv")
    assert (residual["active"] == 1).all()


def test_divergence_is_a_result_with_a_remedy(tmp_path: Path) -> None:
    scenario = tiny("network.activation=relu", "training.learning_rate=1e6", "training.update_limit=0")
    with pytest.raises(DivergenceError, match=r"lower training\.learning_rate"):
        run(scenario, tmp_path / "out")
    assert json.loads((tmp_path / "out/run.json").read_text())["status"] == "diverged"


def trainer_of(scenario: Scenario) -> Trainer:
    return Trainer(Experiment.open(scenario, device="cpu"))


def test_weights_that_end_infinite_are_a_divergence() -> None:
    """Even when the last update does it, after the last loss was seen."""
    trainer = trainer_of(tiny())

    def break_after_the_last(batch: int) -> None:
        if batch == trainer.batches:
            trainer.model.network.connections[1].weight[0, 0, 0, 0] = float("inf")

    with pytest.raises(DivergenceError, match="weights are not finite"):
        trainer.train_epoch(0, break_after_the_last)


def test_the_stdp_rule_is_charged_for_every_tick(tmp_path: Path) -> None:
    """It forms two outer products per nudge tick where the contrastive rule forms one per end point."""
    adds = {}
    for rule in ("contrastive", "stdp"):
        result = run(tiny("training.epochs=1", f"plasticity.rule={rule}"), tmp_path / rule)
        with h5py.File(result.out / "traffic.h5") as file:
            adds[rule] = file["phases/update/accumulate_adds"][()].sum()
    assert 1.5 < adds["stdp"] / adds["contrastive"] < 2 * 3


def test_a_run_prices_with_its_own_copy_of_the_hardware_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths are pinned, and a model edited between interruption and resume changes nothing."""
    monkeypatch.chdir(tmp_path)
    model = Path("mine.toml")
    model.write_bytes(shipped_files("hwmodels")["rram_32nm"].read_bytes())
    scenario = tiny("hardware.model=mine.toml")
    whole = outcome(run(scenario, Path("whole")).out)
    with pytest.raises(RunInterrupted):
        run(scenario, Path("stopped"), reporter=InterruptingReporter())
    model.write_bytes(shipped_files("hwmodels")["ideal"].read_bytes())
    monkeypatch.chdir(tmp_path.parent)
    assert load_scenario(tmp_path / "stopped/scenario.toml").hardware.model == str(tmp_path / "mine.toml")
    resume(tmp_path / "stopped")
    assert outcome(tmp_path / "stopped") == whole


def test_traffic_can_be_switched_off(tmp_path: Path) -> None:
    result = run(tiny("telemetry.traffic_every=0", "training.epochs=1"), tmp_path / "out")
    assert not (result.out / "traffic.h5").exists()
    tiles = pd.read_csv(result.out / "tiles.csv")  # the plan is there, nothing is counted
    assert len(tiles) > 0
    assert tiles["reads"].sum() == 0
    pulses = pd.read_csv(result.out / "pulses.csv")
    assert pulses["tile"].tolist() == tiles["tile"].unique().tolist() and pulses["pulses_up"].sum() == 0
    assert "energy_clocked_J" not in result.metrics
    assert pd.read_csv(result.out / "layers.csv")["energy_J"].isna().all()


def test_update_limit_bounds_every_update() -> None:
    """With a huge rate, no connection moves by more than the limit times its norm, momentum included."""
    trainer = trainer_of(tiny("training.learning_rate=1000.0", "training.update_limit=0.01", "training.weight_decay=0"))
    connections = trainer.model.network.connections
    before = [connection.weight.clone() for connection in connections]
    updates = []

    def compare(batch: int) -> None:
        for n, connection in enumerate(connections):
            updates.append(float((connection.weight - before[n]).norm() / before[n].norm()))
            before[n].copy_(connection.weight)

    trainer.train_epoch(0, compare)
    assert max(updates) <= 0.0101
    assert max(updates) > 0.0015  # momentum adds aligned updates up to the limit; the first is a tenth of it


def test_batches_come_from_the_device_that_keeps_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to a size; larger sets stay on the host and are copied batch by batch."""
    images, labels = torch.arange(60, dtype=torch.uint8).view(5, 3, 2, 2), torch.arange(5)
    there, chosen = torch.device("meta"), torch.tensor([3, 0])
    for kept, home in ((feed.KEPT, "meta"), (59, "cpu")):
        monkeypatch.setattr(feed, "KEPT", kept)
        fed = feed.Feed(images, labels, there)
        assert fed.images.device.type == fed.labels.device.type == home
        assert all(value.device == there for value in fed.batch(chosen))
        assert [len(part) for part, _ in fed.parts(2)] == [2, 2, 1]
        ours = feed.Feed(images, labels, torch.device("cpu"))
        shown, named = ours.batch(chosen)
        assert torch.equal(shown, images[chosen]) and named.tolist() == [3, 0]
        assert torch.equal(torch.cat([part for part, _ in ours.parts(2)]), images)


def test_recorded_batches_share_one_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is counted as by a counter of its own."""
    made: list[TileCounter] = []

    class Counted(TileCounter):
        def __init__(self, *args: Any) -> None:
            made.append(self)
            super().__init__(*args)

    monkeypatch.setattr(trainer, "TileCounter", Counted)
    chosen = load_scenario("smoke", [*TINY, "training.batch_size=20", "telemetry.traffic_every=1"])
    records = []
    for shared in (True, False):
        one = Trainer(Experiment.open(chosen, device="cpu"))
        plan = one.model.plan
        if not shared:
            monkeypatch.setattr(one, "_fresh_counter", lambda plan=plan: TileCounter(plan, "cpu"))
        records.append(one.train_epoch(0, lambda batch: None).traffic)
    assert len(made) == 1 and len(records[0]) == 3
    for (_, ours), (_, theirs) in zip(*records, strict=True):
        assert (ours.traffic == theirs.traffic).all() and (ours.update == theirs.update).all()
        assert (ours.sends["free"] == theirs.sends["free"]).all()
