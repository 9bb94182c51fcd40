"""Equations as MathML, which browsers draw by themselves: no script, no font and no network is needed.

In the pages they stand as GitHub reads them too: a fence ``math``, or ``$`...`$`` within a line.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import MathError, tex2mathml
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

_INLINE = re.compile(r"\$`([^`]+)`\$")


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the renderer ``mathml`` and equations within a line."""
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    app.connect("source-read", _equations_within_lines)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _equations_within_lines(_: Sphinx, __: str, content: list[str]) -> None:
    content[0] = _INLINE.sub(r"{math}`\1`", content[0])


def _inline(self: Any, node: nodes.math) -> None:
    self.body.append(_mathml(node, as_block=False))
    raise nodes.SkipNode


def _display(self: Any, node: nodes.math_block) -> None:
    self.body.append(f'<div class="equation">{_mathml(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def _mathml(node: nodes.Element, as_block: bool) -> str:
    try:
        return tex2mathml(node.astext(), as_block=as_block)
    except MathError as problem:
        raise ExtensionError(f"no equation: {node.astext()!r}: {problem}") from problem
