"""The worked examples of docs/extending.md, as packages that are installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from paths import DOCS

from neurosim_ep.scenario import describe

DOC = DOCS / "extending.md"


def example(heading: str, language: str = "python", number: int = 0) -> str:
    """The code under ``heading``, that of the block ``number`` in its ``language``."""
    section = DOC.read_text("utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return section.split(f"```{language}\n")[1 + number].split("```")[0]


@contextmanager
def installed(heading: str, group: str, entry: str, folder: Path) -> Iterator[None]:
    """The example under ``heading`` as an installed package with one ``entry`` point, "name = module:thing"."""
    name, _, module = entry.partition(" = ")
    module = module.split(":")[0]
    install(folder / "site", name, module, example(heading), f"[neurosim_ep.{group}]\n{entry}\n")
    describe._schema.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder / "site"))
        yield
    sys.modules.pop(module, None)
    describe._schema.cache_clear()


def install(folder: Path, name: str, module: str, code: str, entry_points: str) -> None:
    """Put the package ``name`` of one ``module`` into ``folder``, as pip would leave it."""
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(entry_points)
    (folder / f"{module}.py").write_text(code)
