"""How the samples of an epoch came to rest, accumulated on the device and read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurosim_ep.hardware.chip.phases import Phase
from neurosim_ep.ranks import ALONE, Ranks
from neurosim_ep.record.columns import PLAIN
from neurosim_ep.scheduler.engine import Relaxation
from neurosim_ep.scheduler.observers import ResidualObserver
from neurosim_ep.scheduler.quiescence import Motion
from neurosim_ep.telemetry.alerts import Alert

MOTIONS = {"slow": Motion.SLOW, "period_2": Motion.PERIOD_2, "other": Motion.OTHER}

FAR_FROM_REST = 1.0
"""Mean residual, in state units, of the samples that move, from which a free phase ends anywhere.

Runs all of whose samples moved by up to 0.77 in the last tick learned as runs at rest do, as the differences between
phases leave out what both have.
"""
CLOSER = "raise relaxation.free_steps, or weaken the coupling (relaxation.feedback or network.weight_scale down)"

Row = dict[str, float | None]


def far_from_rest(moving: float, residual: float | None) -> str:
    """What to say of a free phase at whose end a share ``moving`` of the samples moves by ``residual`` in a tick, if
    that matters; else nothing.
    """
    if residual is None or moving <= 0.5 or residual < FAR_FROM_REST:
        return ""
    return f"{moving:.0%} of the samples still moved at the last free tick, by {residual:.2g} state units"


class SettlingStatistics:
    """Ticks used and samples still moving at the end of one kind of phase, over all batches given to :meth:`add`.

    Columns start with ``prefix``, "free" or "nudge". ``steps`` is the phase's T or K; a sample in motion is of the kind
    of its worst layer, other over period-2 over slow.
    """

    def __init__(self, prefix: str, steps: int, tolerance: float) -> None:
        self.prefix, self.steps, self.tolerance = prefix, steps, tolerance
        self.samples = 0
        self.sums = torch.zeros(0)

    def add(self, end: Relaxation) -> None:
        """Add one batch."""
        motion = torch.cat([end.motion.amax(1, keepdim=True), end.motion], 1)  # the whole sample, then its layers
        change = torch.cat([end.residual[:, None], end.change], 1)
        if self.tolerance == 0:
            motion = (change > 0) * int(Motion.OTHER)
        moving = motion != Motion.SETTLED
        kinds = [(motion == kind).sum(0) for kind in MOTIONS.values()]
        found = torch.stack([moving.sum(0), *kinds, (change * moving).sum(0), end.ticks.sum().expand(len(kinds[0]))])
        found = found.double()
        self.sums = found if self.samples == 0 else self.sums + found
        self.samples += len(end.ticks)

    def state_dict(self) -> dict[str, Any]:
        """What the batches so far add up to."""
        return {"sums": self.sums, "samples": self.samples}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.sums, self.samples = state["sums"], state["samples"]

    @property
    def ticks(self) -> int:
        """Ticks computed, summed over samples."""
        return int(self.sums[-1, 0])

    def epoch_columns(self) -> Row:
        """Mean ticks per sample, and the columns of :meth:`layer_columns` for whole samples.

        Those of the free phase that every run is judged by are called ``mean_ticks`` and ``not_converged``.
        """
        columns = {f"{self.prefix}_mean_ticks": self.ticks / self.samples, **self._columns(self.sums[:, 0])}
        return {PLAIN.get(name, name): value for name, value in columns.items()}

    def warnings(self) -> list[Alert]:
        """Whether the samples end their free phase so far from rest that it matters."""
        columns = self._columns(self.sums[:, 0])
        said = far_from_rest(columns[f"{self.prefix}_not_converged"] or 0.0, columns[f"{self.prefix}_residual"])
        return [Alert(f"{said}; {CLOSER}", "the free phase ends far from rest", remedy=CLOSER)] if said else []

    def layer_columns(self) -> list[Row]:
        """Per layer: mean ticks per sample, mean share of the samples computed in a tick, the share of samples that
        still moved in the layer at the end, by kind, and their mean residual.
        """
        mean = self.ticks / self.samples
        work: Row = {f"{self.prefix}_mean_ticks": mean, f"{self.prefix}_active": mean / self.steps}
        return [work | self._columns(column) for column in self.sums.T[1:]]

    def _columns(self, column: Tensor) -> Row:
        moving, *kinds, residual, _ = column.tolist()
        known = self.tolerance > 0
        return {
            f"{self.prefix}_not_converged": moving / self.samples,
            **{
                f"{self.prefix}_{name}": count / self.samples if known else None
                for name, count in zip(MOTIONS, kinds, strict=True)
            },
            f"{self.prefix}_residual": residual / moving if moving else None,
        }


class _Curve(NamedTuple):
    """``samples`` samples: mean residual, largest residual and share of those computed, (steps, 3), at ``ticks``."""

    values: Tensor
    ticks: list[int]
    samples: int


def _whole(parts: Sequence[_Curve]) -> _Curve:
    """The curve of the samples of all ``parts`` together."""
    if len(parts) == 1:
        return parts[0]
    ticks, samples = max((part.ticks for part in parts), key=len), sum(part.samples for part in parts)
    each = torch.stack([_continued(part.values, len(ticks)) for part in parts])
    weights = each.new_tensor([part.samples / samples for part in parts])
    values = torch.einsum("p,psc->sc", weights, each)
    values[:, 1] = each[..., 1].amax(0)
    return _Curve(values, ticks, samples)


class ResidualCurves:
    """Residual and number of moving samples against the tick, over the sampled batches of an epoch."""

    def __init__(self) -> None:
        self.curves: dict[Phase, list[Tensor]] = {}
        self.ticks: dict[Phase, list[int]] = {}

    def add(self, observer: ResidualObserver, ranks: Ranks = ALONE) -> None:
        """Take one batch, which ``ranks`` have shared; the first of them takes it whole."""
        found = {}
        for phase, residuals in observer.curves().items():
            share = residuals.new_tensor(observer.active[phase]) / residuals.shape[1]
            curve = torch.stack([residuals.mean(1), residuals.amax(1), share], 1)
            found[phase] = _Curve(curve, observer.ticks[phase], residuals.shape[1])
        parts = [found]
        if ranks.count > 1:
            parts = ranks.gathered({phase: one._replace(values=one.values.cpu()) for phase, one in found.items()})
        for phase in dict.fromkeys(phase for part in parts for phase in part):
            whole = _whole([part[phase] for part in parts if phase in part])
            self.curves.setdefault(phase, []).append(whole.values)
            self.ticks[phase] = max(self.ticks.get(phase, []), whole.ticks, key=len)

    def state_dict(self) -> dict[str, Any]:
        """The curves so far, by name of the phase."""
        return {str(phase): {"curves": curves, "ticks": self.ticks[phase]} for phase, curves in self.curves.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.curves = {Phase(name): list(known["curves"]) for name, known in state.items()}
        self.ticks = {Phase(name): list(known["ticks"]) for name, known in state.items()}

    def rows(self) -> list[dict[str, float | str]]:
        """Rows of residual.csv. Where a batch had come to rest its last residuals stand, and nothing is computed."""
        rows: list[dict[str, float | str]] = []
        for phase, curves in self.curves.items():
            steps = len(self.ticks[phase])
            stacked = torch.stack([_continued(curve.cpu(), steps) for curve in curves])
            means, peaks = stacked.mean(0), stacked[..., 1].amax(0)
            rows += [
                {"phase": str(phase), "tick": tick, "mean_residual": mean, "max_residual": peak, "active": share}
                for tick, (mean, _, share), peak in zip(self.ticks[phase], means.tolist(), peaks.tolist(), strict=True)
            ]
        return rows


def _continued(curve: Tensor, steps: int) -> Tensor:
    """``curve`` (steps, 3) up to ``steps``, at its last residuals and with no sample computed."""
    rest = curve[-1] * curve.new_tensor([1.0, 1.0, 0.0])
    return torch.cat([curve, rest.expand(steps - len(curve), 3)])
