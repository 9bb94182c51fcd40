"""Tests run in a process per core (``-n auto`` in pyproject.toml), so each process computes with one thread.

Properties are tried on the same examples every time. Nothing waits for the disk: what is left when the power fails is
not tested, what is left by a kill does not depend on it. Procedural images are made once per process.
"""

import os
import signal
from collections.abc import Iterator
from functools import lru_cache

import pytest
import torch
from hypothesis import settings

from neurosim_ep.data.sources import textures
from neurosim_ep.interrupts import NUMBERS

os.environ.setdefault("OMP_NUM_THREADS", "1")
if not torch.cuda.is_available():  # Triton decides when it is imported, which any test may do, whether it interprets
    os.environ.setdefault("TRITON_INTERPRET", "1")
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def disk_without_waits() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def images_made_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(textures, "load_textures", lru_cache(maxsize=64)(textures.load_textures))
        yield


@pytest.fixture
def signals_heard() -> Iterator[None]:
    """Programs that a test starts do not inherit that signals are ignored, as they are below nohup and ``&``."""
    ignored = [number for number in NUMBERS if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
