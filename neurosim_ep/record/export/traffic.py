"""`neurosim-ep export`: the recorded traffic of a run as the trace of a network simulator."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from neurosim_ep.errors import CheckpointError
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.file import read_model
from neurosim_ep.record.export.common import Exporter
from neurosim_ep.record.export.packets import MeanSample, Phase, Unit, mean_sample
from neurosim_ep.record.rundir import RunDirectory, versions
from neurosim_ep.record.traffic import read_traffic

NOT_INCLUDED = (
    "multicast: what goes to several routers goes to each of them apart, not along a tree",
    "what waits for what: packets leave at given times, however long others take",
    "programming of the cells, and memory outside the chip",
    "differences between samples: samples that come to rest early or late are averaged",
)


class TrafficExporter(Exporter[tuple[RunDirectory, MeanSample]]):
    """A format for what one mean sample sends, in messages or packets: its ``unit``."""

    choices = ("style",)
    unit: ClassVar[Unit] = Unit.MESSAGES

    @abstractmethod
    def write_trace(self, folder: Path, sample: MeanSample) -> dict[str, Any]:
        """Write the files of ``sample`` into ``folder``; returns what export.json says of them."""

    def read(self, run_dir: Path, *, style: str = Style.EVENT, **choices: Any) -> tuple[RunDirectory, MeanSample]:
        """The run with its mean sample on a chip of ``style``. Raises :class:`CheckpointError` without traffic."""
        run = RunDirectory.open(run_dir)
        return run, mean_sample(recording_of(run), Style(style), self.unit)

    def write(self, folder: Path, found: tuple[RunDirectory, MeanSample]) -> dict[str, Any]:
        """See :meth:`Exporter.write`."""
        run, sample = found
        return document(run, sample, self.name, **{"files": list(self.files), **self.write_trace(folder, sample)})

    def told(self, document: dict[str, Any]) -> list[str]:
        """See :meth:`Exporter.told`."""
        line = "{exported:,} {unit} in the trace, {local:,} stay at their router"
        said = line.format(unit=self.unit.value, **document[self.unit.value])
        return [said, *(document[key] for key in ("prepare", "command") if key in document)]


def recording_of(run: RunDirectory) -> Recording:
    """What a run recorded, on its own chip. Raises :class:`CheckpointError` when a file of it is missing or broken."""
    recorded = read_traffic(run.path / "traffic.h5")
    path = run.path / "hardware.toml"
    if not path.is_file():
        raise CheckpointError(f"{run.path}: has no hardware.toml; restore it from a copy, or start the run again")
    return Recording.of(recorded.counts, recorded.plan, read_model(str(path)).model, recorded.signals, recorded.readout)


def document(run: RunDirectory, sample: MeanSample, form: str, **more: Any) -> dict[str, Any]:
    """What ``export.json`` says about a trace of format ``form``."""
    recording, place = sample.recording, sample.placement
    return {
        "format": form,
        "run": {"name": run.info().get("name"), "directory": run.path.resolve().name},
        "versions": versions(),
        "scale": "one mean sample: totals of the recorded batches / samples, rounded to whole " + sample.unit.value,
        "samples": recording.counts.samples,
        "batches": recording.counts.batches,
        "style": sample.style.value,
        "hardware": recording.chip.model.model.name,
        "mesh": {
            "width": place.width,
            "height": place.height,
            "tiles": len(recording.chip.plan.tiles),
            "placement": recording.chip.model.noc.placement,
            "routing": "x first, then y",
            "router": "y * width + x",
            "port": "router 0",
        },
        "cycle_s": sample.cycle_s or None,
        "cycle_note": CYCLE_NOTE if sample.cycle_s else NO_CYCLE_NOTE,
        "flit_bits": sample.flit_bits,
        "cycles": sample.cycles,
        "phases": [_phase_document(phase, sample.unit) for phase in sample.phases],
        sample.unit.value: _numbers(sample),
        "components": _component_document(sample),
        "within_a_phase": SPREAD_NOTES[sample.style],
        **more,
        "not_included": [*NOT_INCLUDED, *more.get("not_included", ())],
    }


CYCLE_NOTE = (
    "a cycle is one hop; a tick takes its mean duration over all samples, and at least a cycle for every flit of the "
    "router that sends most in it"
)
NO_CYCLE_NOTE = (
    "the network of this hardware model takes no time; a tick takes a cycle for every flit of the router that sends "
    "most in it"
)
AT_FIRST = (
    "; input, targets and the partial sums of the first connection in the first tick; other partial sums, which are "
    "counted per phase, evenly over its ticks"
)
SPREAD_NOTES = {
    Style.EVENT: "events in the tick that sent them" + AT_FIRST,
    Style.CLOCKED: "all states of a layer in every tick that updates it" + AT_FIRST,
    Style.SETTLING: "a phase is one tick: the image in the free phase, all states at the end of a nudge phase; neurons "
    "and sums are analog, so that no partial sums are sent",
}


def _numbers(part: MeanSample | Phase) -> dict[str, int]:
    return {"total": part.exported + part.local, "exported": part.exported, "local": part.local}


def _phase_document(phase: Phase, unit: Unit) -> dict[str, Any]:
    lengths = phase.tick_cycles
    return {
        "name": phase.name,
        "first_cycle": phase.first_cycle,
        "cycles": phase.cycles,
        "ticks": phase.ticks,
        "tick_cycles": {
            "mean": phase.cycles / phase.ticks,
            "shortest": int(lengths.min()),
            "longest": int(lengths.max()),
        },
        unit.value: _numbers(phase),
    }


def _component_document(sample: MeanSample) -> Mapping[str, Any]:
    """Of each component of the bill what is exported, and bits and flits of one."""
    frame = sample.flows.assign(exported=sum(phase.messages for phase in sample.phases))
    return {
        str(name): {
            "exported": int(part["exported"].sum()),
            "bits": sorted({int(bits) for bits in part["bits"]}),
            "flits": sorted({int(flits) for flits in part["flits"]}),
        }
        for name, part in frame[frame["exported"] > 0].groupby("component", sort=False)
    }
