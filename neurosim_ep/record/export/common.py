"""What all exporters share: a folder that appears complete, with export.json beside what was written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from neurosim_ep.errors import UsageError
from neurosim_ep.record.atomic import write_json
from neurosim_ep.record.whole_folder import DOCUMENT, new_folder, refuse_filled

Found = TypeVar("Found")


class Exporter(ABC, Generic[Found]):
    """A file format of another simulator. ``name``: what `--format` calls it; ``sentence``: what it is; ``files``: what
    it writes beside export.json, as patterns; ``choices``: options of the command that :meth:`read` takes.
    """

    name: ClassVar[str]
    sentence: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    choices: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def read(self, run_dir: Path, **choices: Any) -> Found:
        """What is to be written of the run in ``run_dir``, as :attr:`choices` say. Raises :class:`NeurosimError` where
        it lacks that.
        """

    @abstractmethod
    def write(self, folder: Path, found: Found) -> dict[str, Any]:
        """Write what was :meth:`read` into ``folder``; returns what export.json says."""

    def told(self, document: dict[str, Any]) -> list[str]:
        """Lines about what was written, for the terminal."""
        return []

    def export(self, run_dir: Path, out: Path, **choices: Any) -> dict[str, Any]:
        """Write the run in ``run_dir`` to the new folder ``out``; returns what export.json says.

        Raises :class:`UsageError` when ``out`` cannot be made or the format knows no such choice, and what :meth:`read`
        raises.
        """
        for choice in choices.keys() - set(self.choices):
            known = ", ".join(f"--{name}" for name in self.choices) or "none"
            raise UsageError(f"--{choice}: the format {self.name} has no such choice ({known}); leave it away")
        refuse_filled(out)
        found = self.read(run_dir, **choices)
        with new_folder(out) as folder:
            document = self.write(folder, found)
            write_json(folder / DOCUMENT, document)
        return document


def write_lines(path: Path, lines: list[str]) -> None:
    """A text file of these lines."""
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
