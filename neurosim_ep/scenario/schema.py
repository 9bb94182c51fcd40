"""The sections of a scenario file, one frozen model each.

Every field carries its meaning in ``description`` and, where it has one, its unit in ``json_schema_extra``;
``neurosim-ep schema`` prints both. Rules of one value stand with its field, rules between the keys of a section in the
section's ``broken_rules``, and rules between sections (layers named in one, made in another) in that of
:class:`Scenario`. What depends on files, as the shapes of images and the hardware model do, is checked where they
are read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from neurosim_ep.errors import ScenarioError
from neurosim_ep.registry import ACTIVATIONS, POLICIES
from neurosim_ep.scenario.architectures import vgg_plans
from neurosim_ep.scenario.names import BrokenRules, OneOf
from neurosim_ep.scenario.presets import converter_preset
from neurosim_ep.scenario.topology import EdgePlan, LayerPlan, is_plain, plan_colours

Activation = Annotated[str, OneOf(ACTIVATIONS)]
SignalKind = Literal["none", "le", "kd", "kdw"]
Preset = Literal["vgg7", "vgg10", "vgg11", "vgg12", "vgg13", "mlp", "custom"]
LARGEST_GAIN = 10  # of feedback
LARGEST = 10**6  # of most numbers: far beyond any use, and products of a few still fit float32
Rate = Annotated[float, Field(ge=0, le=LARGEST)]
Rates = Annotated[tuple[Rate, ...], Field(min_length=1, strict=False)]
SignalKinds = Annotated[tuple[SignalKind, ...], Field(strict=False)]
Sizes = Annotated[tuple[Annotated[int, Field(ge=1, le=LARGEST)], ...], Field(strict=False)]
Colours = Literal["data"] | Annotated[tuple[Rate, ...], Field(min_length=1, strict=False)]
Activations = Annotated[tuple[Activation, ...], Field(strict=False)]


def described(default: Any, meaning: str, unit: str | None = None, **rules: Any) -> Any:
    """A field with its default, meaning, unit and value rules."""
    extra: Any = {"unit": unit} if unit else None
    if default is ...:
        return Field(description=meaning, json_schema_extra=extra, **rules)
    return Field(default=default, description=meaning, json_schema_extra=extra, **rules)


class Section(BaseModel):
    """Base of all sections: unknown keys refused, no type coercion, immutable; lists are kept as tuples."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        """Pairs (key, rule) of the rules between keys that do not hold; none unless a section says so."""
        yield from ()

    def changed(self, *keys: str) -> list[str]:
        """Those of ``keys`` that are not at their default."""
        return [key for key in keys if getattr(self, key) != type(self).model_fields[key].default]

    @model_validator(mode="after")
    def _refuse_broken_rules(self) -> Self:
        if broken := list(self.broken_rules()):
            raise BrokenRules(broken)
        return self


class ScenarioSection(Section):
    """What this experiment is called and where its randomness starts."""

    name: str = described("run", "short name, part of the run directory's name", pattern=r"^[A-Za-z0-9_.-]+$")
    description: str = described("", "one sentence for people")
    seed: int = described(0, "seed of weights, projections, data order and augmentation", ge=0, lt=2**31)


class DataSection(Section):
    """The images to learn from."""

    kind: Literal["textures", "cifar10", "cifar100", "idx", "folder"] = described(
        "textures", "procedural textures, official CIFAR archives, MNIST-style IDX, or a folder per class"
    )
    root: str = described("", "where the files are; empty: the environment variable NEUROSIM_EP_DATA")
    classes: Literal[10, 100] = described(10, "number of classes of the procedural textures")
    train_samples: int = described(
        0, "training images used (class-balanced); 0: all (textures: 10,000)", ge=0, le=10**7
    )
    test_samples: int = described(0, "test images used (class-balanced); 0: all (textures: 2,000)", ge=0, le=10**7)
    image_size: int = described(32, "height and width folder images are resized to", unit="pixel", ge=4, le=512)
    augment: Literal["none", "flip", "crop_flip"] = described(
        "crop_flip", "random horizontal flip and random crop after 4-pixel zero padding, training only"
    )
    crop_step: Literal[1, 2, 4, 8] = described(
        1,
        "pixels between the shifts that crop_flip chooses from: 1 gives 81 of them, 2: 25, 4: 9, 8: 4; a target store "
        "grows with their number",
        unit="pixel",
    )
    normalise: bool = described(True, "subtract the mean and divide by the deviation of each colour channel")

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        if self.kind == "textures" and self.changed("root"):
            yield "root", "textures are made, not read; remove it or set kind to what the files are"
        if self.kind != "textures" and self.changed("classes"):
            yield "classes", 'is for kind = "textures", other images bring their classes; remove it'
        if self.kind != "folder" and self.changed("image_size"):
            yield "image_size", 'is for kind = "folder", other images have one size; remove it'
        if self.augment != "crop_flip" and self.changed("crop_step"):
            yield "crop_step", 'is for augment = "crop_flip"; remove it'


class EdgeSpec(Section):
    """One edge into a layer of a custom network."""

    layer: int = described(..., "the lower layer whose states drive this one, counted from 0", ge=0)
    kind: Literal["same", "conv", "identity"] = described(
        "same", "a connection like the layer's own, a convolution of its own shape, or the states as they are"
    )
    kernel: int = described(1, "kernel height and width (conv only)", ge=1, le=15)
    stride: int = described(1, "pixels between two places of the kernel (conv only)", ge=1, le=8)
    padding: int = described(0, "zero padding on each side (conv only)", ge=0, le=7)
    pool: Literal["none", "max", "avg"] = described("none", "2x2 pooling on the way (conv and identity)")

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        keys = {"same": ("kernel", "stride", "padding", "pool"), "identity": ("kernel", "stride", "padding")}
        for key in self.changed(*keys.get(self.kind, ())):
            yield key, f'is not for kind = "{self.kind}"; remove it, or make this edge a conv'

    def plan(self, own: LayerPlan) -> EdgePlan:
        """The edge to build into the layer ``own``."""
        if self.kind == "same":
            return own.own(self.layer)
        pool = None if self.pool == "none" else self.pool
        return EdgePlan(self.layer, self.kind, self.kernel, self.stride, self.padding, pool)


class LayerSpec(Section):
    """One layer of a custom network."""

    kind: Literal["conv", "linear"] = described(..., "convolution or fully connected")
    size: int = described(..., "output channels (conv) or neurons (linear)", ge=1, le=LARGEST)
    kernel: int = described(3, "kernel height and width (conv only)", ge=1, le=15)
    stride: int = described(1, "pixels between two places of the kernel (conv only)", ge=1, le=8)
    padding: int = described(1, "zero padding on each side (conv only)", ge=0, le=7)
    pool: Literal["none", "max", "avg"] = described("none", "2x2 pooling after the convolution")
    edges: tuple[EdgeSpec, ...] = described(
        (), "the edges into this layer; none: one connection from the layer below", strict=False, alias="from"
    )

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        if self.kind == "linear":
            for key in self.changed("kernel", "stride", "padding", "pool"):
                yield key, "belongs to conv layers; remove it or make this layer a conv"
            if any(edge.pool != "none" for edge in self.edges):
                yield "from", "a linear layer has nothing to pool; remove pool"
            if any(edge.kind == "conv" for edge in self.edges):
                yield "from", 'a linear layer takes no conv; use kind = "same" or "identity"'
        if self.edges and self.edges[0].kind != "same":
            yield "from", 'must begin with an edge of kind = "same", which the layer is named after'
        if len(set(self.edges)) < len(self.edges):
            yield "from", "names an edge twice"

    def plan(self) -> LayerPlan:
        """The layer to build."""
        pool = None if self.pool == "none" else self.pool
        own = LayerPlan(self.kind, self.size, self.kernel, self.padding, pool, self.stride)
        return own._replace(edges=tuple(edge.plan(own) for edge in self.edges))


class NetworkSection(Section):
    """The convergent network: layers, activation, loss and initial weights."""

    preset: Preset = described("vgg11", "named architecture, `mlp` with `hidden`, or `custom` with `layers`")
    width: float = described(1.0, "multiplier of all channels and hidden neurons", gt=0, le=8)
    hidden: Sizes = described((), "hidden layer sizes of the `mlp` preset")
    layers: tuple[LayerSpec, ...] = described((), "layers of the `custom` preset, first to last", strict=False)
    pool: Literal["max", "avg"] = described("max", "pooling used by the VGG presets")
    activation: Activation | Activations = described(
        "hard_sigmoid", "activation of every layer, or a list with one name per layer"
    )
    loss: Literal["cross_entropy", "squared_error"] = described(
        "cross_entropy", "softmax readout outside the dynamics, or squared error with the class layer inside"
    )
    weight_init: Literal["kaiming_uniform", "he_uniform"] = described(
        "kaiming_uniform", "PyTorch's default (a = sqrt 5, biases too), or He et al. for ReLU (biases zero)"
    )
    weight_scale: float = described(0.5, "multiplier of the initial weights and biases", gt=0, le=LARGEST)

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        if (self.preset == "mlp") != bool(self.hidden):
            yield "hidden", 'lists the layer sizes of preset = "mlp"; give it with that preset and no other'
        if (self.preset == "custom") != bool(self.layers):
            yield "layers", 'lists the layers of preset = "custom"; give it with that preset and no other'
        kinds = [layer.kind for layer in self.layers]
        if kinds != sorted(kinds):
            yield "layers", "conv layers must come before linear layers"
        yield from self._broken_edges()
        if self.preset in ("mlp", "custom") and self.changed("pool"):
            yield "pool", "belongs to the VGG presets; remove it (each conv layer of `custom` has a pool of its own)"

    def _broken_edges(self) -> Iterator[tuple[str, str]]:
        sources = set()
        for layer, spec in enumerate(self.layers):
            below = [edge.layer for edge in spec.edges] if spec.edges else [layer - 1]
            sources.update(below)
            if spec.edges and max(below) >= layer:
                what = "must name layers below it" if layer else "is driven by the image alone; remove it"
                yield f"layers.{layer}.from", f"layer {layer} {what}"
        for layer in range(len(self.layers) - 1):
            if layer not in sources:
                yield "layers", f"layer {layer} drives no other; name it in `from` of a later one, or remove it"

    def unbounded_activations(self) -> list[str]:
        """Names of the activations, layer by layer, whose states can grow beyond any bound."""
        kinds = [plan.kind for plan in self.layer_plans(num_classes=1)]
        named = (self.activation,) * len(kinds) if isinstance(self.activation, str) else self.activation
        pairs = zip(named, kinds, strict=False)  # a list of another length is refused elsewhere
        return [name for name, kind in pairs if not math.isfinite(ACTIVATIONS[name].of(kind).bound)]

    def layer_plans(self, num_classes: int) -> list[LayerPlan]:
        """The layers to build, with ``width`` applied; squared error adds the class layer inside."""
        if self.preset == "custom":
            plans = [spec.plan() for spec in self.layers]
        elif self.preset == "mlp":
            plans = [LayerPlan("linear", size) for size in self.hidden]
        else:
            plans = vgg_plans(self.preset, self.pool)
        plans = scaled(plans, self.width)
        if self.loss == "squared_error":
            plans.append(LayerPlan("linear", num_classes))
        return plans


def scaled(plans: list[LayerPlan], width: float) -> list[LayerPlan]:
    """``plans`` with their channels and neurons multiplied by ``width``."""
    return [plan._replace(size=max(1, round(plan.size * width))) for plan in plans]


class RelaxationSection(Section):
    """The phases of equilibrium propagation."""

    free_steps: int = described(250, "ticks T of the free phase", unit="tick", ge=1, le=LARGEST)
    nudge_steps: int = described(50, "ticks K of each nudge phase", unit="tick", ge=1, le=LARGEST)
    beta: float = described(0.25, "nudging strength", ge=1e-6, le=LARGEST)
    feedback: float = described(
        1.0,
        "gain of what a layer passes down to the one below, to the power of the layers that an edge crosses; 1: as "
        "strong as what is passed up, 0: none",
        ge=0,
        le=LARGEST_GAIN,
    )
    nudge_feedback: Literal["feedback"] | Annotated[float, Field(gt=0, le=LARGEST_GAIN)] = described(
        "feedback",
        "gain of the displacement from the free state in the nudge phases; feedback: that gain, with which the rule is "
        "the gradient of an energy",
    )
    nudging: Literal["three_phase", "one_sided_plus", "one_sided_minus"] = described(
        "three_phase", "+beta and -beta from the free state, or only one of them against the free state"
    )
    state_init: Literal["zeros", "uniform"] = described(
        "zeros", "states at tick 0: 0, or uniform in [0, 1), in [-1, 1) where they have a sign"
    )
    warm_start: Literal["none", "memory", "hdf5"] = described(
        "none",
        "start a training sample where it rested in the epoch before; its states are kept in float16, in memory or in "
        "a file of the run directory",
    )
    tolerance: float = described(
        1e-4,
        "a sample leaves the free phase when no state changed by more than this; 0: every sample runs all T ticks",
        ge=0,
        le=LARGEST,
    )
    nudge_tolerance: float = described(
        1e-2,
        "a sample leaves the nudge phases when no layer changed by more than this part of its displacement from the "
        "free state; 0: every sample runs all K ticks",
        ge=0,
        lt=1,
    )

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        if self.feedback == 0 and self.nudge_feedback == "feedback":
            yield "nudge_feedback", "must be a number with feedback = 0, which passes no error down; use 1"
        if self.warm_start != "none" and self.state_init != "zeros":
            yield "warm_start", 'starts unseen samples from zeros; use state_init = "zeros" with it'

    @property
    def displacement_gain(self) -> float | None:
        """``nudge_feedback`` where it is a gain of its own."""
        return None if self.nudge_feedback == "feedback" else self.nudge_feedback


class SignalsSection(Section):
    """Intermediate error signals that make depth work."""

    kind: SignalKind | SignalKinds = described(
        "none",
        "none: no signals, whatever the other keys here say; le: local errors through random projections; kd: a "
        "teacher's activations as soft targets; kdw: the same through a learned matrix; or a list with one kind per "
        "entry of layers",
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
                yield "kind", "a list names le, kd or kdw; leave layers without a signal out of layers"
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
        kinds = set(self.kind_of_layers().values())
        if not kinds & {"kd", "kdw"}:
            for key in self.changed("softmax", "teacher", "live"):
                yield key, "belongs to signals of kind kd and kdw; remove it"
        if "le" not in kinds:
            for key in self.changed("targets", "learned"):
                yield key, "belongs to signals of kind le; remove it"

    def kind_of_layers(self) -> dict[int, str]:
        """Kind of the signal of each layer that has one, in the order of the layers."""
        if self.kind == "none":
            return {}
        kinds = self.kind if isinstance(self.kind, tuple) else (self.kind,) * len(self.layers)
        return dict(sorted(zip(self.layers, kinds, strict=False)))

    def taught(self) -> list[int]:
        """Layers whose targets are a teacher's, in order."""
        return [layer for layer, kind in self.kind_of_layers().items() if kind != "le"]


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
    mean: Colours = described(
        "data",
        "mean of each colour channel (0 to 1) that teacher's images were normalised by; data: as the network's are",
    )
    std: Colours = described("data", "deviation of each colour channel (0 to 1), likewise")
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
        colours = self.changed("mean", "std")
        if not self.state_dict:
            for key in colours:
                yield key, "belongs to state_dict; remove it (a teacher trained here sees what the network sees)"
        else:
            if len(colours) == 1:
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

    rule: Literal["contrastive", "stdp", "bptt"] = described(
        "contrastive",
        "difference of phase end points; local changes accumulated over the nudge ticks; or, as a reference no chip "
        "computes, backpropagation through the last free ticks",
    )
    bptt_steps: int = described(
        0,
        "free ticks that rule bptt goes back through; 0: relaxation.nudge_steps",
        unit="tick",
        ge=0,
        le=LARGEST,
    )

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        if self.rule != "bptt" and self.changed("bptt_steps"):
            yield "bptt_steps", 'is for rule = "bptt"; remove it'


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
    weight_decay: float = described(3e-4, "L2 decay of weights (biases too)", ge=0, le=LARGEST)
    schedule: Literal["constant", "cosine"] = described(
        "cosine", "course of the learning rates over all updates: constant, or half a cosine down to 0"
    )
    update_limit: float = described(
        0.02,
        "largest change of a connection's weights per update, relative to their norm; 0: no limit",
        ge=0,
        le=LARGEST,
    )


CALIBRATION = ("calibration_quantile", "calibrate_every")


class ConvertersSection(Section):
    """Converters on the lines of every tile, the same in both directions; as shipped they are ideal."""

    preset: str = described("none", "shipped name of converters, or a TOML file: the defaults of the other keys here")
    dac_bits: int = described(0, "bits of the drivers of the lines; 0: exact", unit="bit", ge=0, le=16)
    dac_coding: Literal["multi_level", "bit_serial"] = described(
        "multi_level", "an input is one pulse of many levels, or a pulse per bit, each read converted on its own"
    )
    noise_management: Literal["none", "absmax"] = described(
        "none", "range of the drivers: the bound of the states, 1 for most, or the largest state of each sample"
    )
    input_noise: float = described(0.0, "deviation of what a driver puts on its line, of its range", ge=0, le=1)
    adc_bits: int = described(0, "bits of the converters of the lines read; 0: exact", unit="bit", ge=0, le=16)
    adc_range: Literal["fixed", "absmax", "calibrated"] = described(
        "calibrated",
        "range of the converters: adc_bound; the largest result of each sample; or what calibration_quantile of the "
        "results stay below, found per phase, direction and block of lines",
    )
    adc_bound: float = described(
        12.0, "fixed range of a result, in units of a full input times the largest weight", gt=0, le=LARGEST
    )
    calibration_quantile: float = described(0.999, "share of the results inside a calibrated range", gt=0, le=1)
    calibrate_every: int = described(
        20, "batches between those in which calibrated ranges are found anew", unit="batch", ge=1, le=LARGEST
    )
    bound_management: Literal["none", "iterative"] = described(
        "none", "read a sample again with half the input range, up to eight times, while a result is clipped"
    )
    stochastic_rounding: bool = described(False, "converters round up with the probability of the remainder")
    output_noise: float = described(
        0.0, "deviation of a result before its conversion, in the unit of adc_bound", ge=0, le=LARGEST
    )

    @model_validator(mode="before")
    @classmethod
    def _start_from_preset(cls, given: Any) -> Any:
        """``given`` with the keys of its preset where it has none."""
        if not isinstance(given, dict) or not isinstance(given.get("preset", "none"), str):
            return given
        name = given.get("preset", "none")
        if name == "none":
            return given
        try:
            return {**converter_preset(name, list(cls.model_fields)), **given}
        except ScenarioError as problem:
            raise BrokenRules([("preset", str(problem))]) from problem

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        if self.adc_bits == 1:
            yield "adc_bits", "must be 0 or at least 2: results have a sign"
        if not self.adc_bits:
            for key in self.changed("adc_range", "adc_bound", *CALIBRATION, "bound_management"):
                yield key, "belongs to converters with adc_bits; remove it, or set adc_bits"
        if self.adc_range != "fixed":
            if self.changed("adc_bound"):
                yield "adc_bound", 'is the range of adc_range = "fixed"; remove it'
            if self.bound_management != "none":
                yield "bound_management", 'is for adc_range = "fixed", whose results can be clipped; use "none"'
        for key in self.changed(*CALIBRATION) if self.adc_range != "calibrated" else ():
            yield key, 'is for adc_range = "calibrated"; remove it'
        if self.dac_coding == "bit_serial" and not self.dac_bits:
            yield "dac_coding", "needs the number of bits; set dac_bits"

    @property
    def ideal(self) -> bool:
        """Whether nothing here changes a result."""
        return not (self.dac_bits or self.adc_bits or self.input_noise or self.output_noise)


class CellsSection(Section):
    """How the conductances of the cells differ from the weights they stand for; as shipped they do not."""

    levels: int = described(
        0, "conductances a cell can be set to, 0: any; with bit slices the hardware model decides", ge=0, le=65536
    )
    programming_noise: float = described(
        0.0, "deviation of a programmed conductance, of the range between off and on", ge=0, le=1
    )
    variation: float = described(0.0, "deviation between devices, relative to the conductance, fixed", ge=0, le=1)
    read_noise: float = described(0.0, "deviation of a conductance from read to read, of the range", ge=0, le=1)
    stuck_off: float = described(0.0, "share of cells that stay at the off conductance", ge=0, le=1)
    stuck_on: float = described(0.0, "share of cells that stay at the on conductance", ge=0, le=1)
    statistics: str = described(
        "none", "measured statistics of programming, drift and reads: a shipped name of cells, or a TOML file"
    )
    time_s: float = described(
        0.0, "time between programming and reads, for statistics that know drift", unit="s", ge=0, le=1e12
    )
    ir_drop: Literal["none", "closed_form", "estimated", "exact"] = described(
        "none",
        "voltage lost along the wires of the hardware model: by the formula of aihwkit in every read, by "
        "an estimate for every cell after programming, or the circuit solved after programming (small networks only)",
    )

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        if self.levels == 1:
            yield "levels", "must be 0 or at least 2"
        if self.stuck_off + self.stuck_on > 1:
            yield "stuck_on", f"must not exceed 1 together with stuck_off ({self.stuck_off:g})"
        if self.statistics == "none" and self.time_s:
            yield "time_s", "is for cells with statistics; remove it, or set statistics"
        if self.statistics != "none" and (self.programming_noise or self.read_noise):
            yield "statistics", "says what programming and reads do; remove programming_noise and read_noise"

    @property
    def ideal(self) -> bool:
        """Whether the cells stand for the weights exactly."""
        return not self.changed(*(key for key in type(self).model_fields if key != "time_s"))


class DeviceSection(Section):
    """How weight changes reach the cells; as shipped they are written exactly."""

    preset: str = described(
        "none", "what a cell does under programming pulses: a shipped name of devices, or a TOML file; none: exact"
    )
    constants: dict[str, float] = described({}, "numbers of the device to replace, as {up_down = 0.1}")
    update: Literal["difference", "two_pass", "transfer"] = described(
        "difference",
        "the two terms of a weight change are subtracted before pulses are sent; each nudge phase sends its own; or "
        "each sends its own to a fast array that is transferred to a slow one, which is read",
    )
    accumulator: Literal["digital", "synapse"] = described(
        "digital",
        "of the difference: a digital one, in which what is less than a pulse waits for the next batch, or one in "
        "each synapse, emptied after every batch into a whole number of pulses, rounded at random",
    )
    pulse_trains: Literal["stochastic", "deterministic"] = described(
        "stochastic", "outer products by coinciding random pulses, or by a rounded number of pulses"
    )
    desired_bl: int = described(31, "most pulses of a train", ge=1, le=1024)
    update_management: bool = described(
        True, "trains as short as the largest factors allow, and balanced between rows and columns"
    )
    weight_scaling_omega: float = described(
        0.3, "device weight that the largest initial weight of a connection is mapped to", gt=0, le=1
    )
    transfer_every: int = described(1, "batches between transfers of the fast array", unit="batch", ge=1, le=LARGEST)
    transfer_rate: float = described(0.1, "part of the fast array added to the slow one per transfer", gt=0, le=LARGEST)

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        if self.preset == "none":
            for key in self.changed(*(key for key in type(self).model_fields if key != "preset")):
                yield key, "belongs to a device; remove it, or set preset"
            return
        if self.update != "difference" and self.changed("accumulator"):
            yield "accumulator", 'belongs to update = "difference"; remove it'
        if self.update == "difference":
            for key in self.changed("pulse_trains", "desired_bl", "update_management"):
                yield key, 'belongs to update = "two_pass" and "transfer", which write outer products; remove it'
        if self.update != "transfer":
            for key in self.changed("transfer_every", "transfer_rate"):
                yield key, 'belongs to update = "transfer"; remove it'

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @property
    def ideal(self) -> bool:
        """Whether weights are written exactly."""
        return self.preset == "none"


class HardwareSection(Section):
    """The chip whose tiles carry the synapses, and what is imperfect about them; nothing, as shipped."""

    model: str = described("rram_32nm", "hardware model: a shipped name or a TOML file")
    construction_seed: int = described(0, "seed of what differs from device to device", ge=0, lt=2**31)
    converters: ConvertersSection = ConvertersSection()
    cells: CellsSection = CellsSection()
    device: DeviceSection = DeviceSection()

    @property
    def ideal(self) -> bool:
        """Whether the tiles read and write exactly."""
        return self.converters.ideal and self.cells.ideal and self.device.ideal


class SchedulerSection(Section):
    """How the ticks are computed, and what neurons send."""

    policy: Annotated[str, OneOf(POLICIES)] = described("synchronous", "order of the updates of layers")
    threshold: Rate | Rates = described(
        1e-3,
        "a neuron sends when its state moved by more than this from the value it last sent: one value, or one per "
        "layer; changes the dynamics of the event policy, is only counted with the others",
    )
    check_every: int = described(4, "ticks between tests for samples at rest", unit="tick", ge=1, le=LARGEST)
    precision: Literal["float32", "auto", "tf32", "bfloat16", "float16"] = described(
        "float32",
        "number format inside the convolutions of the phases; states and differences stay float32; auto: what "
        "this machine gains most from (tf32 on CUDA, bfloat16 on a CPU with AMX, else float32)",
    )


class TelemetrySection(Section):
    """What is recorded, and how often."""

    stats_every: int = described(10, "batches between layer statistics", unit="batch", ge=1, le=LARGEST)
    traffic_every: int = described(100, "batches between exact tile counts; 0: none", unit="batch", ge=0, le=LARGEST)
    plots: bool = described(True, "draw the pictures when the run is done; `neurosim-ep plot` draws them at any time")


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
        if self.plasticity.rule == "bptt":
            yield from self._broken_bptt_rules()
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
            ("training.learning_rate", self.training.learning_rate, "rate"),
            ("scheduler.threshold", self.scheduler.threshold, "threshold"),
        ):
            if isinstance(given, tuple) and len(given) != layers:
                counted = f"{len(given)} {what}" + "s" * (len(given) != 1)
                yield key, f"has {counted} for {layers} layers; give one {what} for all layers or exactly one per layer"

    def _broken_policy_rules(self, plans: list[LayerPlan]) -> Iterator[tuple[str, str]]:
        name = self.scheduler.policy
        if name == "alternating" and plan_colours(plans) is None:
            yield (
                "scheduler.policy",
                "updates neighbouring layers in turn, but the edges of this network form a ring of an odd number of "
                'layers, which cannot take turns; use "synchronous"',
            )
        ticks = POLICIES[name].ticks
        for key in ("free_steps", "nudge_steps"):
            if getattr(self.relaxation, key) % ticks:
                rule = "be even" if ticks == 2 else f"be a multiple of {ticks}"
                yield f"relaxation.{key}", f"must {rule} with the {name} policy, whose steps take {ticks} ticks"

    def _broken_bptt_rules(self) -> Iterator[tuple[str, str]]:
        if self.scheduler.policy != "synchronous":
            yield "scheduler.policy", 'must be "synchronous" with plasticity.rule = "bptt", which goes back through it'
        if self.scheduler.precision != "float32":
            yield "scheduler.precision", 'must be "float32" with plasticity.rule = "bptt"'
        if self.bptt_steps > self.relaxation.free_steps:
            source = "plasticity.bptt_steps" if self.plasticity.bptt_steps else "relaxation.nudge_steps"
            yield "relaxation.free_steps", f"must be at least {source} ({self.bptt_steps}), the ticks BPTT goes back"

    def _broken_tile_rules(self) -> Iterator[tuple[str, str]]:
        hardware = self.hardware
        if self.plasticity.rule != "contrastive":
            yield "plasticity.rule", 'must be "contrastive" on tiles that are not ideal'
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
    def bptt_steps(self) -> int:
        """Free ticks that rule bptt goes back through."""
        return self.plasticity.bptt_steps or self.relaxation.nudge_steps
