"""Reports of small real runs and of a small sweep, and what must be in every one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from neurosim_ep.report.page import write_report
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.sweep.command import open_sweep
from neurosim_ep.sweep.status import Progress
from neurosim_ep.train.run import run

SHORT = (
    "data.train_samples=60", "data.test_samples=30", "training.batch_size=20", "training.epochs=2",
    "telemetry.stats_every=1", "telemetry.traffic_every=2", "telemetry.plots=false",
)  # fmt: skip
SWEEP = """
[sweep]
base = "smoke"
seeds = 2

[fixed]
data.train_samples = 24
data.test_samples = 20
training.epochs = 1
training.batch_size = 12
telemetry.traffic_every = 1

[grid.relaxation]
beta = [0.2, 0.5]
nudge_steps = [2, 4]
"""


@dataclass(frozen=True)
class Reported:
    """A report, the directory that it is of, and the names of its pictures and tables."""

    file: Path
    source: Path
    figures: frozenset[str]
    tables: frozenset[str]


RUN_FIGURES = frozenset(
    {
        "accuracy", "loss", "gradients", "states", "residuals", "spread", "components", "against", "deciding", "memory",
        "tiles", "links",
    }
)  # fmt: skip
RUN_TABLES = frozenset(
    {
        "epochs", "epochs-settling", "layers-states", "layers-settling", "layers-work", "comparison", "components",
        "sensitivity", "tiles", "links", "memory", "area",
    }
)  # fmt: skip
METRICS = ("test_accuracy", "energy_{}_J", "latency_{}_s", "ep_per_backprop_{}")


def _run(name: str, *overrides: str) -> Path:
    out = Path(mkdtemp(prefix="report-")) / name
    return run(load_scenario(name, [*SHORT, *overrides]), out, device="cpu", threads=1).out


def _sweep() -> Path:
    folder = Path(mkdtemp(prefix="report-"))
    (folder / "small.toml").write_text(SWEEP, encoding="utf-8")
    sweep = open_sweep(str(folder / "small.toml"), folder / "small", lambda message: None)
    for point in sweep.points:
        run(load_scenario(sweep.scenario(point)), sweep.run(point), device="cpu", threads=1)
    Progress(sweep).refresh()
    return sweep.path


@cache
def reported(name: str) -> Reported:
    """The report of "vgg11_le" or "smoke_tiles", which their runs have written, or of "sweep"."""
    if name != "sweep":
        source = _run(name, *(["data.train_samples=40"] if name == "vgg11_le" else []))
        more = {"resolution"} if name == "smoke_tiles" else set()
        return Reported(source / "report.html", source, RUN_FIGURES | more, RUN_TABLES)
    source = _sweep()
    file = write_report(source)
    html = file.read_text(encoding="utf-8")
    style = next(style for style in ("event", "clocked") if f"figure-energy_{style}_J-" in html)
    metrics = {metric.format(style) for metric in METRICS}
    figures = {f"{metric}-relaxation-{key}" for metric in metrics for key in ("beta", "nudge_steps")}
    figures |= {f"heat-{metric}" for metric in metrics if not metric.startswith("latency")}
    figures |= {f"pareto-{style}" for style in ("clocked", "event", "settling")}
    return Reported(file, source, frozenset(figures), frozenset({"points"}))


REPORTS = ("vgg11_le", "smoke_tiles", "sweep")
