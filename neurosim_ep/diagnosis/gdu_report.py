"""The gradient check as a command: from a scenario or run directory to a folder of tables and pictures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from neurosim_ep.analysis.gdu import draw_gdu
from neurosim_ep.analysis.style import SCREEN, Output
from neurosim_ep.diagnosis.gdu import REST_SHARE, SIDES, Gdu, Setting, check_updates
from neurosim_ep.diagnosis.samples import training_samples
from neurosim_ep.ep.signals import Errors
from neurosim_ep.errors import DivergenceError, UsageError
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.record.atomic import write_json
from neurosim_ep.record.logs import write_table
from neurosim_ep.record.rundir import iso_time, versions
from neurosim_ep.record.whole_folder import new_folder, refuse_filled
from neurosim_ep.registry import POLICIES
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.scheduler.policies import layer_by_layer

SCHEMA_VERSION = 1
DEFINITIONS = {
    "ep": "change of dPhi/dw in nudge tick t over beta, batch mean, with the sign of -gradient",
    "bptt": "minus the gradient of the batch-mean loss at T with respect to the weights used t ticks before the last",
    "relative_rmse": "rms(ep - bptt) / (rms(ep) + rms(bptt)) over ticks and synapses: 0 equal, 1 opposite or one is 0",
    "sign_errors": "share of the synapses changed by bptt whose cumulated ep update has another sign or is 0",
    "cosine": "of the updates of all synapses of a layer; in gdu_layers.csv of the cumulated updates",
    "norm_ratio": "norm of the cumulated ep update over that of bptt",
    "at_rest": f"free_motion (largest distance of the free states of the last K ticks from those at T) is at most "
    f"{REST_SHARE:g} of the displacement (largest distance of nudged end states from those at T)",
    "argmax_switches": "share of max-pooling windows with another argmax at a nudged end than at T",
    "kinks_crossed": "share of neurons that are at a bound of their activation at T or at a nudged end, but not both",
    "gdu_synapses.csv": "a sample of the synapses of each layer, drawn from the seed",
}


@dataclass(frozen=True)
class GduReport:
    """What :func:`gdu` leaves: the folder, the comparison, what must be known to read it, a line each, and gdu.json."""

    out: Path
    found: Gdu
    notes: list[str]
    document: dict[str, Any]

    def rows(self) -> list[dict[str, str]]:
        """The summary table, one row per connection: symmetric EP in full, and the relative RMSE of either side."""
        table = []
        for name in dict.fromkeys(row["name"] for row in self.found.layers):
            right, left, both = (
                next(row for row in self.found.layers if (row["name"], row["side"]) == (name, side)) for side in SIDES
            )
            table.append(
                {
                    "layer": str(both["layer"]),
                    "name": str(name),
                    "RMSE right": _show(right["relative_rmse"]),
                    "left": _show(left["relative_rmse"]),
                    "symmetric": _show(both["relative_rmse"]),
                    "sign errors": _show(both["sign_errors"], ".2%"),
                    "cosine": _show(both["cosine"], ".6f"),
                    "norm ratio": _show(both["norm_ratio"], ".4f"),
                    "argmax switches": _show(both["argmax_switches"], ".3%"),
                    "kinks crossed": _show(both["kinks_crossed"], ".3%"),
                    "at rest": "yes" if both["at_rest"] else "NO",
                }
            )
        return table


def gdu(
    target: Scenario | Path,
    out: Path | None = None,
    *,
    samples: int = 8,
    overrides: Sequence[str] = (),
    device: str = "auto",
    threads: int | None = None,
    output: Output = SCREEN,
) -> GduReport:
    """Check EP's updates against BPTT's on a scenario's initial weights, or on those of a run directory.

    ``overrides`` change the scenario of a run directory. Leaves a new folder at ``out`` (default
    ``gdu/<time>_<name>``), with pictures as ``output`` has them. ``threads`` is the number PyTorch computes with on the
    CPU (None: what fits machine and work). Raises :class:`UsageError` when something is there, or when K exceeds T, and
    :class:`DivergenceError` when states or gradients are not finite.
    """
    began = time.perf_counter()
    experiment = Experiment.open(target, device=device, overrides=overrides, exact=True)
    experiment.require_phases()
    scenario = experiment.scenario
    folder = out or Path("gdu") / f"{datetime.now(UTC):%Y%m%d-%H%M%S}_{scenario.scenario.name}"
    refuse_filled(folder, "made")
    relaxation = scenario.relaxation
    if relaxation.nudge_steps > relaxation.free_steps:
        raise UsageError(
            f"relaxation.nudge_steps = {relaxation.nudge_steps}: must not exceed relaxation.free_steps "
            f"({relaxation.free_steps}), the ticks BPTT can go back; lower it with --set"
        )
    model = experiment.model.to(experiment.device, torch.float64)
    chosen = training_samples(experiment, samples)
    experiment.use_threads(threads, samples)
    teacher = {layer: shown.double() for layer, shown in experiment.plain_targets(chosen.places).items()}
    sweep = model.network.layers if _sweeps(scenario) else 1
    setting = Setting(
        sweep * relaxation.free_steps, sweep * relaxation.nudge_steps, relaxation.beta,
        Errors(model.signals, experiment.alpha, teacher), scenario.scenario.seed, experiment.model.feedback,
    )  # fmt: skip
    found = check_updates(model.network, chosen.x, chosen.labels, setting, chosen.start)
    if not all(_finite(row["ep_norm"]) and _finite(row["bptt_norm"]) for row in found.ticks):
        raise DivergenceError("diverged: states or gradients are not finite; lower network.weight_scale")
    notes = [*filter(None, [experiment.other_images]), *_notes(scenario, setting, found)]
    document = _document(found, notes, experiment, setting, samples) | {"seconds": time.perf_counter() - began}
    with new_folder(folder, "made") as staging:
        _write(staging, found, document)
        draw_gdu(staging, output)
    return GduReport(folder, found, notes, document)


def _sweeps(scenario: Scenario) -> bool:
    """Whether T and K are sweeps, for each of which the synchronous map needs a tick per layer."""
    return layer_by_layer(POLICIES[scenario.scheduler.policy])


def _notes(scenario: Scenario, setting: Setting, found: Gdu) -> list[str]:
    notes = []
    if scenario.scheduler.policy != "synchronous":
        ticks = f"; {setting.free_steps} and {setting.nudge_steps} of its ticks stand for the sweeps"
        notes.append(
            f"scheduler.policy = {scenario.scheduler.policy!r} is not used: the theorem is of the synchronous map"
            f"{ticks if _sweeps(scenario) else ''}"
        )
    if setting.gains and setting.gains.note:
        found_cosines = (row["cosine"] for row in found.layers if row["side"] == "symmetric")
        cosines = [cosine for cosine in found_cosines if isinstance(cosine, float)]
        measured = f"; cosines with those of BPTT {min(cosines):.3f} to {max(cosines):.3f}" if cosines else ""
        notes.append(f"{setting.gains.note}{measured}")
    if found.restless:
        notes.append(
            f"NOT AT REST in {', '.join(found.restless)}: the free states still moved by more than {REST_SHARE:.0%} of "
            "what the nudge displaces them, so the theorem says nothing there; raise relaxation.free_steps"
        )
    return notes


def _write(folder: Path, found: Gdu, document: dict[str, Any]) -> None:
    """Tables and gdu.json."""
    tables = {"gdu": found.ticks, "gdu_layers": found.layers, "gdu_synapses": found.synapses}
    for name, rows in tables.items():
        write_table(folder / f"{name}.csv", rows)
    write_json(folder / "gdu.json", document)


def _document(found: Gdu, notes: list[str], experiment: Experiment, setting: Setting, samples: int) -> dict[str, Any]:
    """What gdu.json says of the comparison."""
    scenario = experiment.scenario
    return {
        "schema_version": SCHEMA_VERSION,
        "name": scenario.scenario.name,
        "source": "initial weights" if experiment.directory is None else str(experiment.directory.path),
        "epochs_trained": experiment.epoch,
        "samples": samples,
        "data_digest": experiment.data.digest,
        "seed": scenario.scenario.seed,
        "free_steps": setting.free_steps,
        "nudge_steps": setting.nudge_steps,
        "feedback": experiment.model.feedback.feedback,
        "nudge_feedback": experiment.model.feedback.nudge_feedback,
        "beta": scenario.relaxation.beta,
        "alpha": None if experiment.model.signals is None else experiment.alpha,
        "policy": "synchronous",
        "number_format": "float64",
        "free_residual": found.residual,
        "at_rest": not found.restless,
        "notes": notes,
        "definitions": DEFINITIONS,
        "versions": versions(),
        "device": str(experiment.device),
        "finished": iso_time(datetime.now(UTC)),
    }


def _finite(value: object) -> bool:
    return isinstance(value, float) and abs(value) < float("inf")


def _show(value: object, form: str = ".2e") -> str:
    return "-" if value is None else format(value, form)
