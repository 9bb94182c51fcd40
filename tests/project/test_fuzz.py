"""Every kind of file with random changes, a few hundred of them; `tests/campaigns/fuzz.py` tries thousands."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import h5py
import pytest
from fuzzing import Kind, kinds, target_store, tried
from new_run import reseal, unseal

from neurosim_ep.errors import DataError

TRIES = 12


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kind]:
    return kinds(tmp_path_factory.mktemp("files"))


def test_changed_files_are_read_or_refused(files: dict[str, Kind], tmp_path: Path) -> None:
    """In one sentence, and what is read again unchanged is read."""
    found = Counter[str]()
    for number, (name, kind) in enumerate(files.items()):
        work = tmp_path / str(number)
        shutil.copytree(kind.folder, work)
        for seed in range(TRIES):
            try:
                found[tried(kind, seed, work)] += 1
            except Exception as problem:
                raise AssertionError(f"{name}, seed {seed}") from problem
        kind.read(work)
    assert found.total() == TRIES * len(files) and min(found["read"], found["refused"]) > 30


@pytest.mark.parametrize("teacher", [100_000 * "[", "null", "[1]", "{}", ""])
def test_a_target_store_with_a_digest_of_its_own_is_refused(tmp_path: Path, teacher: str) -> None:
    """Whatever it says of its teacher, as somebody would give it who means it."""
    kind = target_store(tmp_path / "store")
    path = kind.folder / kind.file
    unseal(path)
    with h5py.File(path, "a") as file:
        file.attrs["teacher"] = teacher
    reseal(path)
    with pytest.raises(DataError, match=r"targets\.h5: cannot be read as a target store"):
        kind.read(kind.folder)
