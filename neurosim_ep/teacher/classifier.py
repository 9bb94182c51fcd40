"""The teacher network: a VGG trained by backpropagation, whose blocks have the shapes of the student's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from neurosim_ep.ep.network import Network
from neurosim_ep.ep.seeds import Stream, generator
from neurosim_ep.errors import ScenarioError
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.scenario.topology import LayerPlan, is_plain


class Teacher(nn.Module):
    """Feed-forward network of the given layers: convolution, batch normalisation, ReLU, pooling; linear, ReLU; logits.

    ``layers[n]`` computes layer n, of shape ``shapes[n]``; ``largest_flops`` are the floating-point operations of the
    largest one on one image; ``needs_two`` names a convolution whose maps of 1x1 are normalised over the batch alone.
    Modules are named ``conv1``, ``bn1``, ..., ``fc1``, ..., ``out``.
    """

    def __init__(
        self, plans: Sequence[LayerPlan], num_classes: int, image_shape: Sequence[int], *, batch_norm: bool
    ) -> None:
        super().__init__()
        self.layers: list[list[nn.Module]] = []
        self.shapes: list[tuple[int, ...]] = []
        self.largest_flops = 0
        self.needs_two: str | None = None
        shape, convs, linears = tuple(image_shape), 0, 0
        for plan in plans:
            if plan.kind == "conv":
                convs += 1
                layer = self._conv(convs, shape[0], plan, batch_norm)
                sides = [side + 2 * plan.padding - plan.kernel + 1 for side in shape[1:]]
                weights, positions = plan.size * shape[0] * plan.kernel**2, math.prod(sides)
                shape = (plan.size, *(side // 2 if plan.pool else side for side in sides))
                if batch_norm and positions == 1:
                    self.needs_two = f"conv{convs}"
            else:
                linears += 1
                layer = [nn.Flatten(), self._named(f"fc{linears}", nn.Linear(math.prod(shape), plan.size)), nn.ReLU()]
                weights, positions = plan.size * math.prod(shape), 1
                shape = (plan.size,)
            self.largest_flops = max(self.largest_flops, 2 * weights * positions)
            if min(shape) < 1:
                raise ScenarioError(
                    f"teacher: layer {len(self.layers)} would have shape {shape} on images of {tuple(image_shape)}; "
                    "use larger images, or a preset with fewer pooled layers"
                )
            self.layers.append(layer)
            self.shapes.append(shape)
        self.out = nn.Linear(math.prod(shape), num_classes)

    def _conv(self, number: int, channels: int, plan: LayerPlan, batch_norm: bool) -> list[nn.Module]:
        conv = nn.Conv2d(channels, plan.size, plan.kernel, padding=plan.padding, bias=not batch_norm)
        layer: list[nn.Module] = [self._named(f"conv{number}", conv)]
        if batch_norm:
            layer.append(self._named(f"bn{number}", nn.BatchNorm2d(plan.size)))
        layer.append(nn.ReLU(inplace=True))
        if plan.pool:
            layer.append(nn.MaxPool2d(2) if plan.pool == "max" else nn.AvgPool2d(2))
        return layer

    def _named(self, name: str, module: nn.Module) -> nn.Module:
        self.add_module(name, module)
        return module

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, C) of images x (B, C, H, W)."""
        return self.out(self._run(x, [])[0].flatten(1))

    def activations(self, x: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Outputs (B, *shape) of ``layers``, after ReLU and pooling."""
        return self._run(x, layers)[1]

    def _run(self, x: Tensor, layers: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        kept = {}
        for number, layer in enumerate(self.layers):
            for module in layer:
                x = module(x)
            if number in layers:
                kept[number] = x
        return x, [kept[number] for number in layers]


def build_teacher(scenario: Scenario, num_classes: int, image_shape: Sequence[int]) -> Teacher:
    """The teacher of a scenario's ``[teacher]`` section, initialised from the scenario's seed, on the CPU."""
    plans = scenario.teacher.layer_plans(scenario.network)
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(generator(scenario.scenario.seed, Stream.TEACHER_WEIGHTS).get_state())
        teacher = Teacher(plans, num_classes, image_shape, batch_norm=scenario.teacher.batch_norm)
    return teacher.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def matching_layers(scenario: Scenario, student: Network, teacher: Teacher) -> dict[int, int]:
    """The teacher's layer that teaches each layer of ``student`` whose signal is kd or kdw.

    It is the layer of the same number where both have the same layers, else the last layer of the same block. Raises
    :class:`ScenarioError` where there is none, or it has another shape.
    """
    taught = scenario.signals.taught()
    if scenario.teacher.preset == "same":
        pairs = {layer: layer for layer in taught if layer < len(teacher.shapes)}
    else:
        own, others = (_block_ends(student.image_shape, shapes) for shapes in (student.state_shapes, teacher.shapes))
        pairs = {layer: others[own.index(layer)] for layer in taught if layer in own[: len(others)]}
    for layer in taught:
        wanted = student.state_shapes[layer]
        found = teacher.shapes[pairs[layer]] if layer in pairs else None
        if found != wanted:
            name = student.layer_names[layer]
            what = f"has the shape {found} there" if found else f"has no block that ends where {name} does"
            plain = is_plain(scenario.network.layer_plans(student.num_classes))
            remedy = 'use preset = "same", or teach' if plain else "teach"
            raise ScenarioError(
                f'teacher.preset = "{scenario.teacher.preset}": must have a layer of shape {wanted} for layer {layer} '
                f"({name}) of the network, but {what}; "
                f"{remedy} only layers that make the image smaller (signals.layers), or use signals.kind = le there"
            )
    return pairs


def _block_ends(image_shape: Sequence[int], shapes: Sequence[tuple[int, ...]]) -> list[int]:
    """Last layer of each block of convolutions: the one that changes the size of the image."""
    sizes = [tuple(image_shape[1:]), *(shape[1:] for shape in shapes)]
    return [n for n, (before, size) in enumerate(pairwise(sizes)) if size and size != before]
