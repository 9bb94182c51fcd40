"""The source distribution is the checkout; the wheel made of it carries the package with its scenarios, hardware models
and pictures, nothing else, and works by itself.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

import pytest
from paths import ROOT

from neurosim_ep import __version__

pytestmark = pytest.mark.whole

# Folder of the tree, and what of it lies where in the wheel.
SHIPPED = {
    "neurosim_ep": ("neurosim_ep", ["**/*.py", "py.typed", "record/export/booksim_reader/*", "report/page.*"]),
    "hwmodels": (
        "neurosim_ep/hwmodels",
        ["*.py", "*.toml", "validation/*.toml", "devices/*.toml", "cells/*.toml", "converters/*.toml"],
    ),
    "scenarios": ("neurosim_ep/scenarios", ["*.py", "*.toml", "cifar10/*.toml", "fre_rnn/*.toml", "paper/*.toml"]),
    "sweeps": ("neurosim_ep/sweeps", ["*.py", "*.toml"]),
    "trained": ("neurosim_ep/trained", ["*.py", "*.zip"]),
    "analysis": ("neurosim_ep/analysis", ["*.py"]),
}

UNTRACKED = shutil.ignore_patterns(
    ".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "*.pyc", "*.egg-info", "build", "dist", "runs", "_build"
)
MADE = {"PKG-INFO", "setup.cfg"}
"""What only a source distribution has, beside the egg-info."""
INFO = f"neurosim_ep-{__version__}.dist-info"


class Built(NamedTuple):
    tree: Path
    sdist: Path
    wheel: Path
    said: str


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A source distribution of a copy of the tree, so that the build leaves nothing in the tree, and its wheel."""
    folder = tmp_path_factory.mktemp("build")
    shutil.copytree(ROOT, folder / "tree", ignore=UNTRACKED)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", "tree"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ((sdist,), (wheel,)) = ((folder / "dist").glob(pattern) for pattern in ("*.tar.gz", "*.whl"))
    return Built(folder / "tree", sdist, wheel, done.stdout + done.stderr)


@pytest.fixture
def wheel(built: Built) -> Path:
    return built.wheel


def test_building_gives_no_warning(built: Built) -> None:
    warned = [line for line in built.said.splitlines() if re.search(r"WARNING|Warning|absent|deprecated", line)]
    assert not warned


def test_the_source_distribution_is_the_checkout(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
        runs = archive.getmember(f"neurosim_ep-{__version__}/.ci/run").mode
    tree = {path.relative_to(built.tree).as_posix() for path in built.tree.rglob("*") if path.is_file()}
    tree = {name for name in tree if ".egg-info/" not in name}
    assert {name for name in names if ".egg-info/" not in name} - MADE == tree - MADE
    assert {"LICENSE", "tests/conftest.py", "tests/helpers/paths.py", "docs/architecture.md"} <= names
    assert runs & 0o111


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
