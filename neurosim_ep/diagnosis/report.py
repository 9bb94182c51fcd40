"""``neurosim-ep diagnose``: every figure of a trained run's dynamics, as tables, pictures and sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neurosim_ep.analysis.diagnosis import draw_diagnosis
from neurosim_ep.analysis.style import SCREEN, Output
from neurosim_ep.diagnosis.findings import findings
from neurosim_ep.diagnosis.lipschitz import PowerIteration
from neurosim_ep.diagnosis.measure import Figures, measure
from neurosim_ep.diagnosis.rest import KINDS, quantiles
from neurosim_ep.diagnosis.samples import Samples, choose_samples
from neurosim_ep.ep.network import Network
from neurosim_ep.errors import UsageError
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.record.atomic import write_json
from neurosim_ep.record.logs import write_table
from neurosim_ep.record.rundir import versions
from neurosim_ep.record.whole_folder import replaced_folder, writable
from neurosim_ep.telemetry.evidence import Evidence
from neurosim_ep.telemetry.verdict import judge

FORMAT, MARK = 1, "diagnosis.json"
QUANTILES = ("median", "p90", "max")

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Diagnosis:
    """What was found: the folder written, its ``document`` (diagnosis.json) and its tables."""

    folder: Path
    document: dict[str, Any]
    layers: Rows
    samples: Rows
    residuals: Rows

    def summary(self) -> list[tuple[str, str]]:
        """Labels and values for people."""
        doc = self.document
        free, theorem, kinds = doc["free_phase"], doc["theorem"], doc["free_phase"]["kinds"]
        residual = free["residual"]
        apart = [("L_Φ of the displacement", _spread(doc["L_phi_nudge"]))] if doc["L_phi_nudge"] != doc["L_phi"] else []
        return [
            ("verdict", doc["learning"]["verdict"]),
            ("run", f"{doc['run']['name']}, after epoch {doc['run']['epoch']} of {doc['run']['epochs']}"),
            ("tiles", "real; L_Φ and spectral radius leave their converters out" if doc["real_tiles"] else "ideal"),
            ("samples", f"{doc['samples']['count']} test images: {doc['samples']['choice']}"),
            ("free phase", f"{free['ticks']} ticks, policy {free['policy']}, no sample leaves"),
            ("residual at its end", ", ".join(f"{name} {residual[name]:.2e}" for name in QUANTILES)),
            ("motion at its end", ", ".join(f"{count} {kind}" for kind, count in kinds.items())),
            ("L_Φ", _spread(doc["L_phi"])),
            *apart,
            ("spectral radius of the free map", _spread(doc["spectral_radius"])),
            ("margin of Theorem 3.1", _range(theorem["margin"])),
            (
                "  made of",
                f"c {theorem['c']:g}, β {theorem['beta']:g}, α {theorem['alpha']:.3g}, L_1 {theorem['L_1']:.3g}, "
                f"L_2 {theorem['L_2']:.3g}",
            ),
            ("folder", f"{self.folder}, pictures in {self.folder / 'plots'}"),
        ]

    def findings(self) -> tuple[str, list[str]]:
        """A title, and sentences: of a network that learns, what is measured; of one that does not, first why."""
        learning, measured = self.document["learning"], self.document["findings"]
        if learning["healthy"]:
            return "Measured on a network that learned; none of this has kept it from learning", measured
        return "Findings, the most decisive first", [*learning["findings"], *measured]

    def layer_table(self) -> list[dict[str, str]]:
        """The most telling columns of layers.csv, formatted; those of real tiles where there is anything in them."""
        columns = {
            "at low": ("at_lower", ".0%"),
            "at top": ("at_upper", ".0%"),
            "dead": ("dead", ".0%"),
            "linear": ("linear", ".0%"),
            "std": ("std_across_samples", ".1e"),
            "‖s⁺ − s*‖": ("displacement_plus", ".1e"),
            "‖s⁻ − s*‖": ("displacement_minus", ".1e"),
            "drift": ("drift", ".1e"),
            "net": ("net_plus", ".1e"),
            "asymmetry": ("net_asymmetry", ".2f"),
            "2 beta": ("twice_beta", ".2f"),
            "‖dW‖": ("gradient_norm", ".1e"),
            "one-sided": ("one_sided_distance", ".2f"),
        }
        of_tiles = {
            "step fwd": ("adc_step_forward", ".1e"),
            "step transp": ("adc_step_transposed", ".1e"),
            "nudge/step": ("nudge_per_step", ".2g"),
            "clipped fwd": ("clipped_forward", ".1%"),
            "clipped transp": ("clipped_transposed", ".1%"),
            "low": ("devices_at_lower", ".0%"),
            "high": ("devices_at_upper", ".0%"),
            "up-down": ("device_asymmetry", ".2f"),
            "gross/net": ("cancellation", ".1f"),
        }
        columns |= {title: of for title, of in of_tiles.items() if any(row[of[0]] is not None for row in self.layers)}
        return [
            {
                "layer": row["name"],
                **{
                    title: "-" if row[name] is None else f"{row[name]:{form}}"
                    for title, (name, form) in columns.items()
                },
            }
            for row in self.layers
        ]


def diagnose(
    run: Experiment,
    samples: int = 64,
    out: Path | None = None,
    *,
    threads: int | None = None,
    output: Output = SCREEN,
    say: Callable[[str], None] = lambda message: None,
) -> Diagnosis:
    """Diagnose the network that the ``run``, opened from its directory, trained on ``samples`` of its test images.

    Writes ``out`` (default ``diagnosis`` in that directory) anew, whole or not at all, with pictures as ``output`` has
    them; ``say`` is told what is being done. ``threads`` is the number PyTorch computes with on the CPU (None: what
    fits machine and work). Raises :class:`UsageError`, :class:`CheckpointError` or :class:`DataError` for what cannot
    be used and :class:`DivergenceError` when states are not finite.
    """
    folder = run.run.path / "diagnosis" if out is None else out
    run.require_phases()
    _refuse_foreign(folder)
    chosen = choose_samples(run, samples)
    run.use_threads(threads, samples)
    found = _diagnosis(run, chosen, measure(run, chosen, say), folder)
    say("drawing the pictures")
    with replaced_folder(folder) as staging:
        write_json(staging / MARK, found.document)
        for name, rows in (("layers", found.layers), ("samples", found.samples), ("residual", found.residuals)):
            write_table(staging / f"{name}.csv", rows, list(rows[0]))
        draw_diagnosis(staging, output)
    return found


def _refuse_foreign(folder: Path) -> None:
    """Raise :class:`UsageError` when something else than a diagnosis is at ``folder``: it would be overwritten."""
    with writable(folder):
        if folder.exists() and not (folder / MARK).is_file() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder}: holds something else than a diagnosis; choose another --out, or move it away")


def _diagnosis(run: Experiment, chosen: Samples, figures: Figures, folder: Path) -> Diagnosis:
    free = figures.free
    course = quantiles(torch.cat([free.residuals.amax(2, keepdim=True), free.residuals], 2))  # all states, the layers
    layers, samples = _layer_rows(run.model.network, figures, course[-1]), _sample_rows(chosen, figures)
    document = _document(run, chosen, figures, course[-1, :, 0])
    document["samples"]["correct"] = sum(row["label"] == row["predicted"] for row in samples)
    document["findings"] = [*filter(None, [run.other_images]), *findings(samples, layers, document)]
    names = ["all states", *run.model.network.layer_names]
    return Diagnosis(folder, document, layers, samples, _residual_rows(free.ticks, names, course))


def _document(run: Experiment, chosen: Samples, figures: Figures, residual: Tensor) -> dict[str, Any]:
    """The scalars; ``residual`` (3,) are the quantiles of all states at the end of the free phase."""
    free, names = figures.free, [connection.name for connection in run.model.network.connections]
    return {
        "format": FORMAT,
        "run": {
            "name": run.scenario.scenario.name,
            "directory": run.run.path.resolve().name,
            "seed": run.scenario.scenario.seed,
            "epoch": run.epoch,
            "epochs": run.scenario.training.epochs,
        },
        "versions": versions(),
        "real_tiles": run.model.tiles is not None,
        "device": str(run.device),
        "learning": _learning(run),
        "samples": {
            "count": len(chosen.places),
            "test_images": len(run.data.test_labels),
            "source": run.data.source,
            "choice": "the first of each class in equal numbers, in the order of the test set",
        },
        "free_phase": {
            "ticks": free.ticks[-1],
            "policy": run.scenario.scheduler.policy,
            "precision": figures.precision,
            "tolerance": figures.tolerance,
            "residual": dict(zip(QUANTILES, residual.tolist(), strict=True)),
            "kinds": {kind: free.kinds.count(kind) for kind in KINDS.values()},
        },
        "L_phi": _figures(figures.L_phi),
        "L_phi_nudge": _figures(figures.L_phi_nudge),
        "spectral_radius": {**_figures(figures.radius), "above_1": int((figures.radius.value > 1).sum())},
        "theorem": {
            **asdict(figures.bounds),
            "beta": run.scenario.relaxation.beta,
            "alpha": run.alpha,
            "margin": _extremes(figures.margin),
            "holds": int((figures.margin > 0).sum()),
        },
        "nudge_phase": {"ticks": figures.nudge_ticks},
        "feedback": {
            "feedback": run.model.feedback.feedback,
            "nudge_feedback": run.model.feedback.nudge_feedback,
            "note": run.model.feedback.note,
            "loss_cosines": dict(zip(names, figures.loss_cosines, strict=False)),
        },
    }


def _learning(run: Experiment) -> dict[str, Any]:
    """Whether the run learned, as its ``run.json`` says; of a run that is not over, or of an earlier version, by its
    tables so far.
    """
    with run.reading() as info:
        said: dict[str, Any] | None = info.get("learning") if info.get("status") == "done" else None
    return said or asdict(judge(Evidence.read(run.run.path, run.scenario, run.data)))


def _layer_rows(network: Network, figures: Figures, residual: Tensor) -> Rows:
    """Rows of layers.csv; ``residual`` (3, 1 + N) has the quantiles of all states and of each layer."""
    tiles = map(asdict, figures.tiles)
    parts = zip(figures.saturation, figures.responses, figures.biases, tiles, strict=True)
    return [
        {
            "layer": layer,
            "name": network.layer_names[layer],
            "activation": network.activations[layer].name,
            **dict(zip((f"residual_{name}" for name in QUANTILES), residual[:, layer + 1].tolist(), strict=True)),
            **{name: value for part in of_layer for name, value in part.items()},
        }
        for layer, of_layer in enumerate(parts)
    ]


def _sample_rows(chosen: Samples, figures: Figures) -> Rows:
    columns: Mapping[str, Sequence[Any]] = {
        "sample": chosen.places.tolist(),
        "label": chosen.labels.tolist(),
        "predicted": figures.logits.argmax(1).tolist(),
        "kind": figures.free.kinds,
        "residual": figures.free.residuals[-1].amax(1).tolist(),
        "L_phi": figures.L_phi.value.tolist(),
        "L_phi_change": figures.L_phi.change.tolist(),
        "L_phi_nudge": figures.L_phi_nudge.value.tolist(),
        "spectral_radius": figures.radius.value.tolist(),
        "spectral_radius_change": figures.radius.change.tolist(),
        "margin": figures.margin.tolist(),
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _residual_rows(ticks: list[int], names: list[str], course: Tensor) -> Rows:
    """Rows of residual.csv from ``course`` (steps, 3, 1 + N); ``layer`` is empty for all states together."""
    return [
        {"tick": tick, "layer": place - 1 if place else "", "name": name, **dict(zip(QUANTILES, values, strict=True))}
        for tick, now in zip(ticks, course, strict=True)
        for place, (name, values) in enumerate(zip(names, now.T.tolist(), strict=True))
    ]


def _extremes(values: Tensor) -> dict[str, float]:
    return {"min": float(values.min()), "median": float(values.quantile(0.5)), "max": float(values.max())}


def _figures(found: PowerIteration) -> dict[str, Any]:
    return {
        **_extremes(found.value),
        "iterations": found.iterations,
        "unconverged": int((~found.converged).sum()),
        "largest_change": float(found.change.max()),
    }


def _range(figures: Mapping[str, float]) -> str:
    return f"median {figures['median']:.4g}, {figures['min']:.4g} to {figures['max']:.4g}"


def _spread(figures: Mapping[str, Any]) -> str:
    return (
        f"{_range(figures)} ({figures['iterations']} power iterations, {figures['unconverged']} unconverged, "
        f"last relative change up to {figures['largest_change']:.0e})"
    )
