"""`neurosim-ep export --format neurosim`: weights of a trained run, and what its tiles read at rest on a test image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neurosim_ep.diagnosis.at_rest import AtRest
from neurosim_ep.diagnosis.samples import training_samples
from neurosim_ep.ep.signals import Errors
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.experiment.optimiser import Optimiser
from neurosim_ep.record.export.common import Exporter
from neurosim_ep.record.export.neurosim import COMMAND, NETWORK, LayerTrace, write_neurosim
from neurosim_ep.registry import RULES
from neurosim_ep.scheduler.rules import Presented
from neurosim_ep.tiles.mapping import ConnectionGeometry

CODES = (
    "inputs as integers of these bits, most significant first, the largest one standing for full_scale: states lie in "
    "[0, full_scale] and are unsigned; the image, which is normalised, and states that have a sign may be negative, so "
    "they are in two's complement"
)
NOT_INCLUDED = (
    "biases, readout, error signals and identities, which are digital",
    "transposed reads: NeuroSim reads forward only, and once, where relaxation reads in every tick",
    "the nudge phases",
)
UPDATE = (
    "weightOld files have the last weights of the run, weight files those after one more update, on the first training "
    "images, with the momentum and the learning rate of the last one; without rounding to pulses"
)
WEIGHTS = (
    "divided by weight_unit, the largest weight of the connection, so that -1 to 1 and thus all of NeuroSim's "
    "conductances are used; neither rounded to levels nor split into pairs"
)
PRECISION = "bits of weights and inputs stand in trace_command.sh; set cellBit in NeuroSim's Param.cpp to weight_bits"


class NeuroSim(Exporter[AtRest]):
    """The last weights of a run, an update more, and the inputs of its connections at rest on one test image."""

    name = "neurosim"
    sentence = (
        "weights, an update of them and inputs of DNN+NeuroSim: the last weights, and states at rest on a test image"
    )
    files = (NETWORK, COMMAND, "weight_*.csv", "weightOld_*.csv", "input_*.csv")
    choices = ("set",)

    def read(self, run_dir: Path, *, set: Sequence[str] = (), **choices: Any) -> AtRest:
        """The run at rest; raises what :meth:`AtRest.of` does."""
        return AtRest.of(run_dir, set)

    def write(self, folder: Path, found: AtRest) -> dict[str, Any]:
        """See :meth:`Exporter.write`."""
        hardware = found.run.model.hardware
        bits, weight_bits = int(hardware.digital.state_bits.value), hardware.weight_bits()
        return {
            **found.document(self.name),
            "bits": bits,
            "weight_bits": weight_bits,
            "codes": CODES,
            "precision": PRECISION,
            "weights": WEIGHTS,
            "update": UPDATE,
            "rows": "Cin, Kh, Kw, with Kw fastest",
            **write_neurosim(folder, _layers(found), input_bits=bits, weight_bits=weight_bits),
            "not_included": NOT_INCLUDED,
        }

    def told(self, document: dict[str, Any]) -> list[str]:
        """See :meth:`Exporter.told`."""
        return [document["command"]]


def _layers(found: AtRest) -> list[LayerTrace]:
    """Every connection with what it reads, and its weights before and after one more update."""
    connections = found.run.model.network.connections
    inputs = [found.inputs(number).contiguous().numpy() for number in range(len(connections))]
    before = [connection.weight.detach().clone().numpy() for connection in connections]
    update_once_more(found.run)
    return [
        LayerTrace(
            ConnectionGeometry.from_connection(connection),
            connection.weight.detach().contiguous().numpy(),
            old,
            read,
            signed=connection.signed[0],
        )
        for connection, old, read in zip(connections, before, inputs, strict=True)
    ]


def update_once_more(run: Experiment) -> None:
    """Change the weights of a run's network as its last update would have on the first training images."""
    scenario, model, kept = run.scenario, run.model, run.checkpoint["trainer"]["optimiser"]
    batch = training_samples(run, min(scenario.training.batch_size, len(run.data.train_labels)))
    rule = RULES[scenario.plasticity.rule]
    found = rule.present(
        Presented(
            scenario, run.engine(), batch.x, batch.labels,
            Errors(model.signals, run.alpha, run.plain_targets(batch.places)), batch.start, (),
        )
    )  # fmt: skip
    updates = math.ceil(len(run.data.train_labels) / scenario.training.batch_size) * scenario.training.epochs
    optimiser = Optimiser(model.network, model.signals, scenario.training, updates)
    optimiser.load_state_dict({**kept, "done": max(int(kept["done"]) - 1, 0)})
    optimiser.step(found.grads)
