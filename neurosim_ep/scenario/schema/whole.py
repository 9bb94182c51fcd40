"""A whole scenario, and the rules between its sections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from neurosim_ep.registry import POLICIES, RULES, SINKS
from neurosim_ep.scenario.names import OneOf
from neurosim_ep.scenario.schema.dynamics import RelaxationSection, SchedulerSection
from neurosim_ep.scenario.schema.learning import PlasticitySection, SignalsSection, TeacherSection, TrainingSection
from neurosim_ep.scenario.schema.network import DataSection, NetworkSection
from neurosim_ep.scenario.schema.section import LARGEST, Section, described
from neurosim_ep.scenario.schema.tiles import HardwareSection
from neurosim_ep.scenario.topology import LayerPlan, count_rule, is_plain, two_colours


class ScenarioSection(Section):
    """What this experiment is called and where its randomness starts."""

    name: str = described("run", "short name, part of the run directory's name", pattern=r"^[A-Za-z0-9_.-]+$")
    description: str = described("", "one sentence for people")
    seed: int = described(0, "seed of weights, projections, data order and augmentation", ge=0, lt=2**31)


class TelemetrySection(Section):
    """What is recorded, and how often."""

    stats_every: int = described(10, "batches between layer statistics", unit="batch", ge=1, le=LARGEST)
    traffic_every: int = described(100, "batches between exact tile counts; 0: none", unit="batch", ge=0, le=LARGEST)
    plots: bool = described(True, "draw the pictures when the run is done; `neurosim-ep plot` draws them at any time")
    report: bool = described(True, "write report.html when the run is done; `neurosim-ep report` does it at any time")
    tensorboard: bool = described(
        False, "also write event files for TensorBoard; needs the extra neurosim-ep[tensorboard]"
    )
    sinks: tuple[Annotated[str, OneOf(SINKS)], ...] = described(
        (), "where else the numbers of every epoch go; mlflow needs the extra neurosim-ep[mlflow]", strict=False
    )

    @property
    def all_sinks(self) -> list[str]:
        """Names of all sinks, each once."""
        return list(dict.fromkeys([*(["tensorboard"] if self.tensorboard else []), *self.sinks]))


class Scenario(Section):
    """A whole scenario: one field per TOML section."""

    scenario: ScenarioSection = ScenarioSection()
    data: DataSection = DataSection()
    network: NetworkSection = NetworkSection()
    relaxation: RelaxationSection = RelaxationSection()
    signals: SignalsSection = SignalsSection()
    teacher: TeacherSection = TeacherSection()
    plasticity: PlasticitySection = PlasticitySection()
    training: TrainingSection = TrainingSection()
    hardware: HardwareSection = HardwareSection()
    scheduler: SchedulerSection = SchedulerSection()
    telemetry: TelemetrySection = TelemetrySection()

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        plans = self.network.layer_plans(num_classes=1)  # as many for any number of classes
        layers = len(plans)
        yield from self._broken_policy_rules(plans)
        yield from RULES[self.plasticity.rule].broken_rules(self)
        if not self.hardware.ideal:
            yield from self._broken_tile_rules()
        beyond = [layer for layer in self.signals.layers if layer >= layers]
        if self.signals.kind != "none" and beyond:
            yield "signals.layers", f"layer {beyond[0]} does not exist; this network has layers 0 to {layers - 1}"
        if self.signals.taught() and self.teacher.preset == "same" and not is_plain(plans):
            yield (
                "teacher.preset",
                'must be a VGG here: "same" builds chains of stride 1 alone; or use signals.kind = "le"',
            )
        if self.network.loss == "squared_error" and layers - 1 in self.signals.taught():
            yield "signals.layers", f"layer {layers - 1} is the class layer, which has no counterpart in a teacher"
        for key, given, what in (
            ("network.activation", self.network.activation, "name"),
            ("network.weight_scale", self.network.weight_scale, "factor"),
            ("training.learning_rate", self.training.learning_rate, "rate"),
            ("scheduler.threshold", self.scheduler.threshold, "threshold"),
        ):
            if rule := count_rule(given, layers, what):
                yield key, rule

    def _broken_policy_rules(self, plans: list[LayerPlan]) -> Iterator[tuple[str, str]]:
        name = self.scheduler.policy
        edges = [(edge.source, layer) for layer, plan in enumerate(plans) for edge in plan.incoming(layer)]
        if name == "alternating" and two_colours(edges, len(plans)) is None:
            yield (
                "scheduler.policy",
                "updates neighbouring layers in turn, but the edges of this network form a ring of an odd number of "
                'layers, which cannot take turns; use "sweep" or "synchronous"',
            )
        ticks = POLICIES[name].ticks
        for key in ("free_steps", "nudge_steps"):
            if getattr(self.relaxation, key) % ticks:
                rule = "be even" if ticks == 2 else f"be a multiple of {ticks}"
                yield f"relaxation.{key}", f"must {rule} with the {name} policy, whose steps take {ticks} ticks"

    def _broken_tile_rules(self) -> Iterator[tuple[str, str]]:
        hardware = self.hardware
        if not RULES[self.plasticity.rule].real_tiles:
            able = " or ".join(f'"{name}"' for name, rule in RULES.own.items() if rule.real_tiles)
            yield "plasticity.rule", f"must be {able} on tiles that are not ideal"
        if self.scheduler.precision not in ("float32", "auto"):
            rule = 'must be "float32" or "auto" on tiles that are not ideal, which round in their own way'
            yield "scheduler.precision", rule
        unbounded = self.network.unbounded_activations()
        if unbounded and hardware.converters.dac_bits and hardware.converters.noise_management == "none":
            yield (
                "hardware.converters.noise_management",
                f'must be "absmax" with network.activation = {unbounded[0]}, whose states have no bound',
            )
        if not hardware.device.ideal:
            for key in hardware.cells.changed("levels", "programming_noise", "statistics"):
                yield f"hardware.cells.{key}", "is for weights that are programmed; a device has its own; remove it"

    @property
    def nudge_rises(self) -> bool:
        """Whether layers see from below what the nudge has moved; not in a single sweep, which goes down."""
        swept = getattr(POLICIES[self.scheduler.policy], "layer_by_layer", False)
        return not (swept and self.relaxation.nudge_steps == 1)

    @property
    def bptt_steps(self) -> int:
        """Free ticks that rule bptt goes back through."""
        return self.plasticity.bptt_steps or self.relaxation.nudge_steps
