"""What every column of the tables and every dataset of ``traffic.h5`` is: unit and meaning, said once.

Units are SI, or what is counted; "fraction" is one of 1, and "" stands for names, numbers of things and figures
without a unit.
"""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    """Unit and meaning of a column or dataset."""

    unit: str
    meaning: str


TRAFFIC = {
    "batches/epoch": Column("epoch", "epoch of the recorded batch"),
    "batches/batch": Column("batch", "number of the batch within its epoch"),
    "batches/samples": Column("sample", "samples of the batch; counts are sums over them"),
    "layers/name": Column("", "name of the connection that drives the layer"),
    "layers/identities": Column("", "shapes and layers of the edges without weights, as JSON"),
    "layers/neurons": Column("neuron", "neurons of the layer"),
    "layers/geometry": Column("", "shapes of the connection, as JSON"),
    "tiles/tile": Column("", "number of the tile"),
    "tiles/layer": Column("", "connection the tile belongs to, counted from 0"),
    "tiles/name": Column("", "name of that connection"),
    "tiles/row_block": Column("", "block of matrix rows, counted from 0"),
    "tiles/col_block": Column("", "block of physical columns, counted from 0"),
    "tiles/rows": Column("row", "used rows"),
    "tiles/columns": Column("column", "used physical columns"),
    "tiles/utilisation": Column("1", "used cells / cells of the array"),
    "tiles/reuse": Column("read", "output positions that read the tile per sample and tick"),
    "senders/layer": Column("", "state layer of these neurons"),
    "senders/home": Column("", "tile beside which they live"),
    "senders/neurons": Column("neuron", "neurons that share home and destinations"),
    "projections/role": Column("", "signal or readout"),
    "projections/layer": Column("", "state layer it belongs to"),
    "projections/features": Column("neuron", "numbers it reads"),
    "projections/classes": Column("1", "numbers it compares with targets"),
    "projections/learned": Column("", "whether training changes it"),
    "projections/direct": Column("", "whether it compares neuron by neuron, without a matrix"),
    "projections/off_chip_bits": Column("bit", "stored targets fetched per sample"),
    "reads": Column("read", "(sample, tick, position) that read the tile"),
    "active_lines": Column("line", "driven lines, summed over reads"),
    "adc_conversions": Column("conversion", "reads x sensed lines x slices x passes"),
    "dac_conversions": Column("conversion", "active lines x input pulses"),
    "accumulate_adds": Column("addition", "additions into the update accumulators"),
    "pulses_up": Column("pulse", "programming pulses that raised a weight"),
    "pulses_down": Column("pulse", "programming pulses that lowered a weight"),
    "pulses_net": Column("pulse", "what is left of the pulses of each weight when those up and down cancel"),
    "write_steps": Column("pulse", "pulses in a row when the cells of a row are written at once"),
    "events": Column("event", "events sent by the neurons of the layer in the tick"),
    "messages": Column("message", "events x tiles each must reach"),
    "presentations": Column("sample", "samples whose layer was updated in the tick"),
    "needed": Column("sample", "those of them that an input had changed for since the last update"),
    "sends": Column("event", "events sent by the neurons of the sender in the tick"),
    "places/tile": Column("", "number of the tile"),
    "places/x": Column("", "column of the mesh"),
    "places/y": Column("", "row of the mesh"),
    "links/phase": Column("", "phase of the presentation"),
    "links/side": Column("", "side of the router that the link leaves"),
    "links/x": Column("", "column of that router"),
    "links/y": Column("", "row of that router"),
    "links/bits": Column("bit", "bits that crossed the link in event style, over all recorded batches"),
    "noc/src": Column("", "tile that sends; -1: the chip's port"),
    "noc/dst": Column("", "tile that receives"),
    "noc/phase": Column("", "phase of the presentation"),
    "noc/tick": Column("tick", "first tick of the bin; -1: the whole phase"),
    "noc/messages": Column("message", "messages of the event style in the bin, over all recorded batches"),
    "noc/bits": Column("bit", "their bits, addresses included"),
    "cost/count": Column("1", "actions, or seconds times things where unit_energy_J is a power"),
    "cost/samples": Column("sample", "samples of the recorded batches"),
}
"""Datasets of ``traffic.h5`` by their whole name, or by its last part where that says it."""

_SETTLING = {
    "mean_ticks": Column("tick", "tick at which a sample was found at rest, or the last one, mean over all samples"),
    "active": Column("fraction", "samples of a batch computed per tick, mean"),
    "not_converged": Column("fraction", "samples whose residual at the last tick is above the tolerance"),
    "slow": Column("fraction", "samples that still move, but ever less"),
    "period_2": Column("fraction", "samples whose states come back after two steps"),
    "other": Column("fraction", "samples that move neither ever less nor with period 2"),
    "residual": Column("state", "mean residual of the samples that had not converged"),
}


_OF_PHASES = {
    f"{before}_{name}": Column(unit, f"{phase}: {meaning}")
    for before, phase in (("free", "free phase"), ("nudge", "nudge phases"))
    for name, (unit, meaning) in _SETTLING.items()
}

PLAIN = {"free_mean_ticks": "mean_ticks", "free_not_converged": "not_converged"}
"""Columns about the free phase that every run is judged by, as epochs.csv calls them."""
_LAYER = {"layer": Column("", "number of the layer, counted from 0"), "name": Column("", "name of the layer")}
_EPOCH = {"epoch": Column("", "number of the epoch, counted from 1")}
_STYLE = {"style": Column("", "how the chip works: clocked, event or settling; see docs/hardware.md")}
_PHASE = {"phase": Column("", "free, nudge_plus (+β), nudge_minus (−β) or update")}
_ENDS = {"low": "with the numbers of the hardware model at their low ends", "high": "with them at their high ends"}
_TILE = {name.removeprefix("tiles/"): column for name, column in TRAFFIC.items() if name.startswith("tiles/")}

TABLES: dict[str, dict[str, Column]] = {
    "epochs.csv": {
        **_EPOCH,
        "loss": Column("", "loss of the readout at the free end point of every training sample, before its update"),
        "train_accuracy": Column("fraction", "training samples classified correctly, before their update"),
        "test_accuracy": Column("fraction", "test images classified correctly after the epoch"),
        "alpha": Column("", "weight α of the local error signals"),
        "learning_rate": Column("", "largest learning rate of the connections when the epoch began"),
        **{PLAIN.get(name, name): column for name, column in _OF_PHASES.items() if not name.endswith("_active")},
        "seconds": Column("s", "training, test and bookkeeping of the epoch"),
    },
    "layers.csv": {
        **_EPOCH,
        **_LAYER,
        "mean_abs_state": Column("state", "mean |s| over neurons and samples at the free end point"),
        "std_across_samples": Column("state", "deviation of a state across samples, mean over neurons"),
        "fraction_zero": Column("fraction", "states that are 0"),
        "fraction_upper": Column("fraction", "states at the upper bound of the activation"),
        "dead_fraction": Column(
            "fraction", "neurons at the lower bound (signed states: at a bound) for the whole batch"
        ),
        "mean_abs_nudge_difference": Column("state", "mean |s⁺ − s⁻|: how far the nudge moves the states"),
        "mean_abs_dW": Column("", "mean |dW| of the weight gradient, batch mean"),
        "norm_dW": Column("", "norm of the weight gradient"),
        "norm_W": Column("", "norm of the weights before the update"),
        "readout_accuracy": Column("fraction", "test images that the layer's own signal classifies correctly"),
        **_OF_PHASES,
        "updates": Column("update", "layer updates done"),
        "updates_dense": Column("update", "layer updates of all samples in all ticks with all layers at once"),
        "updates_needed": Column("fraction", "updates of the recorded batches that an input had changed for"),
        "events_per_neuron_tick": Column("event", "events per neuron, sample and tick of the recorded batches"),
        "energy_J": Column("J", "energy per training sample, clocked, all phases, of the recorded batches"),
        "adc_step_forward": Column("drive", "conversion step of the forward read in the nudge phases"),
        "adc_step_transposed": Column("drive", "conversion step of the transposed read in the nudge phases"),
        "adc_step_nudge": Column("drive", "the larger step of the reads that carry the nudge"),
        "clipped_forward": Column("fraction", "clipped conversions of the forward read"),
        "clipped_transposed": Column("fraction", "clipped conversions of the transposed read"),
        "pulses_up": Column("pulse", "pulses up per weight and batch"),
        "pulses_down": Column("pulse", "pulses down per weight and batch"),
        "pulses_net": Column("pulse", "pulses per weight and batch that are left when those up and down cancel"),
    },
    "residual.csv": {
        **_EPOCH,
        **_PHASE,
        "tick": Column("tick", "tick of the phase, counted from 1"),
        "mean_residual": Column("state", "largest change of any state of a sample in the last step, mean of samples"),
        "max_residual": Column("state", "the same, largest of all samples"),
        "active": Column("fraction", "samples that are computed in the tick"),
    },
    "tiles.csv": {
        **_TILE,
        **_PHASE,
        "direction": Column("", "forward or transposed"),
        "accounting": Column("", "clocked: every read; event: reads with a line whose neuron sent"),
        **{name: TRAFFIC[name] for name in ("reads", "active_lines", "adc_conversions", "dac_conversions")},
    },
    "pulses.csv": {
        **{name: _TILE[name] for name in ("tile", "layer", "name")},
        **{name: TRAFFIC[name] for name in ("pulses_up", "pulses_down", "pulses_net")},
    },
    "cost.csv": {
        **{name: _TILE[name] for name in ("tile", "layer", "name")},
        **_PHASE,
        "component": Column("", "part of the chip that the energy is spent on"),
        **_STYLE,
        "count": TRAFFIC["cost/count"],
        "unit_energy_J": Column("J", "energy per count, or power [W] where counts are seconds"),
        "energy_J": Column("J", "energy over all recorded samples"),
        **{f"energy_{end}_J": Column("J", f"energy {told}") for end, told in _ENDS.items()},
        "samples": TRAFFIC["cost/samples"],
    },
    "comparison.csv": {
        **_STYLE,
        "energy_J": Column("J", "energy of EP per training sample, all phases"),
        **{f"energy_{end}_J": Column("J", f"energy of EP {told}") for end, told in _ENDS.items()},
        "ticking_J": Column("J", "part of it that is proportional to the ticks"),
        "sending_J": Column("J", "part of it that is proportional to the events"),
        "ticks": Column("tick", "ticks of all phases"),
        "least_ticks": Column("tick", "ticks in which every phase updates every layer once: fewer there cannot be"),
        "latency_s": Column("s", "time of EP per training sample"),
        **{f"latency_{end}_s": Column("s", f"time of EP {told}") for end, told in _ENDS.items()},
        "backprop_J": Column("J", "energy of backpropagation on the same tiles, clocked, per training sample"),
        **{f"backprop_{end}_J": Column("J", f"energy of backpropagation {told}") for end, told in _ENDS.items()},
        "backprop_latency_s": Column("s", "time of backpropagation per training sample"),
        "area_m2": Column("m²", "area of the chip in this style; settling has tiles for every position"),
        "backprop_area_m2": Column("m²", "area of the chip with the memories of backpropagation"),
        "ratio_low": Column(
            "", "smallest energy of EP / backpropagation within the intervals; empty until a run is at its end"
        ),
        "ratio_high": Column(
            "", "largest energy of EP / backpropagation within the intervals; empty until a run is at its end"
        ),
    },
    "sensitivity.csv": {
        **_STYLE,
        "key": Column("", "number of the hardware model"),
        "unit": Column("", "its unit"),
        "low": Column("", "low end of its interval"),
        "value": Column("", "its value"),
        "high": Column("", "high end of its interval"),
        "energy_at_low_J": Column("J", "energy of EP per training sample with the number at its low end"),
        "energy_J": Column("J", "energy of EP per training sample"),
        "energy_at_high_J": Column("J", "energy of EP per training sample with the number at its high end"),
        "ratio_at_low": Column("", "energy of EP / backpropagation with the number at its low end"),
        "ratio": Column("", "energy of EP / backpropagation"),
        "ratio_at_high": Column("", "energy of EP / backpropagation with the number at its high end"),
    },
    "memory.csv": {
        "method": Column("", "ep, bptt_T and bptt_K (states of T or K ticks kept), backprop, or off_chip"),
        **_LAYER,
        "item": Column("", "what is kept"),
        "bits": Column("bit", "memory that it takes"),
    },
    "area.csv": {
        **_LAYER,
        "component": Column("", "part of the chip"),
        "units": Column("unit", "how many of it there are"),
        "area_m2": Column("m²", "area of all of them"),
    },
}
"""Columns of the tables of a run directory, by file."""

_OF_STYLES = ("clocked", "event", "settling")
POINTS = {
    "point": Column("", "name of the point: its number and settings"),
    "status": Column("", "waiting, running, interrupted, done, diverged or failed"),
    "epochs": Column("epoch", "epochs that are done"),
    **{name: TABLES["epochs.csv"][name] for name in ("loss", "train_accuracy", "test_accuracy")},
    "best_test_accuracy": Column("fraction", "largest test accuracy of any epoch"),
    **{name: TABLES["epochs.csv"][name] for name in ("mean_ticks", "not_converged")},
    **{f"energy_{style}_J": Column("J", f"energy per training sample, {style}") for style in _OF_STYLES},
    **{f"latency_{style}_s": Column("s", f"time per training sample, {style}") for style in _OF_STYLES},
    "backprop_J": TABLES["comparison.csv"]["backprop_J"],
    **{f"ep_per_backprop_{style}": Column("", f"energy of EP, {style}, / backpropagation") for style in _OF_STYLES},
    "area_m2": Column("m²", "area of the chip"),
    "seconds": Column("s", "time that the run took"),
    "reason": Column("", "why the point failed"),
}
"""Columns of ``points.csv`` of a sweep, whose settings stand behind the first, and metrics in ``run.json``."""
