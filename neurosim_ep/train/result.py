"""How a run ended, for programs and for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from neurosim_ep.display import html_pairs, labelled
from neurosim_ep.units import format_bits, format_si

SHOWN = ("report.html", "plots")  # of a run directory what people look at first
ALSO = 3  # findings of a run that did not learn that are shown, the verdict's own counted


@dataclass(frozen=True, repr=False)
class RunResult:
    """How a run ended.

    Args:
        out: the run directory.
        status: "done".
        metrics: ``loss``, ``train_accuracy``, ``test_accuracy``, ``best_test_accuracy``, ``mean_ticks`` and
            ``not_converged`` (a fraction of the samples) of the last epoch, and, where traffic was recorded, per
            training sample ``energy_clocked_J``, ``energy_event_J``, ``latency_clocked_s`` and ``latency_event_s``.
        epochs: epochs trained.
        seconds: wall-clock time of all parts of the run.
        plots: the pictures.
        teacher: that of ``run.json``: where targets came from, or None.
        verdict: who wins, EP or backpropagation, and which numbers of the hardware model decide, in sentences; empty
            where no traffic was recorded.
        learning: whether the network learned, and why not: ``verdict``, ``healthy`` and ``findings`` as in
            ``run.json``.
        warnings: what the run was warned of, each kind in one sentence with its layers, epochs and remedy.
    """

    out: Path
    status: str
    metrics: dict[str, float | None]
    epochs: int
    seconds: float
    plots: list[Path] = field(default_factory=list)
    teacher: dict[str, Any] | None = None
    verdict: list[str] = field(default_factory=list)
    learning: dict[str, Any] | None = None
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def noted(cls, out: Path, info: Mapping[str, Any], epochs: int, plots: Sequence[Path] = ()) -> Self:
        """How the run in ``out``, which is done, ended as its run.json, ``info``, says."""
        return cls(
            out, "done", info["metrics"], epochs, info["seconds"], list(plots), info.get("teacher"),
            info.get("verdict", []), info.get("learning"), [one["sentence"] for one in info.get("warnings") or []],
        )  # fmt: skip

    def summary(self) -> list[tuple[str, str]]:
        """Rows (label, value) for people."""
        metrics = self.metrics
        rows = [
            ("test accuracy", f"{metrics['test_accuracy']:.1%} (best {metrics['best_test_accuracy']:.1%})"),
            ("train accuracy", f"{metrics['train_accuracy']:.1%}"),
            ("loss", f"{metrics['loss']:.4f}"),
            ("free ticks", f"{metrics['mean_ticks']:.1f} (mean of all training samples)"),
            ("not converged", f"{metrics['not_converged']:.1%} of samples at the last free tick{self._all_the_same()}"),
        ]
        for style in ("clocked", "event", "settling"):
            energy, latency = metrics.get(f"energy_{style}_J"), metrics.get(f"latency_{style}_s")
            if energy is not None and latency is not None:
                text = f"{format_si(energy, 'J')}, {format_si(latency, 's')} per training sample (recorded batches)"
                rows.append((f"chip, {style}", text))
        rows += labelled("EP or backprop", self.verdict)
        if self.teacher is not None and "store_bytes" in self.teacher:
            keys = ("bytes_per_sample", "bytes_per_epoch", "store_bytes")
            sample, epoch, store = (format_bits(8 * self.teacher[key]) for key in keys)
            text = f"{sample} read per sample, {epoch} per epoch; {store} in {self.teacher['views']} views"
            rows.append(("targets, off chip", text))
        return [
            *self._learned(),
            *labelled("warned of", self.warnings),
            *rows,
            ("time", f"{self.seconds:.1f} s for {self.epochs} epochs"),
            ("run directory", str(self.out)),
            *labelled("look at", [str(path) for name in SHOWN if (path := self.out / name).exists()]),
        ]

    def __repr__(self) -> str:
        accuracy = self.metrics["test_accuracy"]
        return (
            f"<run {self.status}: test accuracy {accuracy:.1%} after {self.epochs} epochs in {self.seconds:.1f} s; "
            f"open it with neurosim_ep.open_run({str(self.out)!r})>"
        )

    def _repr_html_(self) -> str:
        return html_pairs(self.summary(), f"run {self.status}")

    def _all_the_same(self) -> str:
        """What to say of a network that learned though most samples were not at rest."""
        learned = self.learning is not None and self.learning["healthy"]
        return "; it learned all the same" if learned and (self.metrics["not_converged"] or 0) > 0.5 else ""

    def _learned(self) -> list[tuple[str, str]]:
        """Whether it learned; where it did not, also what else is wrong."""
        if self.learning is None:
            return []
        others = [] if self.learning["healthy"] else self.learning["findings"][1:ALSO]
        return [("verdict", self.learning["verdict"]), *(("  also", said) for said in others)]
