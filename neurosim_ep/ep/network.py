"""Convergent networks: layers of neurons, the edges between them, and a readout.

``build_network`` makes one from a scenario's ``[network]`` section. Weights start as PyTorch's default
Kaiming uniform (a = √5, biases too) or He uniform (He et al. 2015), times the ``weight_scale`` of their layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from neurosim_ep.display import html_table, table
from neurosim_ep.ep import activations, primitive
from neurosim_ep.ep.edges import Connection, Edge, Identity, refuse_oversize
from neurosim_ep.ep.seeds import Stream, generator
from neurosim_ep.errors import ScenarioError, UsageError
from neurosim_ep.scenario.schema import NetworkSection
from neurosim_ep.scenario.topology import IMAGE, EdgePlan, LayerPlan, per_layer


class Readout(nn.Module):
    """Softmax readout outside the dynamics: ``ŷ = softmax(W s^N + b)`` with weight (C, features)."""

    weight: Tensor
    bias: Tensor

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__()
        refuse_oversize("the readout", parameters=num_classes * (features + 1))
        self.weight = nn.Parameter(torch.empty(num_classes, features), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(num_classes), requires_grad=False)

    def forward(self, state: Tensor) -> Tensor:
        """Logits (B, C) of the last hidden layer's state."""
        return primitive.preactivation(state, self.weight, self.bias, 0)


class Network(nn.Module):
    """A convergent recurrent network of layers 0..N-1, driven by the image through ``edges[0]``.

    ``edges`` stand in the order of the layers that they drive, those of one layer as its plan has them; ``connections``
    are those of them that have weights. In a chain ``edges[n]`` and ``connections[n]`` drive layer n from the one
    below. ``loss`` is "cross_entropy" (``readout`` outside the dynamics) or "squared_error" (``readout`` is None and
    the last layer is the class layer). ``activations``: the :class:`~neurosim_ep.ep.activations.Activation` of each
    layer; ``incoming`` and ``outgoing``: places in ``edges`` of those into and out of each layer; ``number``: from the
    place in ``edges`` of a connection to that in ``connections``.
    """

    connections: Sequence[Connection]
    readout: Readout | None
    dynamics: Callable[[Network, Tensor], Tensor] | None = None
    """How it comes to rest and what its readout sees then, where somebody has said so: logits (B, C) of images."""

    def __init__(
        self,
        plans: Sequence[LayerPlan],
        activation: str | Sequence[str],
        loss: str,
        num_classes: int,
        image_shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.loss, self.num_classes, self.image_shape = loss, num_classes, tuple(image_shape)
        self.edges = make_edges(plans, self.image_shape)
        self.connections = nn.ModuleList(  # type: ignore[assignment]
            edge for edge in self.edges if isinstance(edge, Connection)
        )
        weighted = [n for n, edge in enumerate(self.edges) if isinstance(edge, Connection)]
        self.number = {edge: place for place, edge in enumerate(weighted)}
        layers = range(len(plans))
        self.incoming = [[n for n, edge in enumerate(self.edges) if edge.target == layer] for layer in layers]
        self.outgoing = [[n for n, edge in enumerate(self.edges) if edge.source == layer] for layer in layers]
        self.activations = activations.per_layer(activation, [plan.kind for plan in plans])
        signs = [one.signed for one in self.activations]
        for edge in self.edges:  # images, which may be normalised, have a sign
            edge.signed = edge.source == IMAGE or signs[edge.source], signs[edge.target]
        self.readout = Readout(math.prod(self.state_shapes[-1]), num_classes) if loss == "cross_entropy" else None

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, C) of normalised images x (B, C, H, W) where the network has come to rest on them.

        How it does (ticks, gains, schedule) is no property of the network: one that :func:`~neurosim_ep.load_network`
        gives does it as its run did. Raises :class:`UsageError` where nobody has said how.
        """
        if self.dynamics is None:
            raise UsageError(
                "this network has weights alone, not how it comes to rest: call neurosim_ep.free_phase(network, x, "
                "steps), whose states network.logits takes, or load a trained one with neurosim_ep.load_network"
            )
        return self.dynamics(self, x)

    @property
    def layers(self) -> int:
        """Number of layers of neurons."""
        return len(self.incoming)

    def into(self, layer: int) -> list[int]:
        """Places in ``connections`` of those that drive ``layer``."""
        return [self.number[n] for n in self.incoming[layer] if n in self.number]

    def out_of(self, layer: int) -> list[int]:
        """Places in ``connections`` of those that ``layer`` drives."""
        return [self.number[n] for n in self.outgoing[layer] if n in self.number]

    def neighbours(self, layer: int) -> list[int]:
        """The layers that an edge joins with ``layer``, those below first."""
        below = [self.edges[n].source for n in self.incoming[layer] if self.edges[n].source != IMAGE]
        return list(dict.fromkeys([*below, *(self.edges[n].target for n in self.outgoing[layer])]))

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        """Shape of one sample's state, layer by layer."""
        return [self.edges[first].out_shape for first, *_ in self.incoming]

    @property
    def layer_names(self) -> list[str]:
        """Names of the layers (each named after its first connection)."""
        return [self.edges[first].name for first, *_ in self.incoming]

    @property
    def largest_read_flops(self) -> int:
        """:attr:`Connection.read_flops` of the connection that has most of them."""
        return max(connection.read_flops for connection in self.connections)

    def summary(self) -> str:
        """What it is, in a line."""
        weights = sum(parameter.numel() for parameter in self.parameters())
        shape = "x".join(map(str, self.image_shape))
        return (
            f"{self.layers} layers of {sum(map(math.prod, self.state_shapes)):,} neurons, {weights:,} parameters; "
            f"images {shape}, {self.num_classes} classes, {self.loss.replace('_', ' ')}"
        )

    def layer_rows(self) -> list[dict[str, str]]:
        """A row per edge, for people, and one of the readout where there is one."""
        rows = [
            {
                "edge": edge.name,
                "kind": edge.kind if edge.pool is None else f"{edge.kind}, {edge.pool} pool",
                "weights": "x".join(map(str, edge.weight.shape)) if isinstance(edge, Connection) else "-",
                "states": "x".join(map(str, edge.out_shape)),
                "activation": self.activations[edge.target].name,
            }
            for edge in self.edges
        ]
        if self.readout is not None:
            weights = "x".join(map(str, self.readout.weight.shape))
            classes = str(self.num_classes)
            rows.append(
                {"edge": "readout", "kind": "linear", "weights": weights, "states": classes, "activation": "softmax"}
            )
        return rows

    def __repr__(self) -> str:
        return f"<Network: {self.summary()}>\n{table(self.layer_rows())}"

    def _repr_html_(self) -> str:
        return html_table(self.layer_rows(), f"Network: {self.summary()}")

    def begin_phase(self, name: str) -> None:
        """Reads of real tiles belong to phase ``name`` ("free" or "nudge") from now on, but for those of the image,
        which is read in the free phase alone.
        """
        for connection in self.connections[1:]:
            if connection.tiles is not None:
                connection.tiles.phase = name

    def initial_states(self, batch: int, kind: str, random: torch.Generator | None = None) -> list[Tensor]:
        """States at tick 0: zeros, or uniform between the bounds of the activation, but not beyond 1 in size, drawn
        from ``random`` (a generator on the CPU).
        """
        weight = self.connections[0].weight
        states = []
        for shape, activation in zip(self.state_shapes, self.activations, strict=True):
            if kind == "zeros":
                state = weight.new_zeros(batch, *shape)
            else:
                low, high = activation.start
                drawn = torch.rand(batch, *shape, generator=random, dtype=weight.dtype)
                state = drawn.mul_(high - low).add_(low).to(weight.device)
            states.append(channels_last(state))
        return states

    def logits(self, states: Sequence[Tensor]) -> Tensor:
        """Class scores (B, C): the readout's logits, or the class layer itself."""
        return states[-1] if self.readout is None else self.readout(states[-1])

    def input_drive(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """``P(w_1 ⋆ x + b_1)`` and its routing: constant during a sample's whole presentation."""
        return self.connections[0](channels_last(x))


def make_edges(plans: Sequence[LayerPlan], image_shape: tuple[int, ...]) -> list[Edge]:
    """The edges of the layers of ``plans``, in the order of the layers they drive.

    A layer is named after its kind, as "conv2", and so is its first connection; others are named after both ends, as
    "conv2_from_conv1", and "conv2_from_conv1_2" where there is such an edge already. Raises :class:`ScenarioError`
    where the edges into a layer do not give the same shape, or the first one has no weights.
    """
    edges: list[Edge] = []
    shapes, names, seen = [image_shape], ["image"], {"conv": 0, "linear": 0}
    for layer, plan in enumerate(plans):
        seen[plan.kind] += 1
        own = f"{'conv' if plan.kind == 'conv' else 'fc'}{seen[plan.kind]}"
        for number, edge in enumerate(plan.incoming(layer)):
            name = f"{own}_from_{names[edge.source + 1]}" if number else own
            alike = sum(one.name == name or one.name.startswith(f"{name}_") for one in edges)
            name = f"{name}_{alike + 1}" if alike and number else name
            made = _edge(name, edge, plan.size, shapes[edge.source + 1], layer)
            if number and made.out_shape != edges[-1].out_shape:
                raise ScenarioError(
                    f"network: {name} gives layer {own} the shape {made.out_shape}, and {edges[-1].name} "
                    f"{edges[-1].out_shape}; all edges into a layer must give it the same one: change kernel, stride, "
                    "padding or pool"
                )
            if not number and isinstance(made, Identity):
                raise ScenarioError(f"network: the first edge into layer {own} is an identity; put a connection first")
            edges.append(made)
        shapes.append(edges[-1].out_shape)
        names.append(own)
    return edges


def _edge(name: str, plan: EdgePlan, size: int, in_shape: tuple[int, ...], target: int) -> Edge:
    if plan.kind == "identity":
        return Identity(name, in_shape, plan.pool, plan.source, target)
    own = LayerPlan(plan.kind, size, plan.kernel, plan.padding, plan.pool, plan.stride)
    return Connection(name, own, in_shape, plan.source, target)


def channels_last(value: Tensor) -> Tensor:
    """Images and conv states in the memory layout the convolutions run fastest in; others unchanged."""
    return value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value


@torch.no_grad()
def initialise(network: Network, weight_init: str, weight_scale: float | Sequence[float], seed: int) -> None:
    """Draw every weight and bias of ``network`` from the seed, connection by connection, then the readout.

    ``weight_scale``: one for all layers, or one for each; the readout has that of the last one. Raises
    :class:`ScenarioError` for a list of another length.
    """
    scales = per_layer(weight_scale, network.layers, "network.weight_scale", "factor")
    random = generator(seed, Stream.WEIGHTS)
    layers: list[tuple[Connection | Readout, float]] = [(one, scales[one.target]) for one in network.connections]
    if network.readout is not None:
        layers.append((network.readout, scales[-1]))
    for layer, scale in layers:
        fan_in = layer.weight[0].numel()
        bound = math.sqrt(6 / fan_in) if weight_init == "he_uniform" else math.sqrt(1 / fan_in)
        bias_bound = 0.0 if weight_init == "he_uniform" else bound
        for tensor, limit in ((layer.weight, bound), (layer.bias, bias_bound)):
            drawn = torch.empty(tensor.shape).uniform_(-1, 1, generator=random)
            tensor.copy_(drawn * (limit * scale))


def build_network(section: NetworkSection, num_classes: int, image_shape: Sequence[int], seed: int) -> Network:
    """The network of a scenario's ``[network]`` section, with initial weights.

    Args:
        section: ``scenario.network`` of what :func:`~neurosim_ep.load_scenario` gives.
        num_classes: size of the readout, or of the class layer.
        image_shape: (C, H, W) of one image.
        seed: of the initial weights; the same seed gives the same weights on every device.

    Returns:
        A network in float32 on the CPU; ``network.state_shapes`` has the shape of each layer's states.

    Raises:
        ScenarioError: layers that do not fit the images or one another.

    >>> from neurosim_ep import load_scenario
    >>> build_network(load_scenario("smoke").network, num_classes=10, image_shape=(3, 16, 16), seed=0).layer_names
    ['conv1', 'conv2', 'fc1']
    """
    plans = section.layer_plans(num_classes)
    network = Network(plans, section.activation, section.loss, num_classes, tuple(image_shape))
    initialise(network, section.weight_init, section.weight_scale, seed)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
