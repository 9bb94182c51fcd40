"""The figures of arXiv 2508.15989 from one's own runs: ``reproduce_runs``.

accuracy_and_loss                  LE, KD, plain EP, BPTT, backpropagation against the epoch      Figure 4
states_mean, states_deviation      layer by epoch, a panel per run, one colour scale              Figure 5
gradients_compared                 mean |dW| of every layer, the U-curve                          Figure 5
alpha                              course of the signal weight                                    Figure 6
memory_compared                    on-chip memory against BPTT, and memory the runs took          Table 2
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from neurosim_ep.analysis import gradients, learning, memory, states
from neurosim_ep.analysis.files import write
from neurosim_ep.analysis.groups import grouped
from neurosim_ep.analysis.load import open_runs
from neurosim_ep.analysis.plot import draw_all, say_on_stderr
from neurosim_ep.analysis.style import SCREEN, Output


def reproduce_runs(
    run_dirs: Sequence[Path],
    out: Path,
    *,
    only: Sequence[str] = (),
    output: Output = SCREEN,
    say: Callable[[str], None] = say_on_stderr,
) -> list[Path]:
    """Draw every figure of the table above, or ``only`` these, into ``out`` and return the files written.

    Runs that differ only in ``scenario.seed`` are one curve or panel, their mean, curves with a band from the smallest
    to the largest. A directory given twice counts once. A figure whose input was not recorded is left out, and
    ``say`` is told why. Raises ``CheckpointError`` when a directory is not a run directory or one of its files is
    broken, and ``UsageError`` when two runs are the same scenario with the same seed, ``out`` cannot be written or no
    figure has a name of ``only``.
    """
    runs = open_runs(run_dirs)
    groups = grouped(runs)
    figures: dict[str, Callable[[], Figure]] = {
        "accuracy_and_loss": partial(learning.draw, groups),
        "states_mean": partial(states.compare, groups, "mean_abs_state"),
        "states_deviation": partial(states.compare, groups, "std_across_samples"),
        "gradients_compared": partial(gradients.draw, groups),
        "alpha": partial(learning.draw_alpha, groups),
        "memory_compared": partial(memory.compare, groups),
    }
    return write(draw_all([(draw, out / name) for name, draw in figures.items()], only, output, say))
