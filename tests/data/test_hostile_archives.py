"""Small files that claim, or unpack to, more than any memory; pipes, links and names that are no files."""

from __future__ import annotations

import gzip
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from data_files import cifar10_python, folder_images, idx_files, load

from neurosim_ep.cli import main
from neurosim_ep.data.sources import cifar
from neurosim_ep.errors import CheckpointError, DataError, ScenarioError, UsageError
from neurosim_ep.record.traffic import read_traffic
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.tiles.devices import fit

MEBI = 2**20


def packed(*headers: tarfile.TarInfo, zeros: int) -> bytes:
    """A gzipped tar of these headers and MiB of zeros behind the last."""
    stream = gzip.compress(b"".join(header.tobuf() for header in headers))
    return stream + zeros * gzip.compress(bytes(MEBI))


def member(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.size, found.type = size, kind
    return found


BATCH = "cifar-10-batches-py/data_batch_1"
BOMBS = {
    "a batch of a tebibyte": packed(member(BATCH, 2**40), zeros=40),
    "a long name of a tebibyte": packed(member("././@LongLink", 2**40, tarfile.GNUTYPE_LONGNAME), zeros=40),
    "an extended header of a tebibyte": packed(member("x", 2**40, tarfile.XHDTYPE), zeros=40),
    "zeros without end": packed(zeros=40),
    "a size that no number holds": gzip.compress(
        member(BATCH, 1).tobuf().replace(b"00000000001\0", b"\xff" * 12) + bytes(1024)
    ),
    "no archive": b"\x1f\x8b" + bytes(100),
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
def test_archives_take_no_more_memory_than_their_format_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(cifar, "MOST_BYTES", MEBI)
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"cannot be read|missing; unpack or fetch|which no such file has"):
            load("cifar10", tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 40 * MEBI
    finally:
        tracemalloc.stop()


def test_a_batch_larger_than_any_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar, "MOST_BYTES", 1000)
    cifar10_python(tmp_path)
    with pytest.raises(DataError, match="has more than 1,000 bytes, which no such file has"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files_take_no_more_memory_than_they_can_hold(tmp_path: Path, suffix: str) -> None:
    idx_files(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").unlink()
    header = b"\0\0\x08\x03" + b"\xff\xff\xff\xff" * 3
    content = gzip.compress(header + bytes(MEBI)) if suffix else header
    (tmp_path / f"train-images-idx3-ubyte{suffix}").write_bytes(content)
    with pytest.raises(DataError, match="its header announces 7922816"):
        load("idx", tmp_path)


def sparse(file: h5py.File) -> None:
    file.create_dataset("batches/samples", (2**45,), np.int64, chunks=(1024,))


def elsewhere(file: h5py.File) -> None:
    file["batches/samples"] = h5py.ExternalLink("/dev/zero", "/x")


def around(file: h5py.File) -> None:
    file.create_group("batches")["samples"] = h5py.SoftLink("/batches")


def outside(file: h5py.File) -> None:
    file.create_dataset("batches/samples", (8,), np.int64, external=[("/etc/passwd", 0, 64)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), np.int64)
    layout[:] = h5py.VirtualSource("/dev/zero", "x", (4,))
    file.create_virtual_dataset("batches/samples", layout)


@pytest.mark.parametrize("make", [sparse, elsewhere, around, outside, virtual])
def test_hdf5_files_hold_what_they_show(tmp_path: Path, make: Callable[[h5py.File], None]) -> None:
    with h5py.File(tmp_path / "traffic.h5", "w") as file:
        file.attrs["schema_version"] = 2
        make(file)
    with pytest.raises(CheckpointError, match=r"cannot be read as recorded traffic .*(points elsewhere|claims more)"):
        read_traffic(tmp_path / "traffic.h5")


def test_hdf5_groups_in_a_circle_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neurosim_ep.record.hdf5.OBJECTS", 100)
    with h5py.File(tmp_path / "traffic.h5", "w") as file:
        file.create_group("a")["b"] = file["/"]
    with pytest.raises(CheckpointError, match="cannot be read as recorded traffic"):
        read_traffic(tmp_path / "traffic.h5")


def test_pipes_and_programs_in_disguise_are_no_images(tmp_path: Path) -> None:
    folder_images(tmp_path)
    os.mkfifo(tmp_path / "train/red/pipe.png")
    assert len(load("folder", tmp_path).train_labels) == 5
    (tmp_path / "train/red/page.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(DataError, match=r"page\.png: not a readable image"):
        load("folder", tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("deep", "a = " + "[" * 900 + "]" * 900, "nested too deeply; 32 levels"),
        ("deep tables", "[" + ".".join(100 * "a") + "]", "nested too deeply; 32 levels"),
        ("long number", "a = " + "9" * 5000, "a whole number of more than 64 bits"),
        ("long hexadecimal number", "[training]\nepochs = 0x" + "f" * 5000, "training.epochs: holds a whole number"),
    ],
)
def test_toml_that_no_program_takes(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(ScenarioError, match=said):
        load_scenario(tmp_path / "x.toml")
    with pytest.raises(ScenarioError, match=r"must|valid TOML|64 bits|nested"):
        load_scenario("smoke", ["training.epochs=" + text.partition("= ")[2]])


def test_names_that_are_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pipes, homes of nobody, names of other encodings."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.toml")
    os.mkfifo("cifar-10-python.tar.gz")
    cifar10 = ["--set", "data.kind=cifar10", "--set"]
    for words, said in (
        (["check", "pipe.toml"], "no such file"),
        (["check", "smoke", "--set", "hardware.model=pipe.toml"], "no such file"),
        (["run", "smoke", *cifar10, "data.root=~nouser/x"], "no such file or directory"),
        (["run", "smoke", *cifar10, "data.root=cifar-10-python.tar.gz"], "no cifar10 data"),
        (["teach", "smoke", "--set", "signals.kind=kd", "--set", "signals.learned=false", "--set",
          "teacher.state_dict=pipe.toml"], "pipe.toml: no such file; check teacher.state_dict"),
        (["run", "smoke", *cifar10, 'data.root="a\\u0000b"'], "no such file or directory"),
        (["teach", "smoke", "--set", "signals.kind=kd", "--set", "signals.learned=false", "--set",
          'signals.teacher="a\\u0000b"'], "a path holds a NUL, which no path has"),
        (["run", "smoke", *cifar10, "data.root=\udcff"], "data.root = \\udcff: no such file"),
    ):  # fmt: skip
        assert main(words) == 2
        told = capsys.readouterr().err
        assert said in told and "Traceback" not in told


def test_a_device_file_that_would_not_be_read_is_not_written(tmp_path: Path) -> None:
    rows = "".join(f"{n},{'up' if n < 9 else 'down'},{1e-5 * min(1 + n, 18 - n)}\n" for n in range(18))
    (tmp_path / "pulses\x7f.csv").write_text("pulse,direction,conductance_S\n" + rows)
    found = fit.fit_device(tmp_path / "pulses\x7f.csv", "constant")
    with pytest.raises(UsageError, match=r"mine\.toml: would not be read as a device file, so it is not written"):
        found.write(tmp_path / "mine.toml")
    assert not (tmp_path / "mine.toml").exists()
