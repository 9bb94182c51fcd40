"""Ctrl-C, and the signals that batch systems and closed terminals send, as one KeyboardInterrupt each."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
ALARMS = [signal.SIGALRM] if hasattr(signal, "setitimer") else []
EXIT_CODE = 130
SOON = 0.01  # seconds
AT_ONCE = 5
"""So many signals end a process of ours that does not come to an end by itself."""


class _State:
    """What this process was told, and what else it would do with errors that nobody gets."""

    count = 0
    closing = False
    listening = False
    patient = True

    def __init__(self) -> None:
        self.hook = sys.unraisablehook


_seen = _State()


def _interrupt(number: int, frame: FrameType | None) -> None:
    _seen.count += 1
    if _seen.count >= AT_ONCE and not _seen.patient:
        os._exit(EXIT_CODE)
    if not _seen.closing:
        raise KeyboardInterrupt


def _again(number: int, frame: FrameType | None) -> None:
    if not _seen.closing:
        raise KeyboardInterrupt


def _not_raised(problem: sys.UnraisableHookArgs) -> None:
    """An interrupt in a place that lets no error out, such as a finaliser, comes again once that has been left."""
    if problem.exc_type is KeyboardInterrupt:
        signal.setitimer(signal.ITIMER_REAL, SOON)
    else:
        _seen.hook(problem)


def listen(*, patient: bool = True) -> None:
    """Let all of these signals interrupt like Ctrl-C, those apart that the process was told to ignore; unless
    ``patient``, the fifth ends the process.
    """
    _seen.patient = patient
    _seen.count, _seen.closing, _seen.listening = 0, False, True
    for number in NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    for number in ALARMS:
        signal.signal(number, _again)
    if ALARMS and sys.unraisablehook is not _not_raised:
        _seen.hook, sys.unraisablehook = sys.unraisablehook, _not_raised


@contextmanager
def interruptible() -> Iterator[None]:
    """:func:`listen` inside the block; threads beside the main one cannot, and need not where it does already."""
    if _seen.listening or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (*NUMBERS, *ALARMS)}
    try:
        listen()
        yield
    finally:
        _seen.listening, sys.unraisablehook = False, _seen.hook
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def closing() -> Iterator[None]:
    """Inside the block signals wait for nothing and stop nothing: what was interrupted is closed."""
    before, _seen.closing = _seen.closing, True
    try:
        yield
    finally:
        _seen.closing = before


@contextmanager
def held() -> Iterator[None]:
    """Inside the block, in the main thread, signals wait; they come when it has been left."""
    before: dict[int, Any] = {}
    came: list[int] = []
    try:
        for number in NUMBERS:
            before[number] = signal.signal(number, lambda number, _: came.append(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)


def interrupted() -> bool:
    """Whether a signal came: what fails after it, fails because of it."""
    return _seen.count > 0


def ignore_from_now_on() -> None:
    """What the process ends with is decided."""
    for number in (*NUMBERS, *ALARMS):
        signal.signal(number, signal.SIG_IGN)
