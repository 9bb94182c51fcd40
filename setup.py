"""The README as the page of a package index shows it: without what is only in a checkout, pictures and files."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import setup


def description(readme: str) -> str:
    """``readme`` without pictures and the captions below them, comments and links into the checkout."""
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)\n\n\*[^*]+\*\n\n", "", readme)
    text = re.sub(r"<!--.*?-->\n", "", text)
    return re.sub(r"\[([^\]]*)\]\((?!https:)[^)]*\)", r"\1", text)


if __name__ == "__main__":
    readme = (Path(__file__).parent / "README.md").read_text("utf-8")
    setup(long_description=description(readme), long_description_content_type="text/markdown")
