"""Tests run in a process per core (``-n auto`` in pyproject.toml), so each process computes with one thread."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
