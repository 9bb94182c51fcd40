"""The directory of a sweep.

sweep.toml        the sweep file as it was written     sweep.json   what it was read as: kind, keys, points
scenarios/NAME.toml                                    the whole scenario of a point
runs/NAME/        the run, or the estimate, of a point
logs/NAME.log     what its command said; locked as long as that command lives
points.csv        settings, status, final metrics and cost of every point
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from neurosim_ep.errors import SweepError, UsageError, listed, require_version
from neurosim_ep.record.atomic import write_atomic, write_json
from neurosim_ep.record.lock import LOCK, lock_file, locked
from neurosim_ep.record.rundir import iso_time, versions
from neurosim_ep.resources import read_json, read_toml
from neurosim_ep.scenario.load import dump_scenario
from neurosim_ep.strict import Strict, broken_rule
from neurosim_ep.sweep.file import EstimateSection, SlurmSection, read_sweep
from neurosim_ep.sweep.points import LONGEST_NAME, Plan, Point

SCHEMA_VERSION = 1
DOCUMENT, SOURCE, TABLE = "sweep.json", "sweep.toml", "points.csv"
BEGUN = {SOURCE, f".{SOURCE}.tmp", f".{DOCUMENT}.tmp", "scenarios", LOCK, "lost+found"}
"""What a command that was killed before the sweep began may leave."""


class PointEntry(Strict):
    """A point in :data:`DOCUMENT`; ``name`` is that of its files, which lie in the directory and nowhere else."""

    name: Annotated[str, Field(pattern=r"^\d[A-Za-z0-9_.+=-]*$", max_length=LONGEST_NAME)]
    settings: dict[str, Any]


class Document(Strict):
    """What :data:`DOCUMENT` says of the sweep; what later versions add to it is passed over."""

    model_config = ConfigDict(extra="ignore")

    kind: Literal["run", "estimate"]
    begun: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    varied: tuple[str, ...] = Field(alias="keys", strict=False)
    points: tuple[PointEntry, ...] = Field(strict=False)

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if len({point.name for point in self.points}) < len(self.points):
            raise ValueError("two of its points have one name")
        if not self.points or any(point.settings.keys() != set(self.varied) for point in self.points):
            raise ValueError("its points must have the keys that vary, and these alone")
        return self


@dataclass(frozen=True)
class SweepDirectory:
    """A sweep directory that has begun."""

    path: Path
    document: Document

    @staticmethod
    def is_at(path: Path) -> bool:
        """Whether a sweep has begun at ``path``."""
        return (path / DOCUMENT).is_file()

    @classmethod
    def open(cls, path: Path) -> Self:
        """The sweep directory at ``path``. Raises :class:`SweepError` when this version cannot read it."""
        if not cls.is_at(path):
            raise SweepError(f"{path}: is no sweep directory (no {DOCUMENT}); give one that `neurosim-ep sweep` made")
        return cls(path, _read_document(path / DOCUMENT))

    @classmethod
    def begin(cls, path: Path, source: Path, plan: Plan) -> Self:
        """Make a sweep of the empty or missing directory at ``path``; :data:`DOCUMENT` comes last.

        Raises :class:`UsageError` where something else is there.
        """
        from neurosim_ep.train.pinned import pinned

        path.mkdir(parents=True, exist_ok=True)
        with locked(path):
            if others := {entry.name for entry in path.iterdir()} - BEGUN:
                raise UsageError(f"{path}: is not empty and holds no sweep ({min(others)}); choose another --out")
            write_atomic(path / SOURCE, source.read_bytes())
            for folder in ("scenarios", "runs", "logs"):
                (path / folder).mkdir(exist_ok=True)
            for point, scenario in plan.points:
                (path / f"scenarios/{point.name}.toml").write_text(dump_scenario(pinned(scenario)), encoding="utf-8")
            document = {
                "schema_version": SCHEMA_VERSION, "kind": plan.file.sweep.kind, "keys": plan.keys,
                "begun": iso_time(datetime.now(UTC)), "versions": versions(),
                "points": [{"name": point.name, "settings": point.settings} for point, _ in plan.points],
            }  # fmt: skip
            write_json(path / DOCUMENT, document)
        return cls.open(path)

    def require_source(self, source: Path) -> None:
        """Take over what ``source`` says about Slurm. Raises :class:`UsageError` where its points are others."""
        before, now = (read_toml(path, SweepError) for path in (self.path / SOURCE, source))
        if {**before, "slurm": None} != {**now, "slurm": None}:
            raise UsageError(
                f"{self.path}: was begun with another {source.name}; choose another --out, or go on with what was "
                f"begun by `neurosim-ep sweep {self.path}`"
            )
        if before != now:
            write_atomic(self.path / SOURCE, source.read_bytes())

    @property
    def kind(self) -> str:
        return self.document.kind

    @property
    def keys(self) -> list[str]:
        """Dotted keys that vary."""
        return list(self.document.varied)

    @cached_property
    def points(self) -> list[Point]:
        return [Point(point.name, point.settings) for point in self.document.points]

    @property
    def slurm(self) -> SlurmSection:
        return read_sweep(self.path / SOURCE).slurm

    @property
    def estimate(self) -> EstimateSection:
        return read_sweep(self.path / SOURCE).estimate

    def scenario(self, point: Point) -> Path:
        return self.path / "scenarios" / f"{point.name}.toml"

    def run(self, point: Point) -> Path:
        return self.path / "runs" / point.name

    def log(self, point: Point) -> Path:
        return self.path / "logs" / f"{point.name}.log"

    def command(self, point: Point, device: str) -> list[str]:
        """The words after `neurosim-ep` that begin ``point``, or go on with it."""
        if self.kind == "estimate":
            told: Mapping[str, Any] = self.estimate.model_dump(exclude_none=True)
            options = [word for name, value in told.items() for word in (f"--{name}", str(value))]
            out = str(self.run(point))
            return ["estimate", str(self.scenario(point)), "--out", out, "--device", device, *options]
        if (self.run(point) / "run.json").exists():
            return ["resume", str(self.run(point)), "--device", device]
        return ["run", str(self.scenario(point)), "--out", str(self.run(point)), "--device", device]


def _read_document(path: Path) -> Document:
    found = read_json(path, SweepError)
    remedy = "use the neurosim-ep version that made the sweep"
    require_version(path, found.get("schema_version"), SCHEMA_VERSION, SweepError, remedy)
    try:
        return Document.model_validate(found)
    except ValidationError as error:
        problems = [broken_rule(".".join(map(str, one["loc"])) or DOCUMENT, one) for one in error.errors()]
        said = listed(f"{path}: damaged or edited", problems)
        raise SweepError(f"{said}\nrestore it from a copy, or begin the sweep again with another --out") from error


@contextmanager
def holding(log: Path, mode: str) -> Iterator[int | None]:
    """The descriptor of the ``log`` of a point, opened in ``mode`` and locked, for a command to write to and to hold;
    None where another command holds it.
    """
    with log.open("ab") as file:
        if not lock_file(file.fileno()):
            yield None
            return
        if mode == "w":
            file.truncate(0)
        yield file.fileno()


def is_held(log: Path) -> bool:
    """Whether the command of a point is alive."""
    try:
        with log.open("r+b") as file:
            return not lock_file(file.fileno())
    except FileNotFoundError:
        return False
