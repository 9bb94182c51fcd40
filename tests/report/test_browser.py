"""Reports in a real browser: no error, no request, and hover, keyboard, sorting, saving, phone, dark and print work."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import VARIABLE, Page, browser, find_browser
from PIL import Image
from reports import REPORTS, Reported, reported

pytestmark = [
    pytest.mark.whole,
    pytest.mark.skipif(
        find_browser() is None, reason=f"no Chromium or Chrome found; install one, or name it in {VARIABLE}"
    ),
]
TIP = "document.getElementById('tip').className === 'shown' ? document.getElementById('tip').textContent : null"


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def page(downloads: Path) -> Iterator[Page]:
    program = find_browser()
    assert program is not None
    with browser(program, downloads) as found:
        yield found


@pytest.fixture(params=REPORTS)
def opened(request: pytest.FixtureRequest, page: Page) -> Iterator[Reported]:
    """A report as it is opened at a desk; in the end it has said no error and asked for nothing but its own file."""
    found = reported(request.param)
    page.size(1200, 900)
    page.look(prefers_color_scheme="light", prefers_reduced_motion="reduce")
    page.open(found.file)
    yield found
    assert page.saw("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded") == []
    requests = [request["request"]["url"] for request in page.saw("Network.requestWillBeSent")]
    assert [url for url in requests if not url.startswith("blob:")] == [found.file.resolve().as_uri()]


def test_pictures_and_tables_are_seen(opened: Reported, page: Page, tmp_path: Path) -> None:
    for name in opened.figures:
        box = f"document.querySelector('#figure-{name} svg').getBoundingClientRect()"
        assert page.ask(f"{box}.width") > 300 and page.ask(f"{box}.height") > 60, name
    for name in opened.tables:
        assert page.ask(f"document.querySelector('#table-{name}').getBoundingClientRect().width") > 300
    page.picture(tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as picture:
        assert picture.width > 1100 and picture.height > 2500 and len(picture.convert("P").getcolors(256) or []) > 20


def test_what_is_pointed_at_says_what_it_is(opened: Reported, page: Page) -> None:
    for name in sorted(opened.figures):
        page.point(f"#figure-{name} .m")
        said = page.ask(TIP)  # of this mark, or of one that lies on it
        assert said in page.ask(f"[...document.querySelectorAll('#figure-{name} .m')].map(mark => mark.dataset.said)")
    page.point("header .def")
    assert page.ask(TIP) == page.ask("document.querySelector('header .def').getAttribute('aria-description')")
    if "tiles" in opened.figures:
        page.point("#figure-tiles .m")
        assert "per image" in page.ask(TIP) and "J" in page.ask(TIP) and "sends" in page.ask(TIP)
        page.point("#figure-links .m")
        assert page.ask(TIP).startswith("link from column")


def test_the_keyboard_reaches_everything(opened: Reported, page: Page) -> None:
    name = sorted(opened.figures)[0]
    page.ask(f"document.querySelector('#figure-{name} svg').focus()")
    marks = page.ask(f"[...document.querySelectorAll('#figure-{name} .m')].map(mark => mark.dataset.said)")
    for mark in (0, 1):
        page.press("ArrowRight")
        assert page.ask(TIP) == marks[mark]
    page.press("ArrowLeft")
    assert page.ask(TIP) == marks[0]
    page.press("Escape")
    assert page.ask(TIP) is None
    page.ask("document.querySelector('header .def').focus()")
    assert page.ask(TIP)
    page.ask("document.activeElement.blur()")
    page.press("Tab")
    assert page.ask("document.activeElement !== document.body")


def cells(page: Page, table: str, column: int) -> list[str]:
    rows = f"[...document.querySelector('#table-{table}').tBodies[0].rows]"
    return page.ask(f"{rows}.map(row => row.cells[{column}].dataset.v ?? row.cells[{column}].textContent)")


def test_tables_sort_by_mouse_and_keyboard(opened: Reported, page: Page) -> None:
    table = "points" if "points" in opened.tables else "components"
    heads = page.ask(f"[...document.querySelectorAll('#table-{table} thead th')].map(head => head.dataset.name)")
    column = next(place for place, name in enumerate(heads) if name.startswith("energy_"))
    values = [float(cell) for cell in cells(page, table, column) if cell]
    head = f"#table-{table} thead th:nth-child({column + 1})"
    page.point(f"{head} button", click=True)
    assert [float(cell) for cell in cells(page, table, column) if cell] == sorted(values)
    assert page.ask(f"document.querySelector('{head}').getAttribute('aria-sort')") == "ascending"
    page.ask(f"document.querySelector('{head} button').focus()")
    page.press("Enter")
    assert [float(cell) for cell in cells(page, table, column) if cell] == sorted(values, reverse=True)
    assert page.ask(f"document.querySelector('{head}').getAttribute('aria-sort')") == "descending"
    page.point(f"#table-{table} thead th:nth-child(1) button", click=True)
    names = cells(page, table, 0)
    assert names == sorted(names)


def test_tables_are_saved_as_csv(opened: Reported, page: Page, downloads: Path) -> None:
    table, source = ("points", "points.csv") if "points" in opened.tables else ("comparison", "comparison.csv")
    for old in downloads.iterdir():
        old.unlink()
    page.ask(f"document.querySelector('#table-{table}').closest('.table').querySelector('button.tool').click()")
    while "completed" not in [found["state"] for found in page.saw("Page.downloadProgress")]:
        page.read()
    saved = list(csv.DictReader(io.StringIO((downloads / f"{table}.csv").read_text(encoding="utf-8"))))
    wanted = list(csv.DictReader(io.StringIO((opened.source / source).read_text(encoding="utf-8"))))
    assert len(saved) == len(wanted)
    for row, its in zip(saved, wanted, strict=True):
        assert {name: number(cell) for name, cell in row.items()} == {name: number(its[name]) for name in row}


def number(cell: str) -> object:
    try:
        return float(cell)
    except ValueError:
        return cell


def test_fits_a_phone_and_the_night(opened: Reported, page: Page) -> None:
    page.size(360, 740, phone=True)
    page.look(prefers_color_scheme="dark")
    page.open(opened.file)
    assert page.ask("document.scrollingElement.scrollWidth") <= 360
    shade = page.ask("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, shade.removeprefix("rgb(").removesuffix(")").split(","))) < 120
    words = "[...document.querySelectorAll('svg text:not(.small)')]"
    heights = page.ask(f"{words}.map(text => text.getBoundingClientRect().height)")
    assert min(height for height in heights if height) > 8


def test_prints(opened: Reported, page: Page, tmp_path: Path) -> None:
    page.pdf(tmp_path / "page.pdf")
    content = (tmp_path / "page.pdf").read_bytes()
    assert content.startswith(b"%PDF") and 2 <= content.count(b"/Type /Page\n") <= 30
    assert page.ask("[...document.querySelectorAll('details.paper')].every(part => part.open)")
