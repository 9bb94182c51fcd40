"""Ctrl-C, and the signals that batch systems and closed terminals send, as one KeyboardInterrupt each."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
EXIT_CODE = 130
AT_ONCE = 5
"""So many signals end a process of ours that does not come to an end by itself."""


class _Seen:
    """What this process was told."""

    count = 0
    closing = False
    listening = False
    patient = True


def _interrupt(number: int, frame: FrameType | None) -> None:
    _Seen.count += 1
    if _Seen.count >= AT_ONCE and not _Seen.patient:
        os._exit(EXIT_CODE)
    if not _Seen.closing:
        raise KeyboardInterrupt


def listen(*, patient: bool = True) -> None:
    """Let all of these signals interrupt like Ctrl-C, those apart that the process was told to ignore; unless
    ``patient``, the fifth ends the process.
    """
    _Seen.patient = patient
    _Seen.count, _Seen.closing, _Seen.listening = 0, False, True
    for number in NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


@contextmanager
def interruptible() -> Iterator[None]:
    """:func:`listen` inside the block; threads beside the main one cannot, and need not where it does already."""
    if _Seen.listening or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in NUMBERS}
    try:
        listen()
        yield
    finally:
        _Seen.listening = False
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def closing() -> Iterator[None]:
    """Inside the block signals wait for nothing and stop nothing: what was interrupted is closed."""
    before, _Seen.closing = _Seen.closing, True
    try:
        yield
    finally:
        _Seen.closing = before


def interrupted() -> bool:
    """Whether a signal came: what fails after it, fails because of it."""
    return _Seen.count > 0


def ignore_from_now_on() -> None:
    """What the process ends with is decided."""
    for number in NUMBERS:
        signal.signal(number, signal.SIG_IGN)
