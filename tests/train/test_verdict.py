"""One sentence at the end of every run: ten runs, each with what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from new_run import reseal

from neurosim_ep.errors import DivergenceError
from neurosim_ep.progress import QuietReporter
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.telemetry.alerts import Alert, Alerts
from neurosim_ep.train.run import run
from neurosim_ep.train.teach import teach
from neurosim_ep.train.trainer import Trainer

SMALL = (
    "data.train_samples=240", "data.test_samples=100", "relaxation.free_steps=6", "relaxation.nudge_steps=4",
    "telemetry.traffic_every=0", "telemetry.plots=false", "telemetry.stats_every=5", "training.epochs=2",
    'network.layers=[{kind="conv",size=4,pool="max"},{kind="linear",size=24}]', "signals.layers=[0]",
)  # fmt: skip
PLAIN = "signals.kind=none"


def learning(out: Path, *overrides: str) -> dict[str, object]:
    """What run.json says of whether a small run learned."""
    run(load_scenario("smoke", [*SMALL, *overrides]), out, device="cpu", reporter=QuietReporter())
    found: dict[str, object] = json.loads((out / "run.json").read_text())["learning"]
    return found


def deep(layers: int) -> str:
    each = ",".join(['{kind="linear",size=12}'] * layers)
    return f"network.layers=[{each}]"


CASES = {
    "healthy": (["training.epochs=3"], True, "healthy: "),
    "vanishing": (
        [PLAIN, deep(8), "relaxation.nudge_steps=10", "relaxation.free_steps=12"], False, "the gradient vanishes",
    ),
    "coarse ADC": (
        [PLAIN, "hardware.converters.dac_bits=4", "hardware.converters.adc_bits=4"], False, "the converters of 4 bits",
    ),
    "rate too high": (
        ["training.learning_rate=50", "training.readout_learning_rate=50", "training.update_limit=0"],
        False, "the learning rate is too high (layers 50, readout 50)",
    ),
    "rate too low": (
        ["training.learning_rate=1e-6", "training.readout_learning_rate=1e-6"], False, "the learning rate is too low",
    ),
    "too few ticks": ([PLAIN, deep(5), "relaxation.free_steps=2"], False, "too few ticks: the image does not reach"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_verdict_names_what_is_wrong(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    overrides, healthy, sentence = CASES[name]
    found = learning(tmp_path / "run", *overrides)
    assert found["healthy"] is healthy
    assert sentence in str(found["verdict"])
    assert not healthy or "warning" not in capsys.readouterr().err, "a run that learns alarms nobody"


def test_gradients_of_rounding_noise_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a tiny nudge is lost among the roundings of float32, whether the readout learns or not."""
    found = learning(tmp_path / "run", PLAIN, "relaxation.beta=1e-6")
    (noise,) = (one for one in found["findings"] if "rounding noise" in one)  # type: ignore[attr-defined]
    assert "less than float32 tells apart: conv1 (" in noise and "raise relaxation.beta" in noise
    assert "layer conv1 has a gradient of rounding noise" in capsys.readouterr().err


def test_each_kind_of_warning_is_shown_once_and_told_once_at_the_end() -> None:
    shown, logged = list[str](), list[str]()
    alerts = Alerts(shown.append, logged.append)
    for alerts.epoch, layer in ((1, "conv3"), (1, "conv4"), (2, "conv4"), (4, "conv3"), (4, "fc1")):
        alerts.add(Alert(f"layer {layer} is dead", "layer is dead", [layer], "do this"))
    alerts.add("the disk is full")
    assert shown == ["epoch 1: layer conv3 is dead", "epoch 4: the disk is full"]
    assert len(logged) == 6
    dead = "layer is dead (conv3, conv4, fc1), 3 of the epochs 1 to 4; do this"
    assert alerts.sentences() == [dead, "the disk is full, epoch 4"]
    resumed = Alerts(shown.append, logged.append)
    resumed.go_on_after(2, alerts.document())
    assert resumed.sentences() == ["layer is dead (conv3, conv4), epochs 1 to 2; do this"] and resumed.epoch == 3


def test_a_dead_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = Trainer._begin

    def kill(trainer: Trainer, epoch: int) -> float:
        trainer.model.network.connections[1].bias.fill_(-100.0)
        return begin(trainer, epoch)

    monkeypatch.setattr(Trainer, "_begin", kill)
    found = learning(tmp_path / "run", "training.epochs=1")
    assert str(found["verdict"]).startswith("not learning because dead layers: fc1 (100% of its neurons)")
    assert not found["healthy"]


def test_a_run_that_diverges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = Trainer._begin

    def spoil(trainer: Trainer, epoch: int) -> float:
        trainer.model.network.connections[0].weight.fill_(float("nan"))
        return begin(trainer, epoch)

    monkeypatch.setattr(Trainer, "_begin", spoil)
    with pytest.raises(DivergenceError):
        learning(tmp_path / "run")
    found = json.loads((tmp_path / "run/run.json").read_text())["learning"]
    assert found["verdict"].startswith(
        "not learning because it diverged in the first epoch: loss, states or weights are"
    )
    assert "learning rate 0.3" in found["verdict"] and not found["healthy"]


def test_images_that_are_all_alike(tmp_path: Path) -> None:
    for part, count in (("train", 240), ("t10k", 100)):
        header = b"\0\0\x08\x03" + b"".join(size.to_bytes(4, "big") for size in (count, 28, 28))
        labels = b"\0\0\x08\x01" + count.to_bytes(4, "big") + bytes(n % 10 for n in range(count))
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(header + bytes([100]) * count * 28 * 28)
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(labels)
    found = learning(tmp_path / "run", "data.kind=idx", f"data.root={tmp_path}", "training.epochs=1")
    assert "the training images are all alike: their pixels deviate by 0 of 255 grey levels" in str(found["verdict"])


def test_a_teacher_of_other_labels(tmp_path: Path) -> None:
    """Its targets are handed to the wrong images."""
    kd = (
        "signals.kind=kd", "signals.layers=[0,1]", f"signals.teacher={tmp_path / 'teacher'}", "signals.learned=false",
        "signals.alpha=50", "teacher.epochs=1",
    )  # fmt: skip
    teach(load_scenario("smoke", [*SMALL, *kd]), None, "cpu", QuietReporter())
    store = tmp_path / "teacher/targets.h5"
    with h5py.File(store, "r+") as file:
        for targets in file["targets"].values():
            targets[:] = np.random.default_rng(0).permutation(targets[:])
    reseal(store)
    found = learning(tmp_path / "run", *kd)
    assert not found["healthy"]
    assert "the teacher's targets do not go with the labels" in str(found["verdict"])
