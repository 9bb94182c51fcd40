"""The worked examples of docs/extending.md, as packages that are installed."""

from __future__ import annotations

from pathlib import Path

from paths import DOCS

DOC = DOCS / "extending.md"


def example(heading: str) -> str:
    """The Python code under ``heading``."""
    section = DOC.read_text("utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return section.split("```python\n")[1].split("```")[0]


def install(folder: Path, name: str, module: str, code: str, entry_points: str) -> None:
    """Put the package ``name`` of one ``module`` into ``folder``, as pip would leave it."""
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(entry_points)
    (folder / f"{module}.py").write_text(code)
