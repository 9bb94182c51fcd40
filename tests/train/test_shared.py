"""Runs that several processes share give what one process gives; what cannot be shared is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from paths import DOCS, ROOT
from shared_runs import CASES, free_port

from neurosim_ep.ranks import Place, first_host, place

EXACT = ("tiles.csv", "pulses.csv")
"""Tables of whole numbers."""
SHORT = (
    "data.train_samples=8", "data.test_samples=4", "training.epochs=1", "training.batch_size=4",
    "relaxation.free_steps=2", "relaxation.nudge_steps=1", "telemetry.plots=false",
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of every case, by 1, 2 and 3 processes."""
    folder = tmp_path_factory.mktemp("shared")
    words = [sys.executable, str(ROOT / "tests/helpers/shared_runs.py"), str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def weights(path: Path) -> dict[str, torch.Tensor]:
    """Weights, learned projections and momenta after the last epoch."""
    state = torch.load(path / "checkpoints/last.pt", weights_only=True)["trainer"]
    momenta = {
        f"momentum {number}": entry["momentum_buffer"] for number, entry in state["optimiser"]["sgd"]["state"].items()
    }
    return {**state["network"], **state["signals"], **momenta}


def numbers(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Every data set of traffic.h5 by name."""
    found: list[tuple[str, np.ndarray]] = []
    with h5py.File(path / "traffic.h5") as file:
        file.visititems(lambda name, node: found.append((name, node[()])) if isinstance(node, h5py.Dataset) else None)
    yield from found


def require_close(first: pd.DataFrame, second: pd.DataFrame) -> None:
    """Tables are the same to rounding, and converter steps, which are means over reads, where samples leave apart."""
    steps = [column for column in first if column.startswith("adc_step")]
    pd.testing.assert_frame_equal(second[steps], first[steps], rtol=0.05)
    pd.testing.assert_frame_equal(second.drop(columns=steps), first.drop(columns=steps), rtol=1e-6, atol=1e-9)


@pytest.mark.whole
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("case", CASES)
def test_processes_that_share_a_run_give_what_one_gives(runs: Path, case: str, count: int) -> None:
    one, several = runs / f"{case}-1", runs / f"{case}-{count}"
    mine, theirs = weights(one), weights(several)
    assert mine.keys() == theirs.keys()
    assert all(value.dtype == torch.float64 for name, value in mine.items() if "connections" in name)
    for name, value in mine.items():
        torch.testing.assert_close(theirs[name], value, rtol=0, atol=1e-10)
    for name in EXACT:
        assert (several / name).read_bytes() == (one / name).read_bytes(), name
    for (name, value), (_, other) in zip(numbers(one), numbers(several), strict=True):
        if value.dtype.kind in "iu":
            assert np.array_equal(value, other), name
    for name in ("epochs.csv", "layers.csv", "residual.csv", "cost.csv"):
        require_close(*(pd.read_csv(path / name).drop(columns="seconds", errors="ignore") for path in (one, several)))
    assert json.loads((several / "run.json").read_text())["processes"] == count
    assert len((several / "run.log").read_text().splitlines()) == len((one / "run.log").read_text().splitlines())


@pytest.mark.whole
@pytest.mark.parametrize("count", [2, 3])
def test_converters_of_all_processes_go_on_with_the_largest_ranges_found(runs: Path, count: int) -> None:
    """Each finds its own in the samples that it has, and reads with noise of its own: close to one process, no more."""
    one, several = (
        torch.load(runs / f"calibrated-{number}/checkpoints/last.pt", weights_only=True)["trainer"]["tiles"]["ranges"]
        for number in (1, count)
    )
    for mine, theirs in zip(one, several, strict=True):
        assert mine.keys() == theirs.keys()
        for key, ranges in mine.items():
            assert theirs[key] == pytest.approx(ranges, rel=0.3)


def test_a_place_is_what_the_launcher_says() -> None:
    torchrun = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "node1", "MASTER_PORT": "29500"}
    slurm = {
        "SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "1234567",
        "SLURM_STEP_NODELIST": "gpu[07-08,11],login1",
    }  # fmt: skip
    assert place({}) == Place(0, 1, 0)
    assert place(torchrun) == place({**torchrun, **slurm}) == Place(3, 4, 1)
    assert place(slurm) == Place(2, 4, 0, "tcp://gpu07:24567")
    assert place({**slurm, "MASTER_ADDR": "head", "MASTER_PORT": "5000"}).meeting == "tcp://head:5000"
    assert place({name: value for name, value in slurm.items() if name != "SLURM_STEP_NUM_TASKS"}) == Place()


@pytest.mark.parametrize(
    ("hosts", "first"),
    [("alone", "alone"), ("a[1-3]", "a1"), ("b-[07,09]-x,c", "b-07-x"), ("n1,n2", "n1"), ("r[1-2]n[3-4]", "r1n3")],
)
def test_the_first_host_of_a_list_of_slurm(hosts: str, first: str) -> None:
    assert first_host(hosts) == first


@pytest.mark.whole
def test_torchrun_ends_with_one_voice(tmp_path: Path) -> None:
    """The launcher itself: two processes, one summary."""
    words = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    command = [sys.executable, *words, "-m", "neurosim_ep", "run", "smoke", "--out", str(tmp_path / "out")]
    sets = [word for override in SHORT for word in ("--set", override)]
    done = subprocess.run([*command, *sets], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.count("test accuracy") == done.stderr.count("epoch 1/1") == 1
    assert json.loads((tmp_path / "out/run.json").read_text())["processes"] == 2


def test_the_slurm_script_of_the_page_works_as_it_stands(tmp_path: Path) -> None:
    """It starts a run where there is none, and goes on with it where there is; srun and python only say what they are
    asked.
    """
    script = next(
        block for block in (DOCS / "clusters.md").read_text().split("```") if block.startswith("\n#!/bin/bash")
    )
    (tmp_path / "shared.sh").write_text(script.lstrip())
    (tmp_path / "bin").mkdir()
    for name, text in (("srun", 'shift\nexec "$@"'), ("python", 'echo "$@"')):
        (path := tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)
    variables = {"SLURM_JOB_NAME": "test", "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}

    def submitted() -> str:
        words = ["bash", "shared.sh"]
        return subprocess.run(words, cwd=tmp_path, env=variables, check=True, capture_output=True, text=True).stdout

    assert submitted() == "-m neurosim_ep run vgg11_le --out runs/vgg11-test\n"
    (out := tmp_path / "runs/vgg11-test").mkdir(parents=True)
    (out / "run.json").write_text("{}")
    assert submitted() == "-m neurosim_ep resume runs/vgg11-test\n"


@pytest.mark.whole
def test_processes_are_refused_stopped_and_killed_with_one_message_and_an_epoch_lost_at_most() -> None:
    campaign("--kills", "2", "--stops", "1", "--seed", "1")


@pytest.mark.slow
def test_ten_random_kills() -> None:
    campaign("--kills", "10", "--stops", "3")


def campaign(*words: str) -> None:
    """Raises unless a campaign finds nothing wrong."""
    command = [sys.executable, str(ROOT / "tests/campaigns/ranks.py"), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
