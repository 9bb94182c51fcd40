"""The sections that say what is computed on what: images and network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from neurosim_ep.registry import ACTIVATIONS, SOURCES
from neurosim_ep.scenario.architectures import preset_plans
from neurosim_ep.scenario.names import OneOf
from neurosim_ep.scenario.schema.section import LARGEST, Section, described
from neurosim_ep.scenario.topology import EdgePlan, LayerPlan

Activation = Annotated[str, OneOf(ACTIVATIONS)]
Activations = Annotated[tuple[Activation, ...], Field(strict=False)]
Preset = Literal["vgg7", "vgg10", "vgg11", "vgg12", "vgg13", "vgg13_skip", "resnet13", "mlp", "custom"]
Scale = Annotated[float, Field(gt=0, le=LARGEST)]
Scales = Annotated[tuple[Scale, ...], Field(min_length=1, strict=False)]
Sizes = Annotated[tuple[Annotated[int, Field(ge=1, le=LARGEST)], ...], Field(strict=False)]


class DataSection(Section):
    """The images to learn from."""

    kind: Annotated[str, OneOf(SOURCES)] = described("textures", "where the images come from")
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
        if given := self.changed("root", "classes", "image_size"):
            takes = SOURCES[self.kind].takes
            for key in (key for key in given if key not in takes):
                yield key, f'is not for kind = "{self.kind}", which takes {" and ".join(takes) or "none"}; remove it'
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

    preset: Preset = described(
        "vgg11",
        "named architecture, `mlp` with `hidden`, or `custom` with `layers`; resnet13: strided convolutions with "
        "weighted skips; vgg13_skip: vgg13 with identity skips",
    )
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
    weight_scale: Scale | Scales = described(
        0.5,
        "multiplier of the initial weights and biases: one value, or one per layer, of the connections that drive it "
        "(the readout has that of the last layer)",
    )

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        for key, preset, what in (("hidden", "mlp", "layer sizes"), ("layers", "custom", "layers")):
            if self.preset == preset and not getattr(self, key):
                yield key, f'must list at least one layer with preset = "{preset}", whatever the loss'
            elif self.preset != preset and getattr(self, key):
                yield key, f'lists the {what} of preset = "{preset}"; remove it, or choose that preset'
        kinds = [layer.kind for layer in self.layers]
        if kinds != sorted(kinds):
            yield "layers", "conv layers must come before linear layers"
        yield from self._broken_edges()
        if self.preset in ("resnet13", "mlp", "custom") and self.changed("pool"):
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
            plans = preset_plans(self.preset, self.pool)
        plans = scaled(plans, self.width)
        if self.loss == "squared_error":
            plans.append(LayerPlan("linear", num_classes))
        return plans


def scaled(plans: list[LayerPlan], width: float) -> list[LayerPlan]:
    """``plans`` with their channels and neurons multiplied by ``width``."""
    return [plan._replace(size=max(1, round(plan.size * width))) for plan in plans]
