"""The sections about error signals, their teacher, and the learning rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from neurosim_ep.registry import RULES, SIGNALS
from neurosim_ep.scenario.architectures import vgg_plans
from neurosim_ep.scenario.names import OneOf
from neurosim_ep.scenario.schema.network import NetworkSection, Sizes, scaled
from neurosim_ep.scenario.schema.section import LARGEST, Rate, Rates, Section, described
from neurosim_ep.scenario.topology import LayerPlan

SignalKind = Annotated[str, OneOf(SIGNALS, none="no signals")]
SignalKinds = Annotated[tuple[SignalKind, ...], Field(strict=False)]
ChannelStatistics = Literal["data"] | Annotated[tuple[Rate, ...], Field(min_length=1, strict=False)]


class SignalsSection(Section):
    """Intermediate error signals that make depth work."""

    kind: SignalKind | SignalKinds = described(
        "none",
        "what layers are compared with: one kind, or a list with one kind per entry of layers; none: no signals, "
        "whatever the other keys here say",
    )
    layers: tuple[Annotated[int, Field(ge=0)], ...] = described(
        (), "layers with a signal, counted from 0", strict=False
    )
    alpha: float = described(1.0, "initial weight of the signals relative to the readout loss", ge=0, le=LARGEST)
    alpha_min: float = described(0.0, "weight the schedule ends at", ge=0, le=LARGEST)
    alpha_schedule: Literal["constant", "linear", "exponential", "cosine"] = described(
        "constant", "course of alpha over the epochs"
    )
    alpha_decay: float = described(0.95, "factor per epoch of the exponential schedule", gt=0, le=1)
    temperature: float = described(1.0, "temperature of the softmax of the layer readouts", ge=1e-3, le=1000)
    temperature_exponent: float = described(2.0, "power of the temperature that scales the signal loss", ge=0, le=10)
    targets: Literal["hard", "soft"] = described(
        "hard", "targets of le: one-hot labels, or labels softened by the temperature"
    )
    learned: bool = described(False, "also learn the projections of le; the matrices of kdw are always learned")
    softmax: Literal["layer", "position"] = described(
        "layer", "softmax of kd and kdw: over the whole layer, or over the channels at each position"
    )
    teacher: str = described(
        "", "folder that `neurosim-ep teach` wrote, for kd and kdw; empty: teachers/ and the name of the scenario"
    )
    live: bool = described(False, "let the teacher look at every image again instead of reading its stored targets")

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        if self.kind == "none":
            return
        if isinstance(self.kind, tuple):
            if "none" in self.kind:
                yield "kind", 'a list names no "none"; leave layers without a signal out of layers'
            if len(self.kind) != len(self.layers):
                yield (
                    "kind",
                    f"has {len(self.kind)} kinds for {len(self.layers)} layers; give one kind, or one per layer",
                )
        if not self.layers:
            yield "layers", "must list the layers that get a signal, counted from 0"
        if len(set(self.layers)) != len(self.layers):
            yield "layers", "names a layer twice"
        if self.alpha_min > self.alpha:
            yield "alpha_min", f"must not exceed alpha ({self.alpha:g})"
        if self.changed("alpha_min") and self.alpha_schedule == "constant":
            yield "alpha_min", "is where a schedule ends; remove it, or set alpha_schedule"
        if self.changed("alpha_decay") and self.alpha_schedule != "exponential":
            yield "alpha_decay", 'is for alpha_schedule = "exponential"; remove it'
        kinds = [SIGNALS[name] for name in self.kind_of_layers().values()]
        for key in self.changed("softmax", "teacher", "live", "targets", "learned"):
            if not any(key in kind.keys for kind in kinds):
                theirs = " and ".join(name for name, kind in SIGNALS.own.items() if key in kind.keys)
                yield key, f"belongs to signals of kind {theirs}; remove it"

    def kind_of_layers(self) -> dict[int, str]:
        """Kind of the signal of each layer that has one, in the order of the layers."""
        if self.kind == "none":
            return {}
        kinds = self.kind if isinstance(self.kind, tuple) else (self.kind,) * len(self.layers)
        return dict(sorted(zip(self.layers, kinds, strict=False)))

    def taught(self) -> list[int]:
        """Layers whose targets are a teacher's, in order."""
        return [layer for layer, kind in self.kind_of_layers().items() if SIGNALS[kind].taught]


class TeacherSection(Section):
    """The feed-forward network that `neurosim-ep teach` trains by backpropagation, and the targets it leaves."""

    preset: Literal["same", "vgg7", "vgg10", "vgg11", "vgg12", "vgg13", "vgg16", "vgg19"] = described(
        "same",
        "layers of the teacher, at the width of the network: the network's own, or those of a VGG that matches it "
        "block by block",
    )
    hidden: Literal["preset"] | Sizes = described(
        "preset",
        "neurons of each hidden fully connected layer, whatever the width; [] for none; preset: as the preset has them",
    )
    batch_norm: bool = described(True, "normalise each convolution over the batch")
    epochs: int = described(10, "passes over the training images", unit="epoch", ge=1, le=LARGEST)
    batch_size: int = described(128, "images per weight update", ge=1, le=LARGEST)
    learning_rate: Rate = described(0.05, "SGD step at the beginning; half a cosine takes it to 0 (momentum 0.9)")
    weight_decay: float = described(5e-4, "L2 decay of the weights", ge=0, le=LARGEST)
    state_dict: str = described(
        "", "file with the weights of a teacher trained elsewhere, as torch.save writes a state_dict; empty: train one"
    )
    mapping: tuple[str, ...] = described(
        (),
        'what the modules of that file are called, "ours=theirs" each, as "conv1=features.0"; those not named are '
        "called as ours: conv1, bn1, ..., fc1, ..., out",
        strict=False,
    )
    mean: ChannelStatistics = described(
        "data",
        "mean of each colour channel (0 to 1) that teacher's images were normalised by; data: as the network's are",
    )
    std: ChannelStatistics = described("data", "deviation of each colour channel (0 to 1), likewise")
    precision: Literal["float16", "float32", "int8"] = described(
        "float16", "number format of stored targets; int8 has one scale per sample, view and layer"
    )

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        if self.mapping and not self.state_dict:
            yield "mapping", "belongs to state_dict; remove it, or name the file"
        for entry in self.mapping:
            if entry.count("=") != 1:
                yield "mapping", f'{entry!r} must be "ours=theirs", as "conv1=features.0"'
        for names in zip(*(entry.split("=") for entry in self.mapping if entry.count("=") == 1), strict=True):
            if twice := [name for name in names if names.count(name) > 1]:
                yield "mapping", f"names {twice[0]!r} twice; give each module one entry"
        if self.preset == "same" and self.changed("hidden"):
            yield "hidden", 'belongs to the VGG presets; remove it (preset = "same" has the layers of the network)'
        if self.std != "data" and 0 in self.std:
            yield "std", "must be > 0 in every channel"
        given = self.changed("mean", "std")
        if not self.state_dict:
            for key in given:
                yield key, "belongs to state_dict; remove it (a teacher trained here sees what the network sees)"
        else:
            if len(given) == 1:
                yield "mean", "and std belong together; give both, or none"
            for key in self.changed("epochs", "batch_size", "learning_rate", "weight_decay"):
                yield key, "is for a teacher that is trained here; remove it, or remove state_dict"

    def sample_bits(self, features: int) -> int:
        """Bits of one layer's stored targets for one view of one sample; int8 has a float32 scale beside them."""
        return {"float32": 32, "float16": 16, "int8": 8}[self.precision] * features + 32 * (self.precision == "int8")

    def layer_plans(self, network: NetworkSection) -> list[LayerPlan]:
        """Hidden layers of the teacher of ``network``."""
        if self.preset == "same":
            return network.model_copy(update={"loss": "cross_entropy"}).layer_plans(num_classes=1)
        plans = scaled(vgg_plans(self.preset, network.pool), network.width)
        if self.hidden == "preset":
            return plans
        return [plan for plan in plans if plan.kind == "conv"] + [LayerPlan("linear", size) for size in self.hidden]


class PlasticitySection(Section):
    """The learning rule of every synapse."""

    rule: Annotated[str, OneOf(RULES)] = described("contrastive", "how a batch becomes a gradient for every synapse")
    bptt_steps: int = described(
        0,
        "free ticks that rule bptt goes back through; 0: relaxation.nudge_steps",
        unit="tick",
        ge=0,
        le=LARGEST,
    )

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        for key in self.changed("bptt_steps"):
            if key not in RULES[self.rule].keys:
                theirs = " and ".join(f'"{name}"' for name, rule in RULES.own.items() if key in rule.keys)
                yield key, f"is for rule = {theirs}; remove it"

    @property
    def on_tiles(self) -> bool:
        """Whether what the tiles do is counted and billed: in equilibrium propagation, which nudges."""
        return bool(RULES[self.rule].nudges)

    @property
    def relaxes(self) -> bool:
        """Whether the states of the network relax, and are not those of a feed-forward pass."""
        return bool(RULES[self.rule].relaxes)


class TrainingSection(Section):
    """Epochs and the optimiser that turns EP gradients into weight changes."""

    epochs: int = described(10, "passes over the training images", unit="epoch", ge=1, le=LARGEST)
    batch_size: int = described(64, "images per weight update", ge=1, le=LARGEST)
    learning_rate: Rate | Rates = described(
        0.1, "SGD step of the connections: one value, or one per layer, of those that drive it"
    )
    readout_learning_rate: Rate = described(0.1, "SGD step of the readout outside the dynamics")
    projection_learning_rate: Rate = described(0.1, "SGD step of learned signal projections")
    momentum: float = described(0.9, "SGD momentum", ge=0, lt=1)
    nesterov: bool = described(False, "look ahead along the momentum (Nesterov), as torch.optim.SGD does")
    weight_decay: float = described(3e-4, "L2 decay of weights, and of biases with decay_biases", ge=0, le=LARGEST)
    decay_biases: bool = described(True, "let weight_decay act on biases too")
    schedule: Literal["constant", "cosine"] = described(
        "cosine", "course of the learning rates after the warm-up: constant, or half a cosine down to 0"
    )
    warmup: float = described(
        0.0,
        "epochs, or a part of one, over which the learning rates rise in proportion to the updates",
        unit="epoch",
        ge=0,
        le=LARGEST,
    )
    update_limit: float = described(
        0.02,
        "trust ratio: largest change of a connection's weights per update, relative to their norm; 0: no limit",
        ge=0,
        le=LARGEST,
    )
    clip_norm: float = described(
        0.0,
        "largest norm of the gradients of all parameters together, which are scaled down to it before update_limit "
        "acts; 0: no limit",
        ge=0,
        le=LARGEST,
    )

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        if self.nesterov and not self.momentum:
            yield "nesterov", "looks ahead along the momentum, which is 0; remove it, or set momentum"
        if self.warmup and self.warmup >= self.epochs:
            yield "warmup", f"must be shorter than training.epochs ({self.epochs})"
