"""One HTML file: what was found about a directory, in the skeleton, with its look and its script."""

from __future__ import annotations

import base64
import hashlib
import os
from importlib import resources
from pathlib import Path
from string import Template

from neurosim_ep import __version__
from neurosim_ep.analysis.points import is_sweep
from neurosim_ep.errors import UsageError
from neurosim_ep.record.atomic import write_atomic
from neurosim_ep.report.markup import Html, join, plain, tag

NAME = "report.html"


def write_report(path: Path, out: Path | None = None) -> Path:
    """Write the report of the run or sweep directory ``path`` to ``out``, by default ``report.html`` inside it.

    Returns the file, which is old or new, never half. Raises :class:`UsageError` where the directory is neither or the
    file cannot be written, and :class:`~neurosim_ep.errors.CheckpointError` where a file of the directory is broken.
    """
    content = report(path).encode()
    target = path / NAME if out is None else out
    if target.is_dir():
        raise UsageError(f"{target}: is a directory; name the file that --out shall be, such as {target / NAME}")
    try:
        write_atomic(target, content, target.with_name(f".{target.name}.{os.getpid()}.tmp"))
    except OSError as problem:
        raise UsageError(f"{target}: cannot be written ({problem.strerror}); choose another --out") from problem
    return target


def report(path: Path) -> str:
    """The report of the run or sweep directory ``path``, as HTML. Raises as :func:`write_report`."""
    if is_sweep(path):
        from neurosim_ep.report.sweep import open_report
    elif (path / "run.json").is_file():
        from neurosim_ep.report.run import open_report
    else:
        raise UsageError(
            f"{path}: is neither a run directory (no run.json) nor one of a sweep (no sweep.json); give one that "
            "`neurosim-ep run` or `neurosim-ep sweep` made"
        )
    title, head, sections = open_report(path)
    body = [
        tag("section", tag("h2", heading, id=f"heading-{name}"), content, id=name, aria_labelledby=f"heading-{name}")
        for name, heading, content in sections
    ]
    links = [tag("a", heading, href=f"#{name}") for name, heading, _ in sections]
    style, script = _file("page.css"), _file("page.js")
    policy = f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}"
    return Template(_file("page.html")).substitute(
        policy=policy,
        version=__version__,
        title=join(title),
        style=style,
        head=head,
        nav=join(links),
        body=join(body),
        source=join(plain(path)),
        script=script,
    )


def _file(name: str) -> Html:
    return Html(resources.files("neurosim_ep.report").joinpath(name).read_text("utf-8"))


def _digest(text: str) -> str:
    """What a browser compares with the element before it trusts it: nothing that a table holds is run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
