"""How fast the CPU reads the convolutions of VGG-11: `python tests/benchmarks/reads.py` prints a table.

For every convolution that a tick reads, forwards and transposed: GFLOP/s with the weights as PyTorch keeps them, and
with every arrangement that fits the map, in bold the one that :mod:`neurosim_ep.scheduler.arrangements` chooses for
many reads of the same weights. All count 2·B·H·W·9·C_in·C_out operations per read, whatever an arrangement saves of
them, and read float32 into float32: formats of 16 bits include rounding. Beside them the rate of a square matrix
product. Times are processor time, the least of many repetitions.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosim_ep.ep.network import channels_last
from neurosim_ep.scheduler.arrangements import MAKE, WHOLE_SIDES, WHOLE_SIDES_HALF, arrangement, matrix_tiles
from neurosim_ep.scheduler.kernels import HALF, supported_precision
from neurosim_ep.scheduler.onednn import layout_is_one

LAYERS = ((64, 128, 16), (128, 256, 8), (256, 256, 8), (256, 512, 4), (512, 512, 4), (512, 512, 2))
"""C_in, C_out and side of the map, at width 1."""


def least_seconds(work: Callable[[], object], budget_s: float) -> float:
    """Processor seconds of ``work`` per thread, the least seen within ``budget_s``."""
    work()
    least, end = float("inf"), time.perf_counter() + budget_s
    while time.perf_counter() < end:
        began = time.process_time()
        work()
        least = min(least, time.process_time() - began)
    return least / torch.get_num_threads()


def fitting(side: int, half: bool) -> list[str]:
    """Names of the arrangements that can read a map of this side."""
    names = ["packed", *(["gathered"] if half or side <= 4 else []), *(["dense"] if side <= 2 else [])]
    return (
        names
        + ["whole", "whole_packed"] * (side in (WHOLE_SIDES_HALF if half else WHOLE_SIDES))
        + ["winograd"] * (not half)
    )


def row(inside: int, out: int, side: int, batch: int, dtype: torch.dtype, budget_s: float) -> list[str]:
    """One line of the table: GFLOP/s of both reads by arrangement, the chosen one in bold."""
    half = dtype != torch.float32
    weight = channels_last(torch.randn(out, inside, 3, 3))
    pre, post = (channels_last(torch.rand(batch, channels, side, side)) for channels in (inside, out))
    operations = 2 * batch * side**2 * 9 * inside * out

    def rates(forward: Callable[[], Tensor], feedback: Callable[[], Tensor]) -> str:
        return " / ".join(f"{operations / least_seconds(read, budget_s) / 1e9:.0f}" for read in (forward, feedback))

    plain = weight.to(dtype)
    cells = {
        "plain": rates(
            lambda: F.conv2d(pre.to(dtype), plain, padding=1).float(),
            lambda: F.conv_transpose2d(post.to(dtype), plain, padding=1).float(),
        )
    }
    for name in fitting(side, half):
        made = MAKE[name](weight, 1, (side, side), dtype)
        cells[name] = rates(
            lambda made=made: made.forward(pre.to(made.values), None).float(),  # type: ignore[misc]
            lambda made=made: made.feedback(post.to(made.values)).float(),  # type: ignore[misc]
        )
    chosen = arrangement(weight.shape, 1, pre.shape, half, matrix_tiles(), layout_is_one(dtype))
    cells[chosen] = f"**{cells[chosen]}**"
    return [f"{inside} to {out}", f"{side} x {side}", str(batch), *(cells.get(name, "") for name in ["plain", *MAKE])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="*", default=[32, 4])
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--precision", default="float32", choices=["float32", *HALF])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.3, help="of repetitions per figure")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if reason := supported_precision(options.precision, torch.device("cpu"))[1]:
        parser.error(reason)
    dtype = HALF.get(options.precision, torch.float32)
    square = torch.rand(1024, 1024).to(dtype)
    product = 2 * 1024**3 / least_seconds(lambda: square @ square, 1.0) / 1e9
    print(f"{options.precision}, {options.threads} threads, torch {torch.__version__}, ", end="")
    print(f"{torch.backends.cpu.get_cpu_capability()}; product of 1024 x 1024 matrices: {product:.0f} GFLOP/s\n")
    heads = ["channels", "map", "batch", "plain", *MAKE]
    print("| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads))
    for batch in options.batches:
        for inside, out, side in LAYERS:
            sizes = (round(channels * options.width) for channels in (inside, out))
            print("| " + " | ".join(row(*sizes, side, batch, dtype, options.seconds)) + " |", flush=True)


if __name__ == "__main__":
    main()
