"""README.md and docs/: every page has a way in and out, and what it shows runs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from pages import MARKS, PAGES, TINY, Block, blocks, is_pattern, problem_of, within_sentences
from paths import DOCS, ROOT
from tiny_run import tiny_run

from neurosim_ep.analysis import plot, style
from neurosim_ep.analysis.plot import PICTURES
from neurosim_ep.cli import main

IDS = [path.relative_to(ROOT).as_posix() for path in PAGES]
RUN_THERE = [
    page
    for page in PAGES
    if any(b.mark not in ("long", "tested") and (b.commands or b.language == "python") for b in blocks(page))
]
DONE: dict[tuple[str, ...], Path] = {}
"""Commands that were run, and in which folder."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("pages") / "run", "data.train_samples=64", "data.test_samples=20")


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_and_their_options_exist(page: Path) -> None:
    shown = [words for block in blocks(page) for words in block.commands] + within_sentences(page)
    assert [problem for words in shown if (problem := problem_of(words))] == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_marks_are_known_and_other_programs_marked(page: Path) -> None:
    for block in blocks(page):
        assert block.mark in ("", *MARKS), block
        assert block.mark in ("long", "tested") or not block.others, f"neither run nor marked: {block.others}"
        assert block.mark != "tested" or (ROOT / block.value).is_file()


@pytest.mark.whole
@pytest.mark.parametrize("page", RUN_THERE, ids=[path.relative_to(ROOT).as_posix() for path in RUN_THERE])
def test_what_a_page_shows_runs(
    page: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(style.STYLE, "figure.dpi", 40)  # pictures have tests of their own: a few coarse ones do here
    monkeypatch.setattr(plot, "PICTURES", {name: PICTURES[name] for name in ("gradients", "energy")})
    names: dict[str, object] = {"__name__": "shown"}
    for block in blocks(page):
        if block.mark not in ("long", "tested"):
            for folder in {"RUN_DIR", block.value if block.mark == "given" else "RUN_DIR"}:
                if folder in block.text and not Path(folder).exists():
                    shutil.copytree(finished, folder)
            _show(block, names, capsys)


def _show(block: Block, names: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    if block.mark == "file":
        Path(block.value).write_text(block.text, "utf-8")
    elif block.language == "python":
        exec(block.text, names)
    for words in block.commands:
        if not is_pattern(words) and not _done_before(words):
            more = TINY.get(words[0], []) if block.mark == "tiny" else []
            assert main([*words, *more]) == 0, f"{' '.join(words)}: {capsys.readouterr().err[-2000:]}"


def _done_before(words: list[str]) -> bool:
    """Whether another page gave the same command, without a file of its own: then what it left is taken from there."""
    if words[0] not in ("run", "plot", "reproduce", "diagnose", "gdu", "estimate", "explain"):
        return False
    if any(word.endswith(".toml") for word in words):
        return False
    before = DONE.setdefault(tuple(words), Path.cwd())
    if before == Path.cwd():
        return False
    if "--out" in words:
        out = words[words.index("--out") + 1]
        shutil.copytree(before / out, out)
    return True


@pytest.mark.parametrize("page", [page for page in PAGES[1:] if page != DOCS / "index.md"], ids=lambda page: page.stem)
def test_a_page_says_for_whom_it_is_and_what_comes_next(page: Path) -> None:
    title, way = page.read_text("utf-8").split("\n\n")[:2]
    assert title.startswith("# ") and re.match(r"> \*\*For\*\* .*\*\*Next\*\*: .*\]\(.*\.$", way, re.DOTALL), way


def test_every_picture_of_a_run_has_an_entry() -> None:
    text = (DOCS / "pictures.md").read_text("utf-8")
    assert [name for name in PICTURES if f"\n### {name}\n" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_addresses_are_well_formed(page: Path) -> None:
    for address in re.findall(r"\]\((\w+:[^)]*)\)", page.read_text("utf-8")):
        assert re.fullmatch(r"https://[\w.-]+\.[a-z]+(/[\w./%#?=&~+:-]*)?", address), address
