"""What README.md and docs/ tell readers to type, so that the tests type it too.

Every block of commands or Python is run as it stands, those of a page in turn in one folder, unless a comment in the
line before it says otherwise:

- ``<!-- long -->``: takes longer than a test may; that its commands and options exist is checked.
- ``<!-- tiny -->``: is run with few images (:data:`TINY` is added to its commands).
- ``<!-- file: NAME -->``: is the text of the file NAME, which the blocks behind it find.
- ``<!-- given: DIR -->``: finds a finished run of ``smoke`` in DIR, as every block does in ``RUN_DIR``.
- ``<!-- tested: PATH -->``: is run by that file of the checkout.

Commands that hold placeholders (``SCENARIO``, ``[--out DIR]``) are only checked for being there, and so are those
within sentences.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from paths import DOCS, ROOT

from neurosim_ep.cli import cli

PAGES = (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))
MARKS = ("long", "tiny", "file", "given", "tested")
_FEW = "--set data.train_samples=20 --set data.test_samples=10 --set telemetry.plots=false"
TINY = {
    "run": _FEW.split(),
    "teach": _FEW.split(),
    "estimate": ["--samples", "1"],
    "diagnose": ["--samples", "10"],
    "gdu": ["--samples", "1"],
}
_BLOCK = re.compile(r"^(?:<!-- ([^\n]*) -->\n)?```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_WITHIN = re.compile(r"(?<!`)`(neurosim-ep [^`]*)`(?!`)")
_PLACEHOLDER = re.compile(r"\.\.\.|[\[\]|<>]|\b(?!RUN_DIR\b|DIR\b)[A-Z][A-Z_]+\b(?![.=])")
_OTHER_PROGRAM = re.compile(r"(\$ )?(python3? |pytest|pip |uv |pipx |docker |torchrun |export |for |sbatch |\.venv)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its ``language``, its ``text``, and what the comment before it says."""

    language: str
    text: str
    mark: str = ""
    value: str = ""

    @property
    def commands(self) -> list[list[str]]:
        """The calls of neurosim-ep in a block without language; where any has a prompt, the others are output."""
        if self.language not in ("", "console"):
            return []
        lines = self.text.replace("\\\n", " ").splitlines()
        if any(line.startswith("$ ") for line in lines):
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        return [words for line in lines for words in calls(line)]

    @property
    def others(self) -> list[str]:
        """Lines that call another program."""
        shell = self.language in ("", "console")
        return [line for line in self.text.splitlines() if shell and _OTHER_PROGRAM.match(line)]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of ``page``."""
    found = []
    for comment, language, text in _BLOCK.findall(page.read_text("utf-8")):
        mark, _, value = comment.partition(": ")
        found.append(Block(language, text, mark, value))
    return found


def calls(line: str) -> Iterator[list[str]]:
    """The words behind ``neurosim-ep`` of each call in a line of shell."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # a quote in a line of output
        return
    call: list[str] = []
    for word in [*words, "&&"]:
        if word not in ("&&", "|", "2>&1", ">"):
            call.append(word)
        else:
            while call and re.fullmatch(r"[A-Z_]+=.*", call[0]):
                call.pop(0)
            if call and call[0].rpartition("/")[2] == "neurosim-ep":
                yield call[1:]
            call = []


def within_sentences(page: Path) -> list[list[str]]:
    """The calls that the sentences of ``page`` name."""
    text = _BLOCK.sub("", page.read_text("utf-8"))
    return [words for line in _WITHIN.findall(text) for words in calls(" ".join(line.split()))]


def is_pattern(words: list[str]) -> bool:
    """Whether a command stands for many."""
    return any(_PLACEHOLDER.search(word) or "$" in word for word in words)


def problem_of(words: list[str]) -> str:
    """Why ``words`` are no command with options that it has; empty where they are one."""
    words = [word.strip("[]") for word in words if word not in ("...", "[...]")]
    command, rest = cli, list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        if name.isupper():
            return ""
        if name not in command.commands:
            return f"no command {name!r} in {' '.join(words)!r}"
        command = command.commands[name]
    context = click.Context(command, info_name=command.name, **cli.context_settings)  # click keeps its names of help
    try:
        command.make_parser(context).parse_args(rest)
    except click.UsageError as problem:
        return f"{' '.join(words)!r}: {problem.message}"
    return ""
