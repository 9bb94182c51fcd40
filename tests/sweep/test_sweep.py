"""Sweeps are worked off whatever kills them, every point once."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import pytest
from paths import ROOT

from neurosim_ep.cli import main
from neurosim_ep.sweep.command import open_sweep

STUB = ROOT / "tests/helpers/stub_python.py"
CONTROLLER = "import sys; sys.executable = sys.argv[1]; from neurosim_ep.cli import main; sys.exit(main(sys.argv[2:]))"
TWELVE = """
[sweep]
base = "smoke"
seeds = 2

[fixed]
training.epochs = 3

[grid.relaxation]
beta = [0.1, 0.2, 0.4]
nudge_steps = [2, 4]
"""


class Place:
    """Where a sweep of commands that compute nothing runs."""

    def __init__(self, path: Path, text: str = TWELVE) -> None:
        self.path, self.out, self.journal = path, path / "out", path / "journal"
        self.source = path / "twelve.toml"
        self.source.write_text(text)
        self.journal.touch()
        for folder in ("hold", "fail", "bin"):
            (path / folder).mkdir()
        stub = path / "bin/stub"
        stub.write_text(f'#!/bin/sh\nexec {sys.executable} {STUB} "$@"\n')
        stub.chmod(0o755)
        self.environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "JOURNAL": str(self.journal), "HOLD": str(path / "hold"),
            "FAIL": str(path / "fail"), "PATH": f"{path / 'bin'}:{os.environ['PATH']}",
        }  # fmt: skip

    def start(self, *options: str) -> subprocess.Popen[str]:
        """A sweep in a process of its own; points are planned in this one, where PyTorch is loaded once."""
        open_sweep(str(self.source), self.out, print)
        command = [sys.executable, "-c", CONTROLLER, str(self.path / "bin/stub"), "sweep", str(self.source)]
        return subprocess.Popen(
            [*command, "--out", str(self.out), "--device", "cpu", *options], env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.path,
        )  # fmt: skip

    def sweep(self, *options: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a sweep in this process."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "executable", str(self.path / "bin/stub"))
            patch.chdir(self.path)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            code = main(["sweep", str(self.source), "--out", str(self.out), "--device", "cpu", *options])
        return code, out.getvalue(), err.getvalue()

    def lines(self) -> list[str]:
        return self.journal.read_text().splitlines()

    def wait_for(self, line: str) -> None:
        wait(lambda: line in self.lines())

    def table(self) -> list[dict[str, str]]:
        with (self.out / "points.csv").open(newline="") as file:
            return list(csv.DictReader(file))


def wait(until: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_sweep_killed_twice_finishes_with_every_point_once(tmp_path: Path) -> None:
    place = Place(tmp_path)
    held = ["03_beta=0.1_nudge_steps=4_seed=0", "08_beta=0.2_nudge_steps=4_seed=1"]
    for name in held:
        (tmp_path / "hold" / name).touch()
    first = place.start("--jobs", "2")
    place.wait_for(f"epoch {held[0]} 1")
    kill(first)  # the command of the third point lives on, half done
    second = place.start("--jobs", "2")
    place.wait_for(f"epoch {held[1]} 1")
    orphan = next(line for line in processes() if f"{place.out}/runs/{held[0]} " in line)
    os.kill(int(orphan.split()[0]), signal.SIGKILL)
    place.wait_for(f"resume {held[0]} gpu=None cores=1")
    kill(second)
    for name in held:
        (tmp_path / "hold" / name).unlink()
    code, out, _ = place.sweep("--jobs", "2")
    assert code == 0 and out.count("  done  ") == 12

    journal = place.lines()
    epochs = Counter(line for line in journal if line.startswith("epoch"))
    assert set(epochs.values()) == {1} and len(epochs) == 12 * 3  # nothing is computed twice
    begun = Counter(line.split()[1] for line in journal if line.startswith("run "))
    assert set(begun.values()) == {1} and len(begun) == 12
    rows = place.table()
    assert (
        [row["point"] for row in rows] == sorted(begun) == sorted(path.name for path in (place.out / "runs").iterdir())
    )
    for row in rows:
        info = json.loads((place.out / "runs" / row["point"] / "run.json").read_text())
        assert row["status"] == info["status"] == "done"
        for key in ("test_accuracy", "loss"):
            assert float(row[key]) == info["metrics"][key]
        assert float(row["energy_event_J"]) == 3.0 and float(row["ep_per_backprop_clocked"]) == 4.0
        scenario = (place.out / "runs" / row["point"] / "scenario.toml").read_text()
        assert f"beta = {row['relaxation.beta']}\n" in scenario and f"seed = {row['scenario.seed']}\n" in scenario

    code, out, err = place.sweep("--json")
    assert code == 0 and "12 done" in err and place.lines() == journal  # finished points are not run again
    found = json.loads(out)
    assert [point["point"] for point in found["points"]] == [row["point"] for row in rows]
    assert found["command"] == "sweep" and found["table"] == str(place.out / "points.csv")


def processes() -> list[str]:
    """Number and command of every process, a line each."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # one that has just ended
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            found.append(f"{folder.name} {' '.join(words)}")
    return found


@pytest.mark.whole
@pytest.mark.usefixtures("signals_heard")
def test_ctrl_c_stops_the_commands_and_the_same_command_goes_on(tmp_path: Path) -> None:
    place = Place(tmp_path)
    name = "01_beta=0.1_nudge_steps=2_seed=0"
    (tmp_path / "hold" / name).touch()
    process = place.start("--jobs", "1")
    place.wait_for(f"epoch {name} 1")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and f"go on with: neurosim-ep sweep {place.out}" in err
    assert place.table()[0]["status"] == "interrupted" and place.table()[0]["epochs"] == "1"
    assert not [line for line in processes() if str(place.out) in line and "stub_python" in line]
    (tmp_path / "hold" / name).unlink()
    assert place.sweep("--jobs", "3")[0] == 0
    assert {row["status"] for row in place.table()} == {"done"}


def test_failed_points_are_told_and_tried_again_when_asked(tmp_path: Path) -> None:
    place = Place(tmp_path)
    name = "02_beta=0.1_nudge_steps=2_seed=1"
    (tmp_path / "fail" / name).touch()
    code, _, err = place.sweep("--jobs", "4")
    told = f"{name}: data.root: holds no images; name another folder"
    assert code == 2 and "1 of 12 points failed" in err and told in err
    assert [row["status"] for row in place.table()].count("done") == 11
    before = place.lines()
    assert place.sweep()[0] == 2 and place.lines() == before
    (tmp_path / "fail" / name).unlink()
    assert place.sweep("--retry")[0] == 0
    assert {row["status"] for row in place.table()} == {"done"} and not place.table()[1]["reason"]


def test_estimates_and_gpus(tmp_path: Path) -> None:
    text = '[sweep]\nbase = "smoke"\nkind = "estimate"\n[grid]\nhardware.model = ["rram_32nm", "pcm_90nm", "ecram"]\n'
    place = Place(tmp_path, text)
    place.environment["CUDA_VISIBLE_DEVICES"] = "4,GPU-7"
    assert place.sweep("--device", "auto")[0] == 0  # one command per GPU
    assert {line.split()[2] for line in place.lines()} == {"gpu=4", "gpu=GPU-7"}
    rows = place.table()
    assert [row["hardware.model"] for row in rows] == ["rram_32nm", "pcm_90nm", "ecram"]
    assert {row["status"] for row in rows} == {"done"} and {row["latency_event_s"] for row in rows} == {"1.0"}


SBATCH = """#!/bin/bash
for word in "$@"; do
  echo "$word" >> "$ROOM/sbatch"
  case $word in --array=*) tasks=${word#--array=}; tasks=${tasks%\\%*} ;; esac
  script=$word
done
echo "77;cluster"
for part in ${tasks//,/ }; do
  for task in $(seq ${part%-*} ${part#*-}); do SLURM_ARRAY_TASK_ID=$task bash "$script"; done
done
exit 0
"""


def test_slurm_gets_an_array_of_what_is_left(tmp_path: Path) -> None:
    place = Place(tmp_path, TWELVE + '[slurm]\noptions = ["--time=10"]\nsetup = ["export MODULE=cuda"]\n')
    for tool, text in (("sbatch", SBATCH), ("squeue", '#!/bin/bash\ncat "$ROOM/queue"\n')):
        path = tmp_path / "bin" / tool
        path.write_text(text)
        path.chmod(0o755)
    place.environment |= {"ROOM": str(tmp_path), "NEUROSIM_EP_CORES": "3"}
    (tmp_path / "queue").touch()
    name = "02_beta=0.1_nudge_steps=2_seed=1"
    (tmp_path / "fail" / name).touch()
    code, _, err = place.sweep("--on", "slurm", "--jobs", "5")
    assert code == 0 and "submitted 12 points as job 77" in err
    words = (tmp_path / "sbatch").read_text().split()
    output = f"--output={place.out}/logs/slurm-%A_%a.txt"
    assert words == ["--parsable", "--array=1-12%5", output, "--time=10", str(place.out / "slurm.sh")]
    assert "export MODULE=cuda\n" in (place.out / "slurm.sh").read_text()

    (tmp_path / "queue").write_text("77_3 gpu twelve R\n")
    code, _, err = place.sweep("--on", "slurm")
    assert code == 2 and "Slurm still has jobs of this sweep (77)" in err and "1 of 12 points failed" in err
    assert place.sweep("--retry")[0] == 2  # not here while they are there
    (tmp_path / "queue").write_text("")
    (tmp_path / "fail" / name).unlink()
    assert place.sweep("--on", "slurm", "--retry")[0] == 0 and "--array=2" in (tmp_path / "sbatch").read_text()
    assert place.sweep("--on", "slurm")[0] == 0
    assert {row["status"] for row in place.table()} == {"done"}
    assert Counter(line.split()[0] for line in place.lines()) == {"run": 13, "epoch": 36}


def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, *options: str) -> str:
    source = tmp_path / "bad.toml"
    source.write_text(text)
    assert main(["sweep", str(source), "--out", str(tmp_path / "out"), *options]) == 2
    assert not (tmp_path / "out").exists()
    return capsys.readouterr().err


BASE = '[sweep]\nbase = "smoke"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[sweep]\n", ["sweep.base: is missing"]),
        ('[sweep]\nbase = "smok"\n[grid]\nrelaxation.beta = [1.0]\n', ['sweep.base = "smok"', "did you mean smoke"]),
        (BASE, ["grid: is missing; say what varies"]),
        (BASE + 'kinds = "run"\n', ["sweep.kinds: unknown key; did you mean kind?"]),
        (BASE + 'kind = "runs"\n', ['sweep.kind = "runs"', '"run" or "estimate"']),
        (BASE + "[gird]\n", ["gird: unknown section; did you mean grid?"]),
        (BASE + "[estimate]\nsamples = 4\n[grid]\nrelaxation.beta=[0.1]\n", ["estimate: is for sweep.kind"]),
        (BASE + "[grid]\nrelaxation.beta = 0.1\n", ["grid.relaxation.beta = 0.1: must be a list", "[0.1]"]),
        (BASE + "[grid]\nrelaxation.bet = [0.1]\n", ["relaxation.bet = 0.1: unknown key", "mean relaxation.beta?"]),
        (
            BASE + "seeds = 3\n[grid]\nrelaxation.beta = [0.1, -1.0]\n",
            ["1 problem\n", "relaxation.beta = -1.0: must be", "first with relaxation.beta = -1.0, scenario.seed = 0"],
        ),
        (BASE + '[grid]\nhardware.model = ["rram_33nm"]\n', ['hardware.model = "rram_33nm"', "did you mean rram_32nm"]),
        (
            '[sweep]\nbase = "smoke_tiles"\n[grid]\nhardware.converters.adc_bits = [8, 3]\n',
            ["has no converter of 3 bits", "(first with hardware.converters.adc_bits = 3)"],
        ),
        (
            BASE + "[zip]\nrelaxation.beta = [0.1, 0.2]\nrelaxation.nudge_steps = [1]\n",
            ["zip: its lists must have as many values", "relaxation.beta has 2, relaxation.nudge_steps has 1"],
        ),
        (
            BASE + "[grid]\nrelaxation.beta = [0.1]\n[[points]]\nrelaxation.beta = 0.2\n",
            ["relaxation.beta: is set in grid and in points"],
        ),
        (
            BASE + "[random]\ndraws = 2\n[random.axes]\nrelaxation.beta = { low = 0.0, high = 1.0, scale = \"log\" }\n",
            ["relaxation.beta.low = 0.0: must be above 0"],
        ),
        (
            BASE + "[random]\ndraws = 2\n[random.axes]\nrelaxation.beta = { low = 0.1, hihg = 1.0 }\n",
            ["relaxation.beta.high: is missing", "relaxation.beta.hihg: unknown key; did you mean high?"],
        ),
        (
            BASE + 'constraints = ["relaxation.bta > 1"]\n[grid]\nrelaxation.beta = [0.1]\n',
            ["sweep.constraints[0]", "relaxation.bta: is no key; did you mean relaxation.beta?"],
        ),
        (
            BASE + 'constraints = ["relaxation.beta > 1"]\n[grid]\nrelaxation.beta = [0.1]\n',
            ["the constraints leave none of 1 points"],
        ),
        (BASE + "[grid]\nrelaxation.free_steps = [" + "1, " * 10001 + "]\n", ["has 10001 points; must be at most"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: Sequence[str]
) -> None:
    err = refused(tmp_path, capsys, text)
    assert all(part in err for part in said), err


def test_directories_are_not_mixed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(tmp_path)
    (place.out).mkdir()
    (place.out / "thesis.tex").touch()
    assert main(["sweep", str(place.source), "--out", str(place.out)]) == 2
    assert "is not empty and holds no sweep (thesis.tex)" in capsys.readouterr().err
    (place.out / "thesis.tex").unlink()
    assert place.sweep("--jobs", "4")[0] == 0
    place.source.write_text(TWELVE.replace("0.4", "0.5"))
    assert main(["sweep", str(place.source), "--out", str(place.out)]) == 2
    assert "was begun with another twelve.toml" in capsys.readouterr().err
    assert main(["sweep", str(place.out), "--out", "elsewhere"]) == 2
    assert "goes on where it is" in capsys.readouterr().err
    assert main(["sweep", str(place.out)]) == 0
    assert main(["sweep", "no_such_sweep"]) == 2
    assert "no such file and no shipped name of sweeps" in capsys.readouterr().err
