"""The README leads somewhere, in a checkout and on the page of a package index."""

from __future__ import annotations

import re
import runpy

from paths import ROOT

README = (ROOT / "README.md").read_text("utf-8")


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)]+)\)", README)
    assert targets
    missing = [target for target in targets if not target.startswith("http") and not (ROOT / target).exists()]
    assert not missing


def test_the_page_of_an_index_has_nothing_that_only_a_checkout_has() -> None:
    description = runpy.run_path(str(ROOT / "setup.py"))["description"](README)
    assert re.findall(r"\]\((?!https://)[^)]*\)", description) == [] and "<!--" not in description
    assert "for researchers" in description and "Mean weight gradient" not in description
    assert description.split("\n\n")[1].startswith("Train deep networks by")
