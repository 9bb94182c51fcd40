"""Files of the checkout that other programs read: they say the same as the package, and name what exists."""

from __future__ import annotations

import os
import re
import tomllib
from fnmatch import fnmatch

import yaml
from paths import ROOT

import neurosim_ep

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT, SETUPTOOLS = PYPROJECT["project"], PYPROJECT["tool"]["setuptools"]


def read(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


def test_the_citation_is_of_this_version() -> None:
    citation = read("CITATION.cff")
    assert citation["cff-version"] == "1.2.0" and {"message", "title", "authors"} <= citation.keys()
    assert citation["title"] == PROJECT["name"]
    assert str(citation["version"]) == neurosim_ep.__version__ and "version" in PROJECT["dynamic"]
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
    later = jobs["suite"]["strategy"]["matrix"]["python-version"]
    named = [name for name in PROJECT["classifiers"] if re.search(r":: 3\.\d", name)]
    assert named == [f"Programming Language :: Python :: {version}" for version in (least, *later)]
    assert "Typing :: Typed" in PROJECT["classifiers"] and (ROOT / "neurosim_ep" / "py.typed").is_file()


def test_the_docker_image_is_made_of_what_is_there() -> None:
    lines = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ").splitlines()
    words = [line.split() for line in lines if line and not line.startswith("#")]
    assert [line[1] for line in words if line[0] == "ARG"] == [
        "PYTHON=3.13", "TORCH_INDEX=https://download.pytorch.org/whl/cpu",
    ]  # fmt: skip
    assert f"Programming Language :: Python :: {words[0][1].removeprefix('PYTHON=')}" in PROJECT["classifiers"]
    copied = [source for line in words if line[0] == "COPY" for source in line[1:-1]]
    assert copied and all((ROOT / source).exists() for source in copied)
    kinds = [line[0] for line in words]
    assert words[kinds.index("USER")][1] != "root" and kinds.index("USER") < kinds.index("ENTRYPOINT")
    (entry,) = PROJECT["scripts"]
    assert words[kinds.index("ENTRYPOINT")][1] == f'["{entry}"]'


def test_the_docker_builder_gets_the_whole_package() -> None:
    ignored = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if not line.startswith("#")]
    needed = [*SETUPTOOLS["package-dir"].values(), "pyproject.toml", "README.md", *PROJECT["license-files"]]
    assert not [name for name in needed for pattern in ignored if fnmatch(name, pattern)]
    assert {"tests", "docs", ".*"} <= set(ignored)
