"""Work shared between copies of a process gives what one process gives."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator

import pytest

from neurosim_ep.analysis import shares
from neurosim_ep.analysis.shares import do_all

HERE = os.getpid()


@pytest.fixture(autouse=True, params=[1, 3])
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(shares, "free_cores", lambda: request.param)
    yield request.param
    assert not multiprocessing.active_children()


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
