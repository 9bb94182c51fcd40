"""The sections of a scenario file, one frozen model each.

Every field carries its meaning in ``description`` and, where it has one, its unit in ``json_schema_extra``;
``neurosim-ep schema`` prints both. Rules that concern one value or one section live here; rules that
need the whole scenario (layer indices against the network) live in :class:`Scenario`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Activation = Literal["hard_sigmoid", "hard_sigmoid_half", "hard_sigmoid_shifted", "relu", "relu_conv", "sigmoid"]
Preset = Literal["vgg7", "vgg10", "vgg11", "vgg12", "vgg13", "mlp", "custom"]
Rate = Annotated[float, Field(ge=0)]
Rates = Annotated[list[Rate], Field(min_length=1)]


def described(default: Any, meaning: str, unit: str | None = None, **rules: Any) -> Any:
    """A field with its default, meaning, unit and value rules."""
    extra: Any = {"unit": unit} if unit else None
    if default is ...:
        return Field(description=meaning, json_schema_extra=extra, **rules)
    return Field(default=default, description=meaning, json_schema_extra=extra, **rules)


class BrokenRules(ValueError):
    """Rules between keys that do not hold, as pairs (key, rule); the loader prefixes each key's section."""

    def __init__(self, broken: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{key}: {rule}" for key, rule in broken))
        self.broken = broken


class Section(BaseModel):
    """Base of all sections: unknown keys refused, no type coercion, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        """Pairs (key, rule) of the rules between keys that do not hold; none unless a section says so."""
        yield from ()

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
    train_samples: int = described(0, "training images used (class-balanced); 0: all (textures: 10,000)", ge=0)
    test_samples: int = described(0, "test images used (class-balanced); 0: all (textures: 2,000)", ge=0)
    image_size: int = described(32, "height and width folder images are resized to", unit="pixel", ge=4, le=512)
    augment: Literal["none", "flip", "crop_flip"] = described(
        "crop_flip", "random horizontal flip and random crop after 4-pixel zero padding, training only"
    )
    normalise: bool = described(True, "subtract the mean and divide by the deviation of each colour channel")


class LayerSpec(Section):
    """One layer of a custom network."""

    kind: Literal["conv", "linear"] = described(..., "convolution or fully connected")
    size: int = described(..., "output channels (conv) or neurons (linear)", ge=1)
    kernel: int = described(3, "kernel height and width (conv only)", ge=1, le=15)
    padding: int = described(1, "zero padding on each side (conv only)", ge=0, le=7)
    pool: Literal["none", "max", "avg"] = described("none", "2x2 pooling after the convolution")

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        if self.kind == "linear" and self.pool != "none":
            yield "pool", "belongs to conv layers; remove it or make this layer a conv"


class NetworkSection(Section):
    """The convergent network: layers, activation, loss and initial weights."""

    preset: Preset = described("vgg11", "named architecture, `mlp` with `hidden`, or `custom` with `layers`")
    width: float = described(1.0, "multiplier of the preset's channels and hidden neurons", gt=0, le=8)
    hidden: list[Annotated[int, Field(ge=1)]] = described([], "hidden layer sizes of the `mlp` preset")
    layers: list[LayerSpec] = described([], "layers of the `custom` preset, first to last")
    pool: Literal["max", "avg"] = described("max", "pooling used by the VGG presets")
    activation: Activation | list[Activation] = described(
        "hard_sigmoid", "activation of every layer, or a list with one name per layer"
    )
    loss: Literal["cross_entropy", "squared_error"] = described(
        "cross_entropy", "softmax readout outside the dynamics, or squared error with the class layer inside"
    )
    weight_init: Literal["kaiming_uniform", "he_uniform"] = described(
        "kaiming_uniform", "PyTorch's default (a = sqrt 5, biases too), or He et al. for ReLU (biases zero)"
    )
    weight_scale: float = described(1.0, "multiplier of the initial weights and biases", gt=0)

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        if (self.preset == "mlp") != bool(self.hidden):
            yield "hidden", 'lists the layer sizes of preset = "mlp"; give it with that preset and no other'
        if (self.preset == "custom") != bool(self.layers):
            yield "layers", 'lists the layers of preset = "custom"; give it with that preset and no other'
        kinds = [layer.kind for layer in self.layers]
        if kinds != sorted(kinds):
            yield "layers", "conv layers must come before linear layers"


class RelaxationSection(Section):
    """The phases of equilibrium propagation."""

    free_steps: int = described(250, "ticks T of the free phase", unit="tick", ge=1)
    nudge_steps: int = described(50, "ticks K of each nudge phase", unit="tick", ge=1)
    beta: float = described(0.25, "nudging strength", gt=0)
    nudging: Literal["three_phase", "one_sided_plus", "one_sided_minus"] = described(
        "three_phase", "+beta and -beta from the free state, or only one of them against the free state"
    )
    state_init: Literal["zeros", "uniform"] = described("zeros", "states at tick 0: 0, or uniform in [0, 1)")
    tolerance: float = described(
        1e-3, "a sample is settled when no state changed by more than this in the last tick", ge=0
    )


class SignalsSection(Section):
    """Intermediate error signals that make depth work."""

    kind: Literal["none", "le"] = described("none", "no signals, or local errors through random projections")
    layers: list[Annotated[int, Field(ge=0)]] = described([], "layers with a signal, counted from 0")
    alpha: float = described(1.0, "initial weight of the signals relative to the readout loss", ge=0)
    alpha_min: float = described(0.0, "weight the schedule ends at", ge=0)
    alpha_schedule: Literal["constant", "linear", "exponential", "cosine"] = described(
        "constant", "course of alpha over the epochs"
    )
    alpha_decay: float = described(0.95, "factor per epoch of the exponential schedule", gt=0, le=1)
    temperature: float = described(4.0, "temperature of the softmax of the layer readouts", gt=0)
    temperature_exponent: float = described(2.0, "power of the temperature that scales the signal loss", ge=0)
    targets: Literal["hard", "soft"] = described("hard", "one-hot labels, or labels softened by the temperature")
    learned: bool = described(False, "also learn the projections")

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        if self.kind == "none" and self.layers:
            yield "layers", 'no layer has a signal while kind = "none"; set kind = "le" or remove layers'
        if self.kind != "none" and not self.layers:
            yield "layers", "must list the layers that get a signal, counted from 0"
        if len(set(self.layers)) != len(self.layers):
            yield "layers", "names a layer twice"
        if self.alpha_min > self.alpha:
            yield "alpha_min", f"must not exceed alpha ({self.alpha:g})"


class PlasticitySection(Section):
    """The local learning rule of every synapse."""

    rule: Literal["contrastive", "stdp"] = described(
        "contrastive", "difference of phase end points, or local changes accumulated over the nudge ticks"
    )


class TrainingSection(Section):
    """Epochs and the optimiser that turns EP gradients into weight changes."""

    epochs: int = described(10, "passes over the training images", unit="epoch", ge=1)
    batch_size: int = described(64, "images per weight update", ge=1)
    learning_rate: Rate | Rates = described(
        0.01, "SGD step of the connections: one value, or one per connection, first to last"
    )
    readout_learning_rate: float = described(0.01, "SGD step of the readout outside the dynamics", ge=0)
    projection_learning_rate: float = described(0.01, "SGD step of learned signal projections", ge=0)
    momentum: float = described(0.9, "SGD momentum", ge=0, lt=1)
    weight_decay: float = described(3e-4, "L2 decay of weights (biases too)", ge=0)
    schedule: Literal["constant", "cosine"] = described(
        "cosine", "course of the learning rates over all updates: constant, or half a cosine down to 0"
    )
    update_limit: float = described(
        0.0, "largest change of a connection's weights per update, relative to their norm; 0: no limit", ge=0
    )


class HardwareSection(Section):
    """The chip whose tiles carry the synapses."""

    model: str = described("rram_32nm", "hardware model: a shipped name or a TOML file")


class SchedulerSection(Section):
    """How the ticks are computed."""

    policy: Literal["synchronous"] = described(
        "synchronous", "order of layer updates inside a tick: all layers from the previous tick"
    )


class TelemetrySection(Section):
    """What is recorded, and how often."""

    stats_every: int = described(10, "batches between layer statistics", unit="batch", ge=1)
    traffic_every: int = described(100, "batches between exact tile counts; 0: none", unit="batch", ge=0)
    event_threshold: float = described(1e-3, "a neuron sends when its state moved by more than this", ge=0)


class Scenario(Section):
    """A whole scenario: one field per TOML section."""

    scenario: ScenarioSection = ScenarioSection()
    data: DataSection = DataSection()
    network: NetworkSection = NetworkSection()
    relaxation: RelaxationSection = RelaxationSection()
    signals: SignalsSection = SignalsSection()
    plasticity: PlasticitySection = PlasticitySection()
    training: TrainingSection = TrainingSection()
    hardware: HardwareSection = HardwareSection()
    scheduler: SchedulerSection = SchedulerSection()
    telemetry: TelemetrySection = TelemetrySection()
