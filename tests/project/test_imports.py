"""Imports point one way, and light commands load nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import ROOT

import neurosim_ep

PACKAGE = ROOT / "neurosim_ep"
HEAVY = {"torch", "numpy", "pandas", "scipy", "matplotlib", "h5py", "rich", "PIL"}

BASE = {"errors", "units", "registry", "strict", "display", "extras"}
FILES = BASE | {"resources", "scenario"}
PHYSICS = FILES | {"ep", "tiles"}
KEPT = FILES | {"tiles", "hardware", "record"}
COMPUTING = PHYSICS | {"threads", "ranks", "hardware", "record", "scheduler", "data", "teacher"}
# What each room may import besides itself; hardware gets tile plans and counts, never a network.
ALLOWED = {
    "strict": set(),
    "errors": set(),
    "units": set(),
    "display": set(),
    "extras": {"errors"},
    "registry": {"errors"},
    "progress": {"units"},
    "interrupts": set(),
    "threads": {"errors"},
    "ranks": {"errors", "interrupts"},
    "resources": {"errors"},
    "scenario": FILES,
    "ep": BASE | {"scenario"},
    "tiles": FILES | {"ep"},
    "hardware": FILES | {"tiles"},
    "record": FILES | {"tiles", "hardware"},
    "scheduler": PHYSICS | {"hardware"},
    "data": FILES | {"ep"},
    "teacher": FILES | {"ep", "record", "data"},
    "experiment": COMPUTING,
    "telemetry": COMPUTING | {"experiment"},
    "train": COMPUTING | {"experiment", "telemetry", "progress", "interrupts", "analysis", "report"},
    "diagnosis": COMPUTING | {"experiment", "telemetry", "analysis"},
    "sweep": FILES | {"record", "threads", "experiment", "train", "interrupts"},
    "analysis": BASE | {"record", "threads", "interrupts"},
    "reader": COMPUTING | {"experiment", "analysis"},
    "report": FILES | {"hardware", "record", "analysis", "sweep", "progress", "telemetry"},
}
FLOORS = {"model": set(), "chip": {"model"}, "bill": {"model", "chip"}}  # of hardware/


def imported_names(path: Path) -> Iterator[str]:
    """What the file imports anywhere, lazily or for types included."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def imported_rooms(path: Path) -> Iterator[str]:
    """Rooms of neurosim_ep that the file imports."""
    for name in imported_names(path):
        top, *rest = name.split(".")
        if top == "neurosim_ep" and rest and not rest[0].startswith("_"):
            yield rest[0]


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_point_one_way(room: str) -> None:
    folder = ROOT / room if room == "analysis" else PACKAGE / room
    files = list(folder.rglob("*.py")) or [PACKAGE / f"{room}.py"]
    for path in files:
        found = set(imported_rooms(path)) - {room}
        assert found <= ALLOWED[room], f"{path.relative_to(ROOT)} imports {sorted(found - ALLOWED[room])}"


@pytest.mark.parametrize("floor", FLOORS)
def test_hardware_has_three_floors(floor: str) -> None:
    for path in (PACKAGE / "hardware" / floor).rglob("*.py"):
        found = {name.split(".")[2] for name in imported_names(path) if name.startswith("neurosim_ep.hardware.")}
        assert found - {floor} <= FLOORS[floor], path


def test_every_room_has_its_rule() -> None:
    rooms = {path.stem for path in PACKAGE.iterdir() if not path.name.startswith(("_", "."))}
    assert rooms - {"cli", "py"} <= set(ALLOWED)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["schema"], ["list"], ["export", "--help"], ["run", "no_such_scenario"]]
)
def test_light_commands_load_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from neurosim_ep.cli import main; "
        f"main({arguments!r}); print(' '.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stderr.split())


def test_training_loads_neither_compiler_nor_scipy() -> None:
    """Together they take as long to load as PyTorch."""
    code = (
        "import sys, torch; before = set(sys.modules); from neurosim_ep.scenario.load import load_scenario; "
        "from neurosim_ep.train import run; run.Trainer(run.Experiment.open(load_scenario('mlp'), device='cpu')); "
        "print(' '.join(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch._dynamo", "torch._inductor", "scipy", "matplotlib", "rich"} & set(done.stdout.split())


def test_public_names_are_lazy_and_complete() -> None:
    code = f"import sys, neurosim_ep; assert not {HEAVY | {'pydantic'}!r} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    for name in neurosim_ep.__all__:
        assert callable(getattr(neurosim_ep, name))
    with pytest.raises(AttributeError, match="no attribute 'rnu'"):
        _ = neurosim_ep.rnu
