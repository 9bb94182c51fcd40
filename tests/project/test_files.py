"""Files of the checkout that other programs read: they say the same as the package, and name what exists."""

from __future__ import annotations

import os
import tomllib

import yaml
from paths import ROOT

import neurosim_ep

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def read(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


def test_the_citation_is_of_this_version() -> None:
    citation = read("CITATION.cff")
    assert citation["cff-version"] == "1.2.0" and {"message", "title", "authors"} <= citation.keys()
    assert citation["title"] == PROJECT["name"]
    assert str(citation["version"]) == neurosim_ep.__version__ == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert citation["keywords"] == PROJECT["keywords"]
    assert citation["authors"] == [{"name": "the neurosim-ep developers"}]
    (paper,) = citation["references"]
    assert paper["doi"].endswith("2508.15989") and paper["authors"][0]["family-names"] == "Lin"


def test_hooks_before_a_commit_check_what_every_change_must_pass() -> None:
    hooks = [hook for repo in read(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert [hook["entry"].split(" --force-exclude")[0] for hook in hooks] == [
        "ruff check", "ruff format --check", "mypy",
    ]  # fmt: skip
    script = (ROOT / ".ci/run").read_text("utf-8")
    for hook in hooks:
        assert f".venv/bin/{hook['entry'].split(' --')[0]}" in script


def test_hosted_ci_runs_what_a_checkout_runs() -> None:
    jobs = read(".github/workflows/ci.yml")["jobs"]
    assert {"run": ".ci/run"} in jobs["everything"]["steps"] and os.access(ROOT / ".ci/run", os.X_OK)
    least = PROJECT["requires-python"].removeprefix(">=")
    assert jobs["everything"]["steps"][1]["with"]["python-version"] == least
    assert jobs["suite"]["strategy"]["matrix"]["python-version"] == ["3.12", "3.13"]
