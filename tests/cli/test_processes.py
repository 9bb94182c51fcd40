"""The command line as a process: signals, streams that are closed, readers that leave, other commands beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from paths import ROOT
from tiny_run import outcome

from neurosim_ep.errors import RunInterrupted
from neurosim_ep.progress import QuietReporter
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.train.resume import resume
from neurosim_ep.train.run import run

pytestmark = [pytest.mark.whole, pytest.mark.usefixtures("signals_heard")]

SMALL = (
    "data.train_samples=20", "data.test_samples=10", "training.epochs=3", "relaxation.free_steps=2",
    "relaxation.nudge_steps=2", "training.batch_size=10", "telemetry.plots=false", "telemetry.report=false",
)  # fmt: skip
SETS = [word for override in SMALL for word in ("--set", override)]
PROGRAM = [sys.executable, "-m", "neurosim_ep"]

# A process whose command, faked, ends where it says: it sends itself the signals that it is told.
FAKED = """
import os, signal, sys
from types import ModuleType
from neurosim_ep import __main__
run = sys.modules["neurosim_ep.train.run"] = ModuleType("run")
def work(*args, **kwargs):
    try:
        for number in {during}:
            os.kill(os.getpid(), number)
        raise SystemError("the signal came while a library was being loaded")
    finally:
        for number in {after}:
            os.kill(os.getpid(), number)
run.run = work
sys.argv = ["neurosim-ep", "run", "smoke", "--quiet"]
sys.exit(__main__.program())
"""


def started(*words: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen([*PROGRAM, *words], cwd=ROOT, text=True, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_an_epoch_ends_with_130_and_the_run_goes_on_as_if_there_had_been_none(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = started("run", "smoke", "--out", str(tmp_path / "out"), *SETS, stderr=subprocess.PIPE)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 1/3"):
            process.send_signal(number)
            break
    told = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 130
    assert "Traceback" not in told
    if "interrupted" in told:  # else it was done before the signal came
        assert json.loads((tmp_path / "out/run.json").read_text())["status"] == "interrupted"
    resume(tmp_path / "out")
    assert outcome(tmp_path / "out") == outcome(run(load_scenario("smoke", SMALL), tmp_path / "whole").out)


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("again", [0, 1, 2])
def test_signals_from_the_first_line_on_end_with_130_and_no_traceback(number: str, again: int) -> None:
    """Once or several times, and where a library answers the first with an error of its own."""
    script = FAKED.format(during=f"[signal.{number}]", after=f"[signal.{number}] * {again}")
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "interrupted\n"


def test_a_signal_in_a_place_that_lets_no_error_out_is_not_lost() -> None:
    """Here a callback of a weak reference."""
    script = FAKED.format(during="[]", after="[]").replace(
        'raise SystemError("the signal came while a library was being loaded")',
        "import weakref; thing = set(); watched = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGTERM)); "
        "del thing; signal.pause()",
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_a_signal_that_the_process_was_told_to_ignore_stays_ignored() -> None:
    script = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)" + FAKED.format(
        during="[signal.SIGHUP]", after="[]"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "SystemError" in done.stderr


def test_a_run_killed_while_its_pictures_are_drawn_goes_on_at_once(tmp_path: Path) -> None:
    """No process that drew them keeps its directory."""
    out = tmp_path / "out"
    process = started("run", "smoke", "--out", str(out), *SETS, "--set", "telemetry.plots=true", stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert any("drawing the pictures" in line for line in process.stderr)
    process.kill()
    assert process.stderr.read() == ""  # whoever has it open has ended
    process.stderr.close()
    assert process.wait() == -signal.SIGKILL
    assert resume(out, reporter=QuietReporter()).plots


@pytest.mark.parametrize("closed", ["stdin", "stdout", "stderr", "all"])
def test_closed_streams_change_nothing(tmp_path: Path, closed: str) -> None:
    """And no file of the run takes the number of one, which libraries print to."""
    numbers = {"stdin": [0], "stdout": [1], "stderr": [2], "all": [0, 1, 2]}[closed]
    process = started(
        "run", "smoke", "--out", str(tmp_path / "out"), *SETS, "--set", "training.epochs=1",
        preexec_fn=lambda: [os.close(number) for number in numbers],
    )  # fmt: skip
    assert process.wait() == 0
    assert json.loads((tmp_path / "out/run.json").read_text())["status"] == "done"


def test_a_reader_that_leaves_stops_nothing(tmp_path: Path) -> None:
    process = started(
        "run", "smoke", "--out", str(tmp_path / "out"), *SETS, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait() == 0
    assert json.loads((tmp_path / "out/run.json").read_text())["status"] == "done"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_is_said(unbuffered: str) -> None:
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        process = started("schema", stdout=full, stderr=subprocess.PIPE, env=environment)
        told = process.communicate()[1]
    assert (process.returncode, told) == (2, "error: No space left on device; make room on the disk\n")


def test_an_encoding_that_lacks_a_sign_spoils_no_output() -> None:
    program = "from neurosim_ep.cli.streams import prepare_streams; prepare_streams(); print('\u03b2 = 0.5')"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.stdout == b"\\u03b2 = 0.5\n"


@pytest.mark.parametrize(("words", "code"), [(["--version"], 0), (["walk"], 2)])
def test_what_waits_for_the_end_of_a_process_has_its_turn(words: list[str], code: int) -> None:
    """And is heard, though nobody asked for it to be flushed; the code stays what it was."""
    program = (
        "import atexit, sys; from neurosim_ep.__main__ import program; sys.argv[0] = 'neurosim-ep'; "
        "code = program(); atexit.register(print, 'the end'); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert (done.returncode, done.stdout.splitlines()[-1]) == (code, "the end")


class Meddling(QuietReporter):
    """Does something to a run in its second epoch."""

    def __init__(self, deed: Callable[[], object]) -> None:
        self.deed = deed

    def batch(self, epoch: int, batch: int) -> None:
        if (epoch, batch) == (2, 1):
            self.deed()


def test_commands_that_meet_in_a_run_directory_refuse_each_other(tmp_path: Path) -> None:
    """A second `run` or `resume` while the first is training, which notices nothing; a `plot` may watch."""
    out, found = tmp_path / "out", []

    def meddle() -> None:
        for words in (("resume", str(out)), ("run", "smoke", "--out", str(out), *SETS), ("plot", str(out))):
            found.append(started(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE).communicate())

    run(load_scenario("smoke", SMALL), out, reporter=Meddling(meddle))
    assert "another neurosim-ep command is writing to it; wait until it ends" in found[0][1]
    assert "already holds a run" in found[1][1]
    assert "gradients.svg" in found[2][0]
    assert outcome(out) == outcome(run(load_scenario("smoke", SMALL), tmp_path / "whole").out)


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    """However that ends."""
    out = tmp_path / "out"
    with pytest.raises(RunInterrupted):
        run(load_scenario("smoke", SMALL), out, reporter=Meddling(lambda: signal.raise_signal(signal.SIGTERM)))
    script = (
        "import os, signal, sys; from pathlib import Path; from neurosim_ep.record.lock import locked\n"
        "with locked(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(out)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert resume(out).status == "done"
