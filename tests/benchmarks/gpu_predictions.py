"""What a tick should cost on a GPU, by arithmetic alone: `python tests/benchmarks/gpu_predictions.py` prints tables.

Every operation of a synchronous tick of the free phase is listed with its floating-point operations and with the bytes
it must read and write at least once. Its time is the largest of arithmetic, bytes and the least time of a kernel in a
captured graph; a tick is the sum. ``gpu_session.py`` measures the same ticks. Nothing here is measured.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from neurosim_ep.ep.edges import Connection
from neurosim_ep.ep.network import Network, build_network
from neurosim_ep.scenario.load import load_scenario


@dataclass(frozen=True)
class Card:
    """What a device is assumed to reach: bytes/s, FLOP/s of convolutions by precision, seconds of the least kernel."""

    bytes_per_s: float
    flop_per_s: dict[str, float]
    kernel_s: float = 2e-6


CONVOLUTIONS = {"float32": 0.6 * 67e12, "tf32": 0.35 * 494e12, "bfloat16": 0.35 * 989e12}
"""60 % of the data sheet's float32, 35 % of its dense tensor-core rates."""
CARDS = {"H100": Card(0.8 * 3.35e12, CONVOLUTIONS), "H200": Card(0.8 * 4.8e12, CONVOLUTIONS)}
"""80 % of the data sheet's memory bandwidth of the SXM modules."""
WAYS = {"plain": ("float32", "tf32"), "fused": ("float32", "tf32", "bfloat16")}
"""How ticks are computed, with the precisions they are predicted in."""


@dataclass(frozen=True)
class Operation:
    """``kernels`` launches that together do ``flop`` and move ``moved`` bytes."""

    flop: float
    moved: float
    kernels: int = 1

    def seconds(self, card: Card, precision: str) -> float:
        return max(self.flop / card.flop_per_s[precision], self.moved / card.bytes_per_s, self.kernels * card.kernel_s)


def tick(network: Network, rows: int, way: str, precision: str) -> list[Operation]:
    """The operations of one synchronous tick of ``rows`` rows, "plain" or "fused"."""
    list_of = _plain if way == "plain" else _fused
    operations = [operation for layer in network.connections[1:] for operation in list_of(layer, rows, precision)]
    last = len(network.connections) - 1
    for layer, connection in enumerate(network.connections):
        operations += _write(4 * rows * math.prod(connection.out_shape), way, one_drive=layer == last)
    return operations


def predicted_ms(operations: Sequence[Operation], card: Card, precision: str) -> float:
    return 1e3 * sum(operation.seconds(card, precision) for operation in operations)


def read(connection: Connection, rows: int, element: int) -> Operation:
    """One read in one direction: rows of inputs, the weights and rows of outputs, ``element`` bytes each."""
    values = rows * (math.prod(connection.in_shape) + math.prod(connection.pre_pool_shape)) + connection.weight.numel()
    positions = math.prod(connection.pre_pool_shape[1:])
    return Operation(2 * rows * positions * connection.weight.numel(), element * values)


def _plain(connection: Connection, rows: int, precision: str) -> Iterator[Operation]:
    """Both reads with PyTorch's operations: bias, pooling and unpooling are passes of their own."""
    z, post = (4 * rows * math.prod(shape) for shape in (connection.pre_pool_shape, connection.out_shape))
    yield read(connection, rows, 4)
    if connection.kind == "conv":
        yield Operation(0, 2 * z)  # bias
    if connection.pool == "max":
        yield Operation(0, z + 3 * post)  # maxima and indices of 8 bytes
        yield Operation(0, 2 * post)  # post states to NCHW, which unpooling wants
        yield Operation(0, 4 * post)  # indices to NCHW
        yield Operation(0, z)  # zeros
        yield Operation(0, 4 * post)  # unpooling
        yield Operation(0, 2 * z)  # routed states back to NHWC
    yield read(connection, rows, 4)


def _fused(connection: Connection, rows: int, precision: str) -> Iterator[Operation]:
    """Both reads as convolutions, bias, pooling and routing in one pass between them."""
    convolved = connection.kind == "conv"
    element = 2 if convolved and precision == "bfloat16" else 4
    pre, z, post = (
        rows * math.prod(shape) for shape in (connection.in_shape, connection.pre_pool_shape, connection.out_shape)
    )
    if element == 2:
        yield Operation(0, 6 * pre)  # states rounded
    yield read(connection, rows, element)
    if connection.pool == "max":
        yield Operation(0, 2 * element * z + 8 * post)
    elif element == 2:
        yield Operation(0, 6 * post)  # states rounded
    yield read(connection, rows, element)


def _write(state: int, way: str, one_drive: bool) -> list[Operation]:
    """A layer's new state of ``state`` bytes from its drives; the change is looked at in every fourth tick only."""
    if way == "fused":
        return [Operation(0, (2 if one_drive else 3) * state)]
    added = [] if one_drive else [Operation(0, 3 * state)]
    return [*added, Operation(0, 2 * state), Operation(0, 2 * state)]  # activation, copy


def table(networks: Sequence[str], rows: int) -> str:
    """Predictions for every network, way and precision."""
    heads = ["network", "tick", "precision", "GFLOP", "GB", "kernels", *(f"{card}, ms" for card in CARDS)]
    lines = [heads, ["---"] * len(heads)]
    for name in networks:
        scenario = load_scenario(f"paper/{name}")
        network = build_network(scenario.network, 10 if scenario.data.kind == "cifar10" else 100, (3, 32, 32), 0)
        for way, precisions in WAYS.items():
            for precision in precisions:
                done = tick(network, rows, way, precision)
                flop, moved, kernels = (sum(getattr(one, key) for one in done) for key in ("flop", "moved", "kernels"))
                milliseconds = [f"{predicted_ms(done, card, precision):.2f}" for card in CARDS.values()]
                lines.append(
                    [name, way, precision, f"{flop / 1e9:.1f}", f"{moved / 1e9:.2f}", str(kernels), *milliseconds]
                )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=128)
    print(table(("vgg7_le", "vgg11_le"), parser.parse_args().batch))


if __name__ == "__main__":
    main()
