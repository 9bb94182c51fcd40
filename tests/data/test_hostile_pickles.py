"""Pickles in the place of CIFAR batches that would make NumPy or the interpreter follow what their bytes say."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest

from neurosim_ep.data.sources.pickles import unpickle
from neurosim_ep.errors import DataError

ADDRESS = b"U\x08AAAAAAAA"  # eight bytes that an array of objects would take for a pointer
OBJECTS = b"cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R"
BYTES = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
EMPTY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"

# What the value of "data" is, and what is said of it. Most would crash the interpreter that unpickles them, even where
# it may call nothing but what arrays are pickled with.
HOSTILE = {
    "an array of objects on given bytes": (b"cnumpy\nndarray\n(K\x01\x85" + OBJECTS + ADDRESS + b"tR", "numpy.ndarray"),
    "an array of objects by its state": (EMPTY + b"(K\x01K\x01\x85" + OBJECTS + b"\x89" + ADDRESS + b"tb", "uint8"),
    "a type that its state makes one of objects": (
        EMPTY + b"(K\x01K\x08\x85" + OBJECTS + b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x3ftb\x89"
        + ADDRESS + b"tb", "uint8",
    ),
    "a shape beyond its bytes": (EMPTY + b"(K\x01J\xff\xff\xff\x7f\x85" + BYTES + b"\x89" + ADDRESS + b"tb", "as"),
    "an array of negative size": (EMPTY + b"(K\x01J\xff\xff\xff\xff\x85" + BYTES + b"\x89" + ADDRESS + b"tb", "shape"),
    "a state for a named type": (b"cnumpy\ndtype\n}b", "state to a _Name"),
    "a call of the system": (b"cos\nsystem\nU\x04true\x85R", "names os.system"),
    "a key nested a million times": (b"})" + 1_000_000 * b"\x85" + b"K\x01s", "keys that are not text"),
    "bytes beyond all memory": (b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", "bytes8"),
    "an instance of a class": (b"cnumpy\nndarray\n)\x81", "NEWOBJ"),
}  # fmt: skip


@pytest.mark.parametrize(("value", "said"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_batches_are_refused(value: bytes, said: str) -> None:
    with pytest.raises(DataError, match=f"batch: not a CIFAR pickle .*{said}"):
        unpickle(b"\x80\x02}U\x04data" + value + b"s.", "batch")


def test_memory_is_taken_by_what_is_kept_not_by_the_number_it_is_kept_under() -> None:
    assert unpickle(b"\x80\x02}U\x04dataK\x01r\xff\xff\xff\xffs.", "batch") == {"data": 1}


def test_changed_bytes_are_read_or_refused() -> None:
    """2,000 batches with a few bytes changed: arrays uint8 of the bytes that are there, or an error."""
    rng = random.Random(0)
    batch = {"data": np.arange(12, dtype=np.uint8).reshape(2, 6), "labels": [0, 1], "label_names": ["a", "b"]}
    read = 0
    for number in range(2000):
        content = bytearray(pickle.dumps(batch, rng.choice([2, 4, 5])))
        for _ in range(rng.randint(1, 4)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        try:
            found = unpickle(bytes(content), f"batch {number}")
        except DataError:
            continue
        read += 1
        assert all(value.dtype == np.uint8 for value in found.values() if isinstance(value, np.ndarray))
    assert read > 100
