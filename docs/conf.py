"""The documentation as a site: ``sphinx-build -W -b html docs site``; no network is used, then or by the pages."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent / "site"), str(Path(__file__).parent.parent)]

from neurosim_ep import __version__  # noqa: E402

project, author, release = "neurosim-ep", "the neurosim-ep developers", __version__
copyright = author
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "equations", "written"]
exclude_patterns = ["site", "notebooks"]

myst_heading_anchors = 4
myst_enable_extensions = ["attrs_block", "colon_fence", "deflist"]
myst_fence_as_directive = ["math"]
html_math_renderer = "mathml"

add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"neurosim-ep {release}"
html_static_path = ["site/static"]
html_css_files = ["site.css"]
html_copy_source = False
smartquotes = False
copybutton_prompt_text = "$ "
