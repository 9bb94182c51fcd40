"""Tests run in a process per core (``-n auto`` in pyproject.toml), so each process computes with one thread.

Properties are tried on the same examples every time. Nothing waits for the disk: what is left when the power fails is
not tested, what is left by a kill does not depend on it.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def disk_without_waits() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield
