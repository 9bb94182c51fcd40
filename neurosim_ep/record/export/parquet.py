"""`neurosim-ep export --format parquet`: every table of a run, and its traffic, as tidy Parquet files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from neurosim_ep.extras import require_extra
from neurosim_ep.record.export.common import Exporter
from neurosim_ep.record.frames import TABLES, read_frame, read_traffic
from neurosim_ep.record.rundir import RunDirectory, versions

TRAFFIC = "traffic"


class Parquet(Exporter[RunDirectory]):
    """One file per table, and one per table of traffic.h5 in a folder of its own."""

    name = "parquet"
    sentence = "all tables and the recorded traffic for pandas, Polars, DuckDB, R: a file per table, units in metadata"
    files = ("*.parquet", f"{TRAFFIC}/*.parquet")

    def read(self, run_dir: Path, **choices: Any) -> RunDirectory:
        """The run. Raises :class:`UsageError` without pyarrow, :class:`CheckpointError` where there is no run."""
        require_extra("--format parquet", "parquet", "pyarrow")
        return RunDirectory.open(run_dir)

    def write(self, folder: Path, found: RunDirectory) -> dict[str, Any]:
        """See :meth:`Exporter.write`."""
        about = {"run": {"name": found.info().get("name"), "directory": found.path.resolve().name}}
        files: dict[str, int] = {}
        for name, frame in _frames(found):
            path = folder / f"{name}.parquet"
            path.parent.mkdir(exist_ok=True)
            _write(path, frame, {**about["run"], "table": name})
            files[path.relative_to(folder).as_posix()] = len(frame)
        return {
            "format": self.name, **about, "versions": versions(), "files": list(files), "rows": files,
            "units": 'metadata "unit" of every column: "" of names and plain numbers',
        }  # fmt: skip

    def told(self, document: dict[str, Any]) -> list[str]:
        """See :meth:`Exporter.told`."""
        return [f"{len(document['files'])} tables, {sum(document['rows'].values()):,} rows"]


def _frames(run: RunDirectory) -> Iterator[tuple[str, pd.DataFrame]]:
    """The tables that the run has, one in memory at a time."""
    for name in TABLES:
        if (path := run.path / f"{name}.csv").is_file():
            yield name, read_frame(path)
    if (run.path / "traffic.h5").is_file():
        for name, frame in read_traffic(run.path).items():
            yield f"{TRAFFIC}/{name}", frame


def _write(path: Path, frame: pd.DataFrame, about: dict[str, Any]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.Table.from_pandas(frame, preserve_index=False)
    units = frame.attrs["units"]
    fields = [field.with_metadata({"unit": units[field.name]}) for field in table.schema]
    metadata = {**(table.schema.metadata or {}), b"neurosim_ep": json.dumps(about).encode()}
    parquet.write_table(table.cast(pa.schema(fields, metadata=metadata)), path)
