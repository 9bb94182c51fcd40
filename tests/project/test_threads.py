"""How many threads compute, that they sleep when idle, and that results do not depend on them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from paths import ROOT

from neurosim_ep.cli import main
from neurosim_ep.errors import RunInterrupted, UsageError
from neurosim_ep.progress import LineReporter, QuietReporter
from neurosim_ep.record.checkpoint import load_checkpoint
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.threads import FLOPS_PER_THREAD, MOST, WAITING, default_threads, free_cores, use_threads
from neurosim_ep.train.resume import resume
from neurosim_ep.train.run import run

PLENTY = 1e15  # operations that are work enough for any number of threads


@pytest.fixture
def restored() -> Iterator[None]:
    """PyTorch has its own number of threads again afterwards."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a machine of which this process may use eight processors, and nothing else is known."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    return tmp_path


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_cores_are_those_of_the_affinity(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_cores(machine) == 8
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert free_cores(machine) == 3


def test_a_share_of_the_cores(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for named, cores in (("3", 3), ("99", 8), ("0", 8), ("many", 8)):
        monkeypatch.setenv("NEUROSIM_EP_CORES", named)
        assert free_cores(machine) == cores


def test_hyperthreads_share_a_core(machine: Path) -> None:
    for place in range(8):
        first = place % 4
        put(machine / f"sys/devices/system/cpu/cpu{place}/topology/thread_siblings_list", f"{first},{first + 4}\n")
    assert free_cores(machine) == 4


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "350000 100000\n"}, 3),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/a/b\n", {"cpu.max": "max 100000\n", "a/cpu.max": "200000 100000", "a/b/cpu.max": "600000 100000"}, 2),
        (
            "3:cpu,cpuacct:/job\n0::/\n",
            {"cpu/job/cpu.cfs_quota_us": "-1\n", "cpu/job/cpu.cfs_period_us": "100000\n"},
            8,
        ),
        ("3:cpu,cpuacct:/job\n", {"cpu/job/cpu.cfs_quota_us": "500000\n", "cpu/job/cpu.cfs_period_us": "100000\n"}, 5),
        ("3:cpu,cpuacct:/host/job\n", {"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ("0::/\n", {"cpu.max": "200000\n"}, 8),
        ("0::/\n", {"cpu.max": "200000 0\n"}, 8),
        ("3:cpu,cpuacct:/job\n", {"cpu/job/cpu.cfs_quota_us": "500000\n"}, 8),
        ("not known here\n0::/\n", {"cpu.max": "350000 100000\n"}, 3),
        ("2:memory:/job\n", {"cpu/job/cpu.cfs_quota_us": "100000\n", "cpu/job/cpu.cfs_period_us": "100000\n"}, 8),
    ],
)
def test_control_groups_limit_the_cores(machine: Path, groups: str, files: dict[str, str], cores: int) -> None:
    put(machine / "proc/self/cgroup", groups)
    for name, text in files.items():
        put(machine / "sys/fs/cgroup" / name, text)
    assert free_cores(machine) == cores


def test_the_default_depends_on_machine_and_work_alone(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("neurosim_ep.threads.free_cores", lambda: 8)
    assert default_threads(0) == 1
    assert default_threads(1.9 * FLOPS_PER_THREAD) == 1
    assert default_threads(3 * FLOPS_PER_THREAD) == 3
    assert default_threads(PLENTY) == 8


@pytest.mark.parametrize(
    ("named", "threads"), [("3", 3), ("5,2", 5), ("99999", MOST), ("0", 8), ("many", 8), ("²", 8), ("", 8)]
)
def test_the_user_s_own_number_is_respected(monkeypatch: pytest.MonkeyPatch, named: str, threads: int) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", named)
    monkeypatch.setattr("neurosim_ep.threads.free_cores", lambda: 8)
    assert default_threads(PLENTY) == threads
    if threads != 8:
        assert default_threads(0) == threads


def test_pytorch_gets_the_number(restored: None) -> None:
    assert use_threads(3, 0) == torch.get_num_threads() == 3
    assert use_threads(None, 0) == torch.get_num_threads() == default_threads(0)


@pytest.mark.parametrize("threads", [0, -1, MOST + 1])
def test_a_bad_number_is_refused(threads: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=f"threads = {threads}: must be 1 to {MOST}"):
        run(load_scenario("smoke"), tmp_path / "none", device="cpu", threads=threads)
    assert not (tmp_path / "none").exists()
    assert main(["run", "smoke", "--threads", str(threads)]) == 2
    assert "--threads" in capsys.readouterr().err


def imported(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What a fresh process without variables of OpenMP says when it runs ``code``."""
    clean = {name: value for name, value in os.environ.items() if name not in WAITING}
    return subprocess.run(
        [sys.executable, "-c", code], env=clean | variables, capture_output=True, text=True, check=True,
        cwd=ROOT,
    )  # fmt: skip


SAY = "import os; print(os.environ.get('OMP_WAIT_POLICY'))"


def test_idle_threads_sleep() -> None:
    done = imported("import neurosim_ep, torch; torch.ones(2).sum()", OMP_DISPLAY_ENV="true")
    assert re.search(r"OMP_WAIT_POLICY ?= ?'PASSIVE'", done.stderr)


def test_the_user_s_way_of_waiting_is_kept() -> None:
    assert imported(f"import neurosim_ep; {SAY}", OMP_WAIT_POLICY="active").stdout == "active\n"
    assert imported(f"import neurosim_ep; {SAY}", GOMP_SPINCOUNT="1000").stdout == "None\n"


def test_nothing_is_set_when_it_is_too_late() -> None:
    assert imported(f"import sys; sys.modules['torch'] = None; import neurosim_ep; {SAY}").stdout == "None\n"


TINY = (
    "training.epochs=2", "data.train_samples=64", "data.test_samples=20", "relaxation.nudge_steps=4",
    "telemetry.traffic_every=0", "telemetry.plots=false", "telemetry.report=false",
)  # fmt: skip


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / "checkpoints", torch.device("cpu"))["trainer"]["network"]


def told(folder: Path) -> int:
    return json.loads((folder / "run.json").read_text())["threads"]


def test_results_do_not_depend_on_the_threads(tmp_path: Path, restored: None) -> None:
    scenario, found = load_scenario("smoke", TINY), []
    for threads in (1, 2):
        out = run(scenario, tmp_path / str(threads), device="cpu", threads=threads).out
        assert told(out) == threads
        assert f"threads: {threads}" in (out / "run.log").read_text()
        found.append(weights(out))
    one, two = found
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-5)


class Interrupting(QuietReporter):
    def batch(self, epoch: int, batch: int) -> None:
        if epoch == 2:
            raise KeyboardInterrupt


def test_a_run_goes_on_with_its_threads(tmp_path: Path, restored: None) -> None:
    scenario = load_scenario("smoke", TINY)
    whole = run(scenario, tmp_path / "whole", device="cpu", threads=2).out
    with pytest.raises(RunInterrupted):
        run(scenario, tmp_path / "cut", device="cpu", threads=2, reporter=Interrupting())
    torch.set_num_threads(1)
    resume(tmp_path / "cut", device="cpu")
    assert told(tmp_path / "cut") == torch.get_num_threads() == 2
    for name, value in weights(whole).items():
        assert torch.equal(weights(tmp_path / "cut")[name], value), name


def test_other_threads_may_go_on_with_a_run(
    tmp_path: Path,
    restored: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("neurosim_ep.train.resume.free_cores", lambda: 1)
    for number, threads, noted in ((1, None, True), (2, 1, False)):
        with pytest.raises(RunInterrupted):
            run(load_scenario("smoke", TINY), tmp_path / str(number), device="cpu", threads=2, reporter=Interrupting())
        resume(tmp_path / str(number), device="cpu", threads=threads, reporter=LineReporter())
        assert ("with the 2 threads of this run on 1 free cores" in capsys.readouterr().err) == noted
        assert told(tmp_path / str(number)) == (threads or 2)


@pytest.mark.parametrize("named", ["four", 0, 2.5, True, MOST + 1, None])
def test_a_run_that_names_no_number_of_threads_goes_on_with_the_default(
    tmp_path: Path, restored: None, named: object
) -> None:
    with pytest.raises(RunInterrupted):
        run(load_scenario("smoke", TINY), tmp_path / "cut", device="cpu", threads=2, reporter=Interrupting())
    path = tmp_path / "cut" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"threads": named}))
    resume(tmp_path / "cut", device="cpu")
    assert told(tmp_path / "cut") == torch.get_num_threads() == default_threads(0)
