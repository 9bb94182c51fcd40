"""Pages of the reference, written from the package while the site is built: they cannot say something else than it.

The directive ``written`` stands for one of them. The keys of scenarios and hardware models come from the functions
behind ``neurosim-ep schema`` and ``hw schema``, commands from their own ``--help``, Python from docstrings, what is
shipped from the shipped files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import ClassVar

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import neurosim_ep
from neurosim_ep.cli import cli
from neurosim_ep.hardware.model import describe as models
from neurosim_ep.resources import shipped_files
from neurosim_ep.scenario import describe as scenarios


class Written(SphinxDirective):
    """``{written} scenario``: what the function of that name in :data:`PAGES` gives, as Markdown; a word behind the
    name is its argument.
    """

    required_arguments, optional_arguments = 1, 1
    has_content = False
    option_spec: ClassVar = {}

    def run(self) -> list[nodes.Node]:
        """The page's sections."""
        page, *rest = self.arguments
        text = PAGES[page](*rest)
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("written", Written)
    app.connect("autodoc-process-docstring", unpacked)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def scenario() -> str:
    """Every key of a scenario file."""
    parts = []
    for name in scenarios.names_at(()):
        meaning, keys = scenarios.describe_section(name)
        parts += [f"(scenario-{name})=\n## [{name}]", meaning, table([scenario_row(key) for key in keys])]
    return "\n\n".join(parts)


def scenario_row(key: scenarios.KeyDescription) -> tuple[str, str]:
    """A key, and in one cell what is to be said of it."""
    names = [f"<br>· {code(value)}: {plain(sentence)}" for value, sentence in key.sentences.items()]
    unit = f" [{key.unit}]" if key.unit else ""
    default = f" = {code(key.default)}" if key.default else ", required"
    return f"{code(key.name)}{unit}{default}", f"{plain(key.meaning)}<br><i>{plain(key.rule)}</i>{''.join(names)}"


def hardware_model() -> str:
    """Every key of a hardware model file."""
    parts = []
    for name in models.sections():
        about, keys = models.section_words(name)
        parts += [f"(model-{name})=\n## [{name}]", plain(about), table([model_row(key) for key in keys])]
    return "\n\n".join(parts)


def model_row(key: models.KeyInWords) -> tuple[str, str]:
    """A key of a hardware model, and in one cell what is to be said of it."""
    unit = f" [{key.unit}]" if key.unit else ""
    enters = f"<br>enters: {', '.join(code(line) for line in key.lines)}" if key.lines else ""
    node = f"; follows the node by {code('scaling.' + key.node)}" if key.node else ""
    meaning = f"{plain(key.meaning)}<br><i>{plain(key.rule)}</i>{node}{enters}"
    return f"{code(key.key)}{unit} {plain(key.default)}", meaning


def commands() -> str:
    """The help of every command."""
    parts = []
    for path, command in walked(cli, ()):
        context = click.Context(command, info_name=" ".join(("neurosim-ep", *path)), max_content_width=100)
        parts.append(f"(command-{'-'.join(path)})=\n## {' '.join(path)}\n\n```text\n{command.get_help(context)}\n```")
    return "\n\n".join(parts)


def walked(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command below ``group`` with the words that call it."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from walked(command, (*path, name))
        else:
            yield (*path, name), command


def python() -> str:
    """The public names, from their docstrings."""
    parts = []
    for name in neurosim_ep.__all__:
        home = neurosim_ep._HOMES[name]
        kind = "autoclass" if name[0].isupper() else "autofunction"
        members = "\n   :members:" if kind == "autoclass" else ""
        parts.append(f"## {name}\n\n```{{eval-rst}}\n.. {kind}:: {home}.{name}{members}\n```")
    return "\n\n".join(parts)


def shipped() -> str:
    """The shipped files by kind, each with its whole text."""
    parts = []
    for folder, title in (("scenarios", "Scenarios"), ("sweeps", "Sweeps"), ("hwmodels", "Hardware models")):
        parts.append(f"## {title}")
        for name, path in sorted(shipped_files(folder).items()):
            parts.append(f"### {name}\n\n```toml\n{path.read_text('utf-8').rstrip()}\n```")
    return "\n\n".join(parts)


def unpacked(_: Sphinx, __: str, ___: str, ____: object, _____: object, lines: list[str]) -> None:
    """The star of a shape ``(B, *shape)`` in a docstring is no emphasis."""
    lines[:] = [line.replace(" *shape", r" \*shape") for line in lines]


def notebook(name: str) -> str:
    """The cells of a notebook, its title as a section of the page."""
    path = Path(__file__).parent.parent / "notebooks" / f"{name}.ipynb"
    parts = []
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        text = "".join(cell["source"])
        is_code = cell["cell_type"] == "code"
        parts.append(f"```python\n{text}\n```" if is_code else re.sub(r"^#", "##", text, flags=re.MULTILINE))
    return "\n\n".join(parts)


def table(rows: list[tuple[str, str]]) -> str:
    """A Markdown table of two columns."""
    return "\n".join(["| key | meaning and rule |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)])


def code(text: str) -> str:
    """``text`` as code within a table."""
    return f"<code>{plain(text)}</code>"


def plain(text: str) -> str:
    """``text`` in which nothing is Markdown."""
    return re.sub(r"[*_|`\[\]$]", lambda found: f"&#{ord(found[0])};", escape(text, quote=False))


PAGES: dict[str, Callable[..., str]] = {
    "commands": commands,
    "hardware_model": hardware_model,
    "notebook": notebook,
    "python": python,
    "scenario": scenario,
    "shipped": shipped,
}
