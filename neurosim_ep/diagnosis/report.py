"""``neurosim-ep diagnose``: every figure of a trained run's dynamics, as tables, pictures and sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neurosim_ep.diagnosis.findings import findings
from neurosim_ep.diagnosis.folder import refuse_foreign, staged
from neurosim_ep.diagnosis.lipschitz import Linearisation, PowerIteration, bounds, power_iteration
from neurosim_ep.diagnosis.nudging import Setting, biases, go_on, nudge_both, responses
from neurosim_ep.diagnosis.restore import Samples, TrainedRun, choose_samples, restore
from neurosim_ep.diagnosis.saturation import saturation
from neurosim_ep.diagnosis.settling import KINDS, FreePhase, observe_free_phase, quantiles
from neurosim_ep.errors import DivergenceError
from neurosim_ep.record.logs import write_table
from neurosim_ep.record.rundir import versions, write_json
from neurosim_ep.scenario.schema import RelaxationSection
from neurosim_ep.scheduler.engine import Engine
from neurosim_ep.scheduler.schedule import Schedule

FORMAT = 1
QUANTILES = ("median", "p90", "max")
RESIDUAL_COLUMNS = ("tick", "layer", "name", *QUANTILES)

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
        return [
            ("run", f"{doc['run']['name']}, after epoch {doc['run']['epoch']} of {doc['run']['epochs']}"),
            ("samples", f"{doc['samples']['count']} test images: {doc['samples']['choice']}"),
            ("free phase", f"{free['ticks']} ticks, policy {free['policy']}, no sample leaves"),
            ("residual at its end", ", ".join(f"{name} {residual[name]:.2e}" for name in QUANTILES)),
            ("motion at its end", ", ".join(f"{count} {kind}" for kind, count in kinds.items())),
            ("L_Φ", _spread(doc["L_phi"])),
            ("spectral radius of the free map", _spread(doc["spectral_radius"])),
            ("margin of Theorem 3.1", _range(theorem["margin"])),
            (
                "  made of",
                f"c {theorem['c']:g}, β {theorem['beta']:g}, α {theorem['alpha']:.3g}, L_1 {theorem['L_1']:.3g}, "
                f"L_2 {theorem['L_2']:.3g}",
            ),
            ("folder", str(self.folder)),
        ]

    def layer_table(self) -> list[dict[str, str]]:
        """The most telling columns of layers.csv, formatted."""
        columns = {
            "at 0": ("at_lower", ".0%"),
            "at top": ("at_upper", ".0%"),
            "dead": ("dead", ".0%"),
            "linear": ("linear", ".0%"),
            "std": ("std_across_samples", ".1e"),
            "|s+ - s*|": ("displacement_plus", ".1e"),
            "|s- - s*|": ("displacement_minus", ".1e"),
            "drift": ("drift", ".1e"),
            "net": ("net_plus", ".1e"),
            "asymmetry": ("net_asymmetry", ".2f"),
            "2 beta": ("twice_beta", ".2f"),
            "|dW|": ("gradient_norm", ".1e"),
            "one-sided": ("one_sided_distance", ".2f"),
        }
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
    run_dir: Path,
    samples: int = 64,
    out: Path | None = None,
    *,
    device: str = "auto",
    say: Callable[[str], None] = lambda message: None,
) -> Diagnosis:
    """Diagnose the network that the run in ``run_dir`` trained on ``samples`` of its test images.

    Writes ``out`` (default ``run_dir/diagnosis``) anew, whole or not at all; ``say`` is told what is being done. Raises
    :class:`UsageError`, :class:`CheckpointError` or :class:`DataError` for what cannot be used and
    :class:`DivergenceError` when states are not finite.
    """
    folder = run_dir / "diagnosis" if out is None else out
    run = restore(run_dir, device)
    refuse_foreign(folder)
    chosen = choose_samples(run, samples)
    found = _measure(run, chosen, folder, say)
    say("drawing the pictures")
    with staged(folder) as staging:
        write_json(staging / "diagnosis.json", found.document)
        for name, rows in (("layers", found.layers), ("samples", found.samples)):
            write_table(staging / f"{name}.csv", rows, list(rows[0]))
        write_table(staging / "residual.csv", found.residuals, RESIDUAL_COLUMNS)
        from neurosim_ep.analysis.diagnosis import draw_diagnosis

        draw_diagnosis(staging)
    return found


def _measure(run: TrainedRun, chosen: Samples, folder: Path, say: Callable[[str], None]) -> Diagnosis:
    relaxation, network = run.scenario.relaxation, run.model.network
    schedule = replace(Schedule.of(run.scenario.scheduler, relaxation), tolerance=0.0, nudge_tolerance=0.0)
    engine = Engine(network, schedule)
    tolerance = relaxation.tolerance or RelaxationSection.model_fields["tolerance"].default
    say(f"free phase of {relaxation.free_steps} ticks, {len(chosen.places)} samples on {run.device}")
    free = observe_free_phase(engine, chosen.x, chosen.start, relaxation.free_steps, tolerance)
    for note in engine.notes:
        say(note)
    if not bool(free.residuals.isfinite().all()):
        raise DivergenceError(
            f"{run.directory.path}: states of the free phase are not finite; this network cannot be diagnosed, start "
            "the run again with a lower training.learning_rate or network.weight_scale"
        )

    say("power iterations")
    around = Linearisation(network, free.input_drive, free.end.states)
    L_phi = power_iteration(around.hessian, free.end.states)
    radius = power_iteration(around.map_hessian, free.end.states)
    constants = bounds(network, run.model.signals)
    margin = constants.margin(L_phi.value, relaxation.beta, run.alpha)

    say(f"nudge phases of {relaxation.nudge_steps} ticks with 0, ±β/2, ±β and ±2β")
    setting = Setting(chosen.labels, relaxation.nudge_steps, run.model.signals, run.alpha)
    beta = relaxation.beta
    ends, half, twice = (nudge_both(engine, free, setting, value) for value in (beta, beta / 2, 2 * beta))
    alone = go_on(engine, free, setting)

    curves = torch.cat([free.residuals.amax(2, keepdim=True), free.residuals], 2)  # all states, then the layers
    course = quantiles(curves)
    columns = zip(
        saturation(network.activations, free.end.states, around.slopes),
        responses(free.end.states, ends, half, twice, alone),
        biases(engine, chosen.x, free, ends, beta),
        strict=True,
    )
    layers = [
        {
            "layer": layer,
            "name": network.layer_names[layer],
            "activation": network.activations[layer],
            **dict(zip((f"residual_{name}" for name in QUANTILES), course[-1, :, layer + 1].tolist(), strict=True)),
            **{name: value for part in parts for name, value in asdict(part).items()},
        }
        for layer, parts in enumerate(columns)
    ]
    samples = _sample_rows(chosen, network.logits(free.end.seen), free, L_phi, radius, margin)
    scalars: dict[str, Any] = {
        "format": FORMAT,
        "run": {
            "name": run.scenario.scenario.name,
            "directory": run.directory.path.resolve().name,
            "seed": run.scenario.scenario.seed,
            "epoch": run.epoch,
            "epochs": run.scenario.training.epochs,
        },
        "versions": versions(),
        "device": str(run.device),
        "samples": {
            "count": len(chosen.places),
            "test_images": len(run.data.test_labels),
            "choice": "the first of each class in equal numbers, in the order of the test set",
            "correct": sum(row["label"] == row["predicted"] for row in samples),
        },
        "free_phase": {
            "ticks": free.ticks[-1],
            "policy": schedule.policy,
            "precision": engine.precision,
            "tolerance": tolerance,
            "residual": dict(zip(QUANTILES, course[-1, :, 0].tolist(), strict=True)),
            "kinds": {kind: Counter(free.kinds)[kind] for kind in KINDS.values()},
        },
        "L_phi": _figures(L_phi),
        "spectral_radius": {**_figures(radius), "above_1": int((radius.value > 1).sum())},
        "theorem": {
            **asdict(constants),
            "beta": beta,
            "alpha": run.alpha,
            "margin": _extremes(margin),
            "holds": int((margin > 0).sum()),
        },
        "nudge_phase": {"ticks": -(-relaxation.nudge_steps // engine.policy.ticks) * engine.policy.ticks},
    }
    names = ["all states", *network.layer_names]
    scalars["findings"] = findings(samples, layers, scalars)
    return Diagnosis(folder, scalars, layers, samples, _residual_rows(free.ticks, names, course))


def _sample_rows(
    chosen: Samples, logits: Tensor, free: FreePhase, L_phi: PowerIteration, radius: PowerIteration, margin: Tensor
) -> Rows:
    columns: Mapping[str, Sequence[Any]] = {
        "sample": chosen.places,
        "label": chosen.labels.tolist(),
        "predicted": logits.argmax(1).tolist(),
        "kind": free.kinds,
        "residual": free.residuals[-1].amax(1).tolist(),
        "L_phi": L_phi.value.tolist(),
        "L_phi_change": L_phi.change.tolist(),
        "spectral_radius": radius.value.tolist(),
        "spectral_radius_change": radius.change.tolist(),
        "margin": margin.tolist(),
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
