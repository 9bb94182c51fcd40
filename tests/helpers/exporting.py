"""Exports as the command makes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from neurosim_ep.cli import main


def export(run_dir: Path, form: str, out: Path, style: str | None = None) -> dict[str, Any]:
    chosen = ["--style", str(style)] if style else []
    assert main(["export", str(run_dir), "--format", form, "--out", str(out), *chosen]) == 0
    document: dict[str, Any] = json.loads((out / "export.json").read_text())
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == {
        "export.json",
        *document["files"],
    }
    return document
