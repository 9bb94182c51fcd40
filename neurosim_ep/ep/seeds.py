"""Independent random streams that all start from the scenario's one seed."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """What a stream of random numbers is used for."""

    WEIGHTS = 0
    PROJECTIONS = 1
    ORDER = 2
    AUGMENTATION = 3
    STATES = 4
    TEST_STATES = 5
    TEACHER_WEIGHTS = 6
    TEACHER_ORDER = 7
    TEACHER_AUGMENTATION = 8
    TILES = 9
    TEST_TILES = 10
    CONSTRUCTION = 11


def generator(seed: int, stream: Stream, epoch: int = 0) -> torch.Generator:
    """A CPU generator for ``stream`` of ``epoch``: a resumed epoch draws what the uninterrupted one drew."""
    word = np.random.SeedSequence([seed, stream, epoch]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(word >> np.uint64(1)))
