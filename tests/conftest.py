"""Tests run in a process per core (``-n auto`` in pyproject.toml), so each process computes with one thread.

Properties are tried on the same examples every time.
"""

import os

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")
