"""The wheel carries the package with its scenarios, hardware models and pictures, nothing else, and works by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from paths import ROOT

from neurosim_ep import __version__

# Folder of the tree, and what of it lies where in the wheel.
SHIPPED = {
    "neurosim_ep": ("neurosim_ep", ["**/*.py", "py.typed", "record/export/booksim_reader/*", "report/page.*"]),
    "hwmodels": (
        "neurosim_ep/hwmodels",
        ["*.py", "*.toml", "validation/*.toml", "devices/*.toml", "cells/*.toml", "converters/*.toml"],
    ),
    "scenarios": ("neurosim_ep/scenarios", ["*.py", "*.toml", "cifar10/*.toml", "fre_rnn/*.toml", "paper/*.toml"]),
    "sweeps": ("neurosim_ep/sweeps", ["*.py", "*.toml"]),
    "analysis": ("neurosim_ep/analysis", ["*.py"]),
}

UNTRACKED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs")
INFO = f"neurosim_ep-{__version__}.dist-info"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the tree, so that the build leaves nothing in the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "tree", ignore=UNTRACKED)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", "tree"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (folder / "dist").iterdir()
    return path


def files_of_the_tree() -> set[str]:
    return {
        f"{place}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, (place, patterns) in SHIPPED.items()
        for pattern in patterns
        for path in (ROOT / folder).glob(pattern)
    }


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    packaged = {name for name in names if not name.startswith(f"{INFO}/")}
    assert packaged == files_of_the_tree()
    assert {"neurosim_ep/py.typed", "neurosim_ep/analysis/plot.py", "neurosim_ep/hwmodels/rram_32nm.toml"} <= packaged
    assert f"{INFO}/licenses/LICENSE" in names


def test_the_wheel_offers_the_command(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        entry_points = archive.read(f"{INFO}/entry_points.txt").decode()
    assert entry_points == "[console_scripts]\nneurosim-ep = neurosim_ep.__main__:program\n"


def run_python(folder: Path, path: Path, *arguments: str) -> str:
    """What Python says in ``folder``, outside of the tree, with the package that lies in ``path``."""
    environment = {**os.environ, "PYTHONPATH": str(path)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout


def test_the_unpacked_wheel_works_outside_the_tree(wheel: Path, tmp_path: Path) -> None:
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    ZipFile(wheel).extractall(site)
    elsewhere.mkdir()
    listing = run_python(elsewhere, site, "-m", "neurosim_ep", "list")
    for folder in ("scenarios", "sweeps", "hwmodels"):
        for path in (ROOT / folder).glob("*.toml"):
            assert f"  {path.stem} " in listing
    code = "import neurosim_ep.analysis.plot as plot; print(plot.__file__)"
    assert run_python(elsewhere, site, "-c", code).strip() == str(site / "neurosim_ep" / "analysis" / "plot.py")


def test_the_tree_works_without_installation(tmp_path: Path) -> None:
    code = (
        "import neurosim_ep.analysis as pictures; from neurosim_ep.resources import shipped_files; "
        "print(pictures.__file__, *shipped_files('scenarios').values(), sep='\\n')"
    )
    shutil.copytree(ROOT, tmp_path / "tree", ignore=UNTRACKED)
    found = run_python(tmp_path, tmp_path / "tree", "-c", code).splitlines()
    assert found[0] == str(tmp_path / "tree" / "analysis" / "__init__.py")
    folder = tmp_path / "tree" / "scenarios"
    files = [
        *sorted(folder.glob("*.toml")),
        *sorted(folder.glob("cifar10/*.toml")),
        *sorted(folder.glob("fre_rnn/*.toml")),
        *sorted(folder.glob("paper/*.toml")),
    ]
    assert found[1:] == [str(path) for path in files]
