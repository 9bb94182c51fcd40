"""What stands in a report: valid HTML that loads nothing, every picture and table, readable colours."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from itertools import product
from pathlib import Path

import html5lib
import pytest
from paths import ROOT
from reports import REPORTS, reported

from neurosim_ep.cli import main
from neurosim_ep.errors import CheckpointError, UsageError
from neurosim_ep.report.figure import colour, on_colour
from neurosim_ep.report.page import report, write_report

LOADING = {"src", "srcset", "href", "data", "action", "poster", "xlink:href", "formaction", "background"}
PAGE = ROOT / "neurosim_ep/report"


@pytest.fixture(params=REPORTS)
def page(request: pytest.FixtureRequest):
    return reported(request.param)


def parsed(path: Path):
    """The document, which must be without any error."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(path.read_text(encoding="utf-8"))


def test_is_valid_and_loads_nothing(page) -> None:
    document = parsed(page.file)
    for element in document.iter():
        if not isinstance(element.tag, str):
            continue
        assert element.tag.rpartition("}")[2] not in {"link", "iframe", "img", "object", "embed", "base", "image"}
        for name, value in element.attrib.items():
            name = name if isinstance(name, str) else name[-1]
            assert name.lower() not in LOADING or value.startswith("#"), (element.tag, name, value)
            assert not name.lower().startswith("on") and name != "style"
    css = document.find(".//style").text
    assert "url(" not in css and "@import" not in css and "http" not in css
    assert "http" not in document.find(".//body/script").text
    policy = next(meta.get("content") for meta in document.iter("meta") if meta.get("http-equiv"))
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy


def test_has_every_picture_and_table(page) -> None:
    document = parsed(page.file)
    ids = [element.get("id") for element in document.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    figures = {name.removeprefix("figure-") for name in ids if name.startswith("figure-")}
    tables = {name.removeprefix("table-") for name in ids if name.startswith("table-")}
    assert (figures, tables) == (page.figures, page.tables)
    for figure in document.iter("figure"):
        (drawing,) = [svg for svg in figure.findall("div/{*}svg")]
        assert drawing.get("role") == "img" and len(drawing.get("aria-label")) > 40 and drawing.get("tabindex") == "0"
        marks = [mark for mark in drawing.iter() if "m" in (mark.get("class") or "").split()]
        assert marks and all((mark.find("{*}title").text or "").strip() for mark in marks)
    for table in document.iter("table"):
        heads = table.findall("thead/tr/th")
        assert table.find("tbody/tr") is not None and all(head.get("scope") == "col" for head in heads)
        if table.get("data-file"):
            assert table.find("caption") is not None and all(head.get("data-name") for head in heads)
            assert {len(row) for row in table.findall("tbody/tr")} == {len(heads)}
    for anchor in document.iter("a"):
        assert anchor.get("href")[1:] in ids
    assert page.file.stat().st_size < 400_000


def test_every_number_of_a_table_says_what_it_is(page) -> None:
    for head in parsed(page.file).iter("th"):
        if head.get("data-name"):
            meaning = head.find("span")
            assert meaning is not None and len(meaning.get("title")) > 5, head.get("data-name")


def test_says_what_repeats_it_and_with_which_versions(page) -> None:
    text = page.file.read_text(encoding="utf-8")
    assert re.search(r"neurosim-ep (run scenario.toml|sweep sweep.toml) --out again", text)
    assert "neurosim_ep 0." in text and "torch 2." in text and "python 3." in text
    if page.tables != {"points"}:
        assert "counted in the recorded batches" in text and "CACTI tables" in text  # sources of constants
        assert "EP against backpropagation" in text and "The whole scenario" in text


def test_colours_are_told_apart_by_everybody() -> None:
    css = (PAGE / "page.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    roots = [dict(re.findall(r"--([\w]+): (#[0-9a-f]+);", block)) for block in blocks]
    assert len(roots) == 3
    for colours in (roots[0], roots[0] | roots[1], roots[0] | roots[2]):
        for text, ground in product(("ink", "soft", "link", "good", "warn", "bad"), ("paper", "raised")):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground, colours)
        for number in range(7):
            assert contrast(colours[f"s{number}"], colours["paper"]) >= 3.0, (number, colours)
    for share in range(101):
        ink = {"dark": "#000", "light": "#fff"}[on_colour(share / 100)]
        assert contrast(ink, colour(share / 100)) >= 4.5


def contrast(one: str, two: str) -> float:
    """The ratio that WCAG 2 defines."""
    light, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.skipif(shutil.which("node") is None, reason="no node to check the script with")
def test_the_script_is_javascript() -> None:
    subprocess.run(["node", "--check", PAGE / "page.js"], check=True)


HOSTILE = '</script><script>alert(1)</script><img src="x" onerror="alert(2)">'


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A run that the test may damage."""
    return Path(shutil.copytree(reported("smoke_tiles").source, tmp_path / "own"))


def test_markup_in_files_is_text(own: Path) -> None:
    info = json.loads((own / "run.json").read_text())
    info["name"] = info["data"]["source"] = info["device"] = HOSTILE
    info["verdict"], info["argv"] = [HOSTILE], ["neurosim-ep", "run", HOSTILE]
    info["warnings"] = [{"sentence": HOSTILE, "epochs": [1]}]
    (own / "run.json").write_text(json.dumps(info))
    layers = (own / "layers.csv").read_text()
    (own / "layers.csv").write_text(layers.replace(",conv1,", ",<b>conv1</b>,"))
    document = parsed(write_report(own, own / "hostile.html"))
    assert len(list(document.iter("script"))) == 1 and not list(document.iter("img"))
    assert HOSTILE in "".join(document.itertext())


def test_what_was_not_recorded_is_said(own: Path) -> None:
    for name in ("traffic.h5", "cost.csv", "comparison.csv", "sensitivity.csv"):
        (own / name).unlink()
    document = parsed(write_report(own))
    reasons = ["".join(element.itertext()) for element in document.iter("p") if element.get("class") == "missing"]
    assert any(reason.startswith("Tiles and links: ") and "traffic.h5 does not exist" in reason for reason in reasons)
    ids = {element.get("id") for element in document.iter()}
    assert "figure-accuracy" in ids and "figure-components" not in ids


def test_a_run_that_has_only_begun(own: Path) -> None:
    for path in own.iterdir():
        if path.suffix in (".csv", ".h5") and path.name not in ("memory.csv", "area.csv"):
            path.unlink()
    info = json.loads((own / "run.json").read_text())
    info |= {"status": "running", "metrics": {}, "verdict": []}
    (own / "run.json").write_text(json.dumps({key: info[key] for key in info if key != "finished"}))
    text = "".join(parsed(write_report(own)).itertext())
    assert "The run is running; figures are those so far" in text and "0 of 2 epochs" in text


def test_refusals(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["report", str(tmp_path / "empty")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "is neither a run directory (no run.json) nor one of a sweep" in said
    with pytest.raises(UsageError, match="is a directory; name the file"):
        write_report(own, tmp_path)
    with pytest.raises(UsageError, match="cannot be written"):
        write_report(own, tmp_path / "no/such/report.html")
    before = (own / "report.html").read_bytes()
    (own / "epochs.csv").write_text("epoch,loss\n1,much\n")
    with pytest.raises(CheckpointError, match=r"epochs\.csv"):
        write_report(own)
    assert (own / "report.html").read_bytes() == before


def test_an_existing_file_is_replaced_whole(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.html"
    out.write_text("old")
    assert main(["report", str(own), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n" and out.read_text(encoding="utf-8") == report(own)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["mine.html"]


def test_a_sweep_without_results(tmp_path: Path) -> None:
    source = shutil.copytree(reported("sweep").source, tmp_path / "sweep")
    (source / "points.csv").unlink()
    text = "".join(parsed(write_report(source)).itertext())
    assert "points.csv does not exist" in text
