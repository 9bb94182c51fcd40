"""A PyTorch whose private operators for oneDNN's layouts are gone, changed or broken makes plain reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from neurosim_ep.experiment.model import build_model
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scheduler.kernels import Kernel, PackedKernel, make_kernels, supported_precision


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    PackedKernel.available.cache_clear()
    yield
    PackedKernel.available.cache_clear()


def raising(problem: Exception) -> Callable[..., Tensor]:
    def operator(*arguments: Any) -> Tensor:
        raise problem

    return operator


@pytest.mark.parametrize("name", ["arrangements.pack", "arrangements.convolve", "dense.pack_matrix", "dense.multiply"])
@pytest.mark.parametrize(
    "operator",
    [
        raising(AttributeError("'_OpNamespace' 'mkldnn' object has no attribute")),
        raising(RuntimeError("expected 7 arguments")),
        raising(TypeError("unknown argument")),
        lambda *arguments: torch.zeros(1, 8),
    ],
)
def test_plain_reads_where_the_operators_fail(
    monkeypatch: pytest.MonkeyPatch, name: str, operator: Callable[..., Tensor]
) -> None:
    network = build_model(load_scenario("smoke"), 10, (3, 32, 32)).network
    monkeypatch.setattr(f"neurosim_ep.scheduler.{name}", operator)
    assert {type(kernel) for kernel in make_kernels(network, "float32")} == {Kernel}
    assert supported_precision("bfloat16", torch.device("cpu"))[0] == "float32"


def test_an_unknown_processor_check_means_no(monkeypatch: pytest.MonkeyPatch) -> None:
    class Operators:
        def __getattr__(self, name: str) -> Any:
            if name.startswith("_is_mkldnn"):
                raise AttributeError(name)
            return getattr(operators, name)

    operators = torch.ops.mkldnn
    monkeypatch.setattr(torch.ops, "mkldnn", Operators())
    for precision in ("bfloat16", "float16"):
        assert supported_precision(precision, torch.device("cpu"))[0] == "float32"
