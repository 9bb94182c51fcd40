"""The commands that repeat a run, and everything that it was made with."""

from __future__ import annotations

import shlex
from pathlib import Path

from neurosim_ep.analysis.load import Run
from neurosim_ep.report.markup import Html, join, plain, tag
from neurosim_ep.report.tables import facts
from neurosim_ep.units import format_bits


def repeat(run: Run) -> Html:
    """The commands that repeat the run, what it was made with, and its whole scenario."""
    info = run.info
    argv = info.get("argv") or []
    typed = shlex.join(map(plain, argv)) if argv else ""
    data, memory, versions = info.get("data") or {}, info.get("peak_memory") or {}, info.get("versions") or {}
    threads = f" --threads {info['threads']}" if isinstance(info.get("threads"), int) else ""
    again = f"neurosim-ep run scenario.toml --out again{threads}"
    rows = [
        ("images", data.get("source")),
        ("SHA-256 of the images", data.get("digest")),
        ("seed", info.get("seed")),
        ("device", info.get("device")),
        ("threads", info.get("threads")),
        ("precision", info.get("precision")),
        (
            "peak memory",
            f"{format_bits(8 * memory['bytes'])} ({plain(memory.get('where', ''))})"
            if isinstance(memory.get("bytes"), int)
            else "",
        ),
        ("started", info.get("started")),
        ("finished", info.get("finished")),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("directory", run.path.resolve()),
    ]
    changes = [
        tag(
            "li",
            f"after epoch {change.get('epoch')}: {', '.join(map(plain, change.get('set') or []))} "
            f"({change.get('time')})",
        )
        for change in info.get("changes") or []
    ]
    return join(
        tag("p", "The scenario below holds every key; this repeats the run, bit for bit on the same kind of device:"),
        tag("pre", again, data_copy=True),
        [tag("p", "It was typed as:"), tag("pre", typed, data_copy=True)] if typed else None,
        [tag("p", "Changed on the way:"), tag("ul", changes)] if changes else None,
        facts(rows),
        _file("The whole scenario", run.path / "scenario.toml"),
        _file("The hardware model", run.path / "hardware.toml"),
    )


def _file(name: str, path: Path) -> Html | None:
    text = text_of(path)
    return tag("details", tag("summary", name), tag("pre", text, data_file=path.name)) if text else None


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
