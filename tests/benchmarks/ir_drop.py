"""Error of the estimates of the voltage drop on wires: `python tests/benchmarks/ir_drop.py` prints a Markdown table.

Square arrays of uniformly distributed conductances from 0 to G_max, 50 reads, uniform inputs of 0 to 1 or -1 to 1. The
drop is rms(exact - ideal) / rms(ideal) of the sensed currents, the error rms(estimate - exact) / rms(ideal), where
exact is the elimination of all nodes of the network and ideal the product without wires. a is what the closed form
calls so, the mean over the sensed lines for inputs of 0 to 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neurosim_ep.tiles.wires import effective_conductance, estimated_conductance, ir_drop_closed_form

SIZES = (16, 32, 64, 128)
SEGMENT_RATIOS = (1e-6, 1e-5, 1e-4, 1e-3)
READS = 50


def rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def errors(W: Tensor, x: Tensor, ratio: float, transposed: bool) -> list[float]:
    """Drop, and errors of the closed form and of the estimated conductance."""

    def read(E: Tensor) -> Tensor:
        return x @ (E.mT if transposed else E)

    ideal, exact = read(W), read(effective_conductance(W, ratio))
    closed = ir_drop_closed_form(W, x, ratio, transposed=transposed)
    estimate = read(estimated_conductance(W, ratio))
    return [rms(found) / rms(ideal) for found in (exact - ideal, closed - exact, estimate - exact)]


def main() -> None:
    kinds = [f"{name}, {sign}" for sign in ("0 to 1", "-1 to 1") for name in ("drop", "closed form", "estimated G")]
    print("| size | r G_max | a | read | " + " | ".join(kinds) + " |")
    print("|---" * (4 + len(kinds)) + "|")
    random = torch.Generator().manual_seed(0)
    for size in SIZES:
        for ratio in SEGMENT_RATIOS:
            W = torch.rand(size, size, generator=random, dtype=torch.float64)
            x = torch.rand(READS, size, generator=random, dtype=torch.float64)
            a = float((size * ratio * x @ W).mean())
            for transposed in (False, True):
                found = errors(W, x, ratio, transposed) + errors(W, 2 * x - 1, ratio, transposed)
                name = "transposed" if transposed else "forward"
                figures = " | ".join(f"{100 * value:.2g} %" for value in found)
                print(f"| {size} | {ratio:.0e} | {a:.2g} | {name} | {figures} |")


if __name__ == "__main__":
    main()
