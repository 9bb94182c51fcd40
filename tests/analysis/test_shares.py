"""Work shared between copies of a process gives what one process gives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from pickle import UnpicklingError

import pytest
from paths import ROOT

from neurosim_ep.analysis import shares
from neurosim_ep.analysis.shares import ahead, do_all

HERE = os.getpid()


@pytest.fixture(autouse=True, params=[1, 3])
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(shares, "free_cores", lambda: request.param)
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    yield request.param
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def answers(number: int) -> Callable[[], tuple[int, int]]:
    return lambda: (number, os.getpid())


def test_results_come_in_order_from_every_core(cores: int) -> None:
    found = do_all([answers(number) for number in range(13)])
    assert [number for number, _ in found] == list(range(13))
    assert len({process for _, process in found}) == (cores if sys.platform == "linux" else 1)


def test_little_work_is_not_shared() -> None:
    assert do_all([]) == []
    assert do_all([answers(number) for number in range(7)]) == [(number, HERE) for number in range(7)]


@pytest.mark.parametrize("end", [lambda: os._exit(1), lambda: 1 / 0, lambda: sys.exit(2)])
def test_what_another_process_failed_at_is_done_here(
    end: Callable[[], object], capfd: pytest.CaptureFixture[str]
) -> None:
    def fails_elsewhere() -> int:
        if os.getpid() != HERE:
            end()
        return os.getpid()

    assert do_all([fails_elsewhere] * 12) == [HERE] * 12
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("problem", [ValueError("no picture"), KeyboardInterrupt()])
def test_an_error_in_any_share_is_raised_and_leaves_nobody_behind(problem: BaseException) -> None:
    def raises() -> None:
        raise problem

    with pytest.raises(type(problem)):
        do_all([answers(0), raises, *(answers(number) for number in range(10))])


def test_a_process_that_may_make_no_others_works_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise OSError("no more processes")

    monkeypatch.setattr(os, "fork", fork)
    works_alone()


def test_a_process_with_other_threads_works_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they have locked, as a library that one of them loads, would be locked in a copy for ever."""
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    works_alone()


def works_alone() -> None:
    assert do_all([answers(number) for number in range(13)]) == [(number, HERE) for number in range(13)]
    with ahead(lambda: None, os.getpid) as later:
        assert later() == HERE


def elsewhere(cores: int) -> bool:
    return cores > 1 and sys.platform == "linux"


def test_a_copy_makes_ready_and_does_the_job_when_it_is_asked_to(cores: int) -> None:
    made: list[int] = []
    with ahead(lambda: made.append(os.getpid()), lambda: (os.getpid(), list(made))) as later:
        process, ready = later()
    assert not made
    assert (process != HERE, ready) == ((True, [process]) if elsewhere(cores) else (False, []))


def test_a_job_that_nobody_asks_for_is_not_done(tmp_path: Path) -> None:
    with ahead(lambda: None, (tmp_path / "done").touch):
        pass
    assert not any(tmp_path.iterdir())


def test_a_copy_of_its_own_shares_the_job_out(cores: int) -> None:
    with ahead(lambda: None, lambda: do_all([answers(number) for number in range(13)])) as later:
        found = later()
    assert [number for number, _ in found] == list(range(13))
    assert len({process for _, process in found}) == (cores if elsewhere(cores) else 1)


def _end() -> None:
    if os.getpid() != HERE:
        os._exit(1)


@pytest.mark.parametrize("ready", [lambda: None, _end, lambda: 1 / 0])
def test_a_job_that_the_copy_fails_at_is_done_here(
    ready: Callable[[], object], capfd: pytest.CaptureFixture[str]
) -> None:
    def job() -> int:
        _end()
        return os.getpid()

    with ahead(ready, job) as later:
        assert later() == HERE
    assert capfd.readouterr() == ("", "")


def test_a_signal_while_a_copy_is_made_leaves_none_behind(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits until there is something to stop."""
    if not elsewhere(cores):
        return
    fork = os.fork

    def hit() -> int:
        number = fork()
        if number:
            os.kill(HERE, signal.SIGINT)
        return number

    monkeypatch.setattr(os, "fork", hit)
    with pytest.raises(KeyboardInterrupt), ahead(lambda: None, lambda: None):
        raise AssertionError("not interrupted")


@pytest.mark.parametrize("problem", [EOFError(), OSError("got end of file during message"), UnpicklingError()])
def test_half_a_message_is_none(problem: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a copy that is killed while it sends."""

    def recv(connection: Connection) -> object:
        raise problem

    monkeypatch.setattr(Connection, "recv", recv)
    with ahead(lambda: None, os.getpid) as later:
        assert later() == HERE


@pytest.mark.skipif(sys.platform != "linux", reason="no copies of a process elsewhere")
def test_two_signals_at_once_end_a_process_with_a_copy() -> None:
    """The second may come where the copy is being stopped: nothing waits for it when the process ends."""
    ended = subprocess.run(
        [sys.executable, "-c", TWO_SIGNALS], cwd=ROOT, stdout=subprocess.PIPE, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (130, b"")


# As a command that is interrupted while its copy waits, and once more before it has stopped that.
TWO_SIGNALS = """
import os, sys
from neurosim_ep import __main__
from neurosim_ep.analysis import shares
from neurosim_ep.cli import main
shares.free_cores = lambda: 3
def interrupted(copy):
    raise KeyboardInterrupt
shares._Copy.stop = interrupted
def command():
    with shares.ahead(lambda: None, lambda: None):
        raise KeyboardInterrupt
import neurosim_ep.cli
neurosim_ep.cli.main = command
sys.exit(__main__.program())
"""


def test_an_error_of_a_job_is_raised_and_leaves_nobody_behind() -> None:
    def raises() -> None:
        raise ValueError("no picture")

    with pytest.raises(ValueError, match="no picture"), ahead(lambda: None, raises) as later:
        later()
    with pytest.raises(ZeroDivisionError), ahead(lambda: None, raises):
        1 / 0  # noqa: B018


# Processes that are killed while copies of theirs wait for ever: for a word to begin, or in the middle of a job.
WAITING = """
with shares.ahead(lambda: None, lambda: None):
    os.kill(os.getpid(), signal.SIGKILL)
"""
AT_WORK = """
def kill_maker():
    os.kill(os.getppid(), signal.SIGKILL)
    signal.pause()
with shares.ahead(lambda: None, lambda: shares.do_all([kill_maker, *12 * [signal.pause]])) as later:
    later()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no copies of a process elsewhere")
@pytest.mark.parametrize("program", [WAITING, AT_WORK])
def test_copies_and_their_copies_end_with_their_process(program: str) -> None:
    """The pipe that all of them write to is closed by the last one that ends."""
    begun = "import os, signal; from neurosim_ep.analysis import shares; shares.free_cores = lambda: 3\n"
    ended = subprocess.run([sys.executable, "-c", begun + program], stdout=subprocess.PIPE, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, b"")
