"""Shells complete commands and names that ship; asking loads nothing heavy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from paths import ROOT

from neurosim_ep.cli import main
from neurosim_ep.cli.completion import VARIABLE

HEAVY = {"torch", "numpy", "pandas", "scipy", "matplotlib", "h5py", "rich", "PIL"}
Asked = Callable[[str], list[str]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Asked:
    """What bash is offered for the last word of a line."""

    def complete(line: str) -> list[str]:
        words = f"neurosim-ep {line}".split(" ")
        with monkeypatch.context() as patch:
            patch.setenv(VARIABLE, "bash_complete")
            patch.setenv("COMP_WORDS", " ".join(words))
            patch.setenv("COMP_CWORD", str(len(words) - 1))
            assert main([]) == 0
        return capsys.readouterr().out.split()

    return complete


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("est", ["plain,estimate"]),
        ("run smoke_", ["plain,smoke_residual", "plain,smoke_tiles", "file,smoke_"]),
        ("gdu mlp", ["plain,mlp", "file,mlp"]),
        ("check cifar10/vgg7_p", ["plain,cifar10/vgg7_plain", "file,cifar10/vgg7_p"]),
        ("sweep adc", ["plain,adc_bits", "file,adc"]),
        ("copy adc", ["plain,adc_bits"]),
        ("schema tel", ["plain,telemetry"]),
        ("run smoke --set relaxation.f", ["plain,relaxation.free_steps", "plain,relaxation.feedback"]),
        ("recost runs/x --hw pcm", ["plain,pcm_90nm", "file,pcm"]),
        ("hw diff pcm_90nm rram_3", ["plain,rram_32nm", "file,rram_3"]),
        ("get v", ["plain,vgg7"]),
        ("data cifar1", ["plain,cifar10", "plain,cifar100"]),
        ("resume ru", ["file,ru"]),
        ("completion f", ["plain,fish"]),
    ],
)
def test_names_are_completed(asked: Asked, line: str, offered: list[str]) -> None:
    assert asked(line) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"{VARIABLE}={shell}_complete" in script and "neurosim-ep" in script
    if path := shutil.which(shell):
        subprocess.run([path, "-n"], input=script, text=True, check=True)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_gets_what_it_asks_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    program = tmp_path / "neurosim-ep"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m neurosim_ep "$@"\n')
    program.chmod(0o755)
    line = (
        "compopt() { :; }; COMP_WORDS=(neurosim-ep schema tel); COMP_CWORD=2; "
        f'_neurosim_ep_completion {program}; echo "${{COMPREPLY[@]}}"'
    )
    script = capsys.readouterr().out + line
    done = subprocess.run(["bash"], input=script, cwd=ROOT, text=True, capture_output=True, check=True)
    assert done.stdout == "telemetry\n"


def test_completing_loads_nothing_heavy() -> None:
    code = "import sys; from neurosim_ep.cli import main; main([]); print(' '.join(sys.modules), file=sys.stderr)"
    question = {VARIABLE: "bash_complete", "COMP_WORDS": "neurosim-ep run --set network.w", "COMP_CWORD": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | question, capture_output=True, text=True, check=True
    )
    assert "plain,network.width" in done.stdout and not HEAVY & set(done.stderr.split())
