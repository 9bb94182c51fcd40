"""`neurosim-ep export --format neurosim`: weights of a trained run, and what its tiles read at rest on a test image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from neurosim_ep.diagnosis.at_rest import AtRest
from neurosim_ep.diagnosis.samples import training_samples
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.record.export.common import Exporter
from neurosim_ep.record.export.neurosim import COMMAND, NETWORK, LayerTrace, write_neurosim
from neurosim_ep.registry import RULES
from neurosim_ep.scenario.topology import per_layer
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
    "weightOld files have the last weights of the run, weight files those after one more update: the mean gradient of "
    "the first training images, one batch or fewer, times training.learning_rate; neither momentum, decay, clipping "
    "nor limits"
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

    def read(self, run_dir: Path, **choices: Any) -> AtRest:
        """The run at rest; raises what :meth:`AtRest.of` does."""
        return AtRest.of(run_dir)

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
    return [
        LayerTrace(
            ConnectionGeometry.from_connection(connection),
            (connection.weight.detach() + change).contiguous().numpy(),
            connection.weight.detach().contiguous().numpy(),
            found.inputs(number).contiguous().numpy(),
            signed=connection.signed[0],
        )
        for number, (connection, change) in enumerate(
            zip(found.run.model.network.connections, one_more_update(found.run), strict=True)
        )
    ]


def one_more_update(run: Experiment) -> list[Tensor]:
    """Change of the weights of every connection by a step of plain gradient descent on the first training images."""
    scenario, network = run.scenario, run.model.network
    batch = training_samples(run, min(scenario.training.batch_size, len(run.data.train_labels)))
    rule = RULES[scenario.plasticity.rule]
    found = rule.present(
        Presented(
            scenario, run.engine(), batch.x, batch.labels, run.model.signals, run.alpha,
            run.plain_targets(batch.places), batch.start, (), None,
        )
    )  # fmt: skip
    rates = per_layer(scenario.training.learning_rate, network.layers, "training.learning_rate", "rate")
    return [
        -rates[connection.target] * found.grads[f"connections.{number}.weight"]
        for number, connection in enumerate(network.connections)
    ]
