"""Trained networks that ship: what is in their archives, and what can be done with them, with any images."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from zipfile import ZipFile

import pandas as pd
import pytest
import torch
from data_files import cifar10_python
from paths import BENCHMARKS
from tiny_run import contents, tiny_run

from neurosim_ep.cli import main
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.record import trained
from neurosim_ep.record.checkpoint import load_checkpoint
from neurosim_ep.record.recost import recost
from neurosim_ep.record.rundir import RunDirectory
from neurosim_ep.record.trained import SHIPPED, Trained, trained_files
from neurosim_ep.scenario.load import load_scenario

CPU = torch.device("cpu")
Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def no_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEUROSIM_EP_DATA", raising=False)
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("runs") / "run", "data.train_samples=40", "data.test_samples=10")


@pytest.fixture
def packed(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``run`` as the only network that ships, under the name "tiny"."""
    from pack_run import pack

    target = tmp_path / "tiny.zip"
    pack(run, "tiny", "textures", target)
    monkeypatch.setattr(trained, "trained_files", lambda: {"tiny": target})
    return target


@pytest.mark.parametrize("name", trained_files())
def test_every_network_that_ships_is_a_finished_run(name: str, tmp_path: Path) -> None:
    found = Trained.named(name)
    assert found.path.stat().st_size <= 2 * 2**20
    found.unpack(tmp_path / "run")
    run = RunDirectory.open(tmp_path / "run")
    info = run.info()
    assert info["status"] == "done" and info["metrics"]["test_accuracy"] > 0.7
    assert info["data"]["source"].startswith("CIFAR-10") and info["versions"]["torch"] and info["seconds"] > 0
    assert info["argv"][:2] == ["neurosim-ep", "run"] and SHIPPED in info
    experiment = Experiment.open(tmp_path / "run", device="cpu")
    assert (experiment.scenario.network.preset, experiment.scenario.data.kind) == ("vgg7", "cifar10")
    assert experiment.scenario.network.width == 0.25 and experiment.scenario.data.root == ""
    assert experiment.epoch == experiment.scenario.training.epochs == len(pd.read_csv(run.path / "epochs.csv"))
    assert recost(tmp_path / "run", "pcm_90nm", None)[0].recording.counts.samples > 0
    for path, content in contents(tmp_path / "run").items():
        assert not re.search(rb"/(tmp|root|home|work)\b", content or b""), path


def test_get_lists_what_ships(capsys: Output) -> None:
    assert main(["get"]) == 0
    assert re.search(r"^  vgg7 +\d\d\.\d% +VGG-7", capsys.readouterr().out, re.MULTILINE)


def test_get_makes_a_run_and_says_what_to_do_with_it(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["get", "tiny"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^images +textures$", said, re.MULTILINE) and "left out       plots, momentum\n" in said
    assert "neurosim-ep diagnose runs/tiny --set data.kind=textures\n" in said and "--set data.root=DIR" in said
    before = contents(tmp_path / "runs")
    assert main(["get", "tiny"]) == 2
    assert "runs/tiny: is not an empty folder; choose another --out" in capsys.readouterr().err
    assert contents(tmp_path / "runs") == before
    assert main(["get", "tiny", "--out", "elsewhere"]) == 0
    assert json.loads(Path("elsewhere/run.json").read_text("utf-8"))["name"] == "smoke"


def test_packing_keeps_weights_and_tables_to_the_bit(run: Path, packed: Path, tmp_path: Path) -> None:
    Trained.read(packed).unpack(tmp_path / "run")
    ours, theirs = (load_checkpoint(place / "checkpoints", CPU)["trainer"] for place in (tmp_path / "run", run))
    assert ours["network"].keys() == theirs["network"].keys()
    assert all(torch.equal(value, theirs["network"][name]) for name, value in ours["network"].items())
    assert theirs["optimiser"]["sgd"]["state"] and not ours["optimiser"]["sgd"]["state"]
    for name in ("traffic.h5", "epochs.csv", "layers.csv", "cost.csv", "hardware.toml"):
        assert (tmp_path / "run" / name).read_bytes() == (run / name).read_bytes()


def test_packing_again_gives_the_same_archive(run: Path, packed: Path, tmp_path: Path) -> None:
    from pack_run import pack

    pack(run, "tiny", "textures", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == packed.read_bytes()


def test_what_cannot_ship_is_not_packed(run: Path, tmp_path: Path) -> None:
    from pack_run import neutral_info, pack

    argv = ["neurosim-ep", "run", "smoke", "--out", "/tmp/x", "--set", "data.root=/home/me"]
    info = neutral_info({"argv": argv, "data": {"source": "folder: /home/me", "digest": "d"}}, "tiny", "of mine")
    assert info["argv"] == ["neurosim-ep", "run", "smoke", "--out", "runs/tiny", "--set", "data.root=DIR"]
    assert info["data"] == {"source": "of mine", "digest": "d"}
    shutil.copytree(run, tmp_path / "run")
    with (tmp_path / "run" / "run.log").open("a") as log:
        log.write("2026-01-01T00:00:00Z note of /home/me/images\n")
    with pytest.raises(ValueError, match=r"run\.log: names a path of this machine, /home/me/images"):
        pack(tmp_path / "run", "tiny", "textures", tmp_path / "tiny.zip")
    RunDirectory(tmp_path / "run").update_run_json(status="interrupted")
    with pytest.raises(ValueError, match="only a finished run can ship"):
        pack(tmp_path / "run", "tiny", "textures", tmp_path / "tiny.zip")
    assert not (tmp_path / "tiny.zip").exists()


def test_a_shipped_network_takes_any_images_and_says_so(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    run = tmp_path / "run"
    Trained.read(packed).unpack(run)
    ask = ["diagnose", str(run), "--samples", "2", "--device", "cpu"]
    assert main(ask) == 2
    said = capsys.readouterr().err
    assert 'data.kind = "cifar10" needs files; set one of them to the place of' in said
    assert "`neurosim-ep data cifar10 --to DIR` fetches it" in said
    assert main([*ask, "--set", f"data.root={tmp_path / 'nowhere'}"]) == 2
    assert "nowhere: no such file or directory; it must hold" in capsys.readouterr().err
    cifar10_python(tmp_path / "images")
    monkeypatch.setattr("neurosim_ep.diagnosis.report.draw_diagnosis", lambda folder, output: None)
    assert main([*ask, "--set", f"data.root={tmp_path / 'images'}"]) == 0
    assert "- other images than the run learned (textures): cifar10: " in capsys.readouterr().out
    document = json.loads((run / "diagnosis" / "diagnosis.json").read_text("utf-8"))
    assert document["samples"]["source"].startswith("cifar10: ")
    assert main([*ask, "--set", "data.kind=textures"]) == 0  # what it did learn
    assert "other images" not in capsys.readouterr().out
    monkeypatch.setenv("NEUROSIM_EP_DATA", str(tmp_path / "images"))
    assert main(["gdu", str(run), "--samples", "2", "--out", str(tmp_path / "gdu"), "--device", "cpu"]) == 0
    assert "note: other images than the run learned" in capsys.readouterr().out
    assert main(["export", str(run), "--format", "neurosim", "--out", str(tmp_path / "trace")]) == 0


def test_a_shipped_network_can_learn_on(packed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    Trained.read(packed).unpack(run)
    sets = [
        word for key in ("training.epochs=2", "data.kind=textures", "telemetry.plots=false") for word in ("--set", key)
    ]
    assert main(["resume", str(run), "--quiet", "--device", "cpu", *sets]) == 0
    assert len(pd.read_csv(run / "epochs.csv")) == 2
    assert load_scenario(run / "scenario.toml").data.kind == "textures"


def test_a_damaged_archive_is_refused(packed: Path, tmp_path: Path, capsys: Output) -> None:
    with ZipFile(packed) as archive:
        place = archive.getinfo("traffic.h5").header_offset
    content = bytearray(packed.read_bytes())
    content[place + 200] ^= 255
    packed.write_bytes(content)
    assert main(["get", "tiny", "--out", str(tmp_path / "run")]) == 2
    assert "damaged" in capsys.readouterr().err and not (tmp_path / "run").exists()
    packed.write_bytes(content[:1000])
    assert main(["get"]) == 2
    assert "install neurosim-ep again" in capsys.readouterr().err


def test_a_name_that_does_not_ship(capsys: Output) -> None:
    assert main(["get", "vgg8"]) == 2
    assert "get vgg8: no trained network of this name ships; did you mean vgg7?" in capsys.readouterr().err
