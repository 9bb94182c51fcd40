"""How far one run can be shared, by arithmetic alone: `python tests/benchmarks/scaling.py` prints Markdown.

A step of N processes is what one GPU computes for its share of the batch, T free ticks and K ticks of both nudge phases
by the model of ``gpu_predictions.py`` and the two outer products of the update, and one ring all-reduce of all
gradients in float32: every process sends and receives ``2 (N - 1)/N`` of their bytes, in ``2 (N - 1)`` messages.
Nothing overlaps, no sample rests early. Nothing here is measured.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass

from gpu_predictions import CARDS, Operation, predicted_ms, tick

from neurosim_ep.ep.network import Network, build_network
from neurosim_ep.ep.signals import build_signals
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scenario.schema import Scenario

CARD = "H100"
SETTINGS = {
    "VGG-7": ("paper/vgg7_le", []),
    "VGG-11": ("paper/vgg11_le", []),
    "VGG-13": ("paper/vgg13_le", []),
    "resnet13": ("paper/vgg13_le", ["network.preset=resnet13", "signals.layers=[1,3,5,7]"]),
}
"""Scenario of each network, with what is changed in it."""
COUNTS = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Link:
    """What connects processes: bytes/s that each sends while it receives as many, and seconds of one message."""

    bytes_per_s: float
    message_s: float


NVLINK, INFINIBAND, ETHERNET = Link(0.8 * 450e9, 3e-6), Link(0.8 * 50e9, 5e-6), Link(0.8 * 1.25e9, 30e-6)
"""80 % of NVLink 4 (450 GB/s each way), of one 400 Gb/s adapter per GPU, and of 10 Gb/s Ethernet per GPU."""
PER_MACHINE = 8
"""GPUs that NVLink connects; a ring through more of them is as fast as its slowest link."""


@dataclass(frozen=True)
class Subject:
    """A network and the setting it is trained in."""

    scenario: Scenario
    network: Network
    parameters: int

    @classmethod
    def of(cls, name: str) -> Subject:
        setting, changes = SETTINGS[name]
        scenario = load_scenario(setting, changes)
        network = build_network(scenario.network, 10 if scenario.data.kind == "cifar10" else 100, (3, 32, 32), 0)
        signals = build_signals(scenario.signals, network, 0)
        learned = (
            0 if signals is None else sum(matrix.numel() for matrix in signals.parameters()) * bool(signals.learned)
        )
        return cls(scenario, network, sum(one.numel() for one in network.parameters()) + learned)

    @property
    def batch(self) -> int:
        return self.scenario.training.batch_size

    def flop(self, samples: int) -> float:
        """Operations of one step: all ticks, the input's read, two outer products."""
        relaxation, edges = self.scenario.relaxation, self.network.edges
        reads = sum(edge.read_flops for edge in edges)
        ticks = (relaxation.free_steps + 2 * relaxation.nudge_steps) * 2 * (reads - edges[0].read_flops)
        return samples * (ticks + edges[0].read_flops + 2 * reads)

    def compute_s(self, samples: int, precision: str) -> float:
        """Seconds of one step of ``samples`` samples on one card."""
        relaxation, card = self.scenario.relaxation, CARDS[CARD]
        free, nudge = (
            predicted_ms(tick(self.network, rows, "fused", precision), card, precision) / 1e3
            for rows in (samples, 2 * samples)
        )
        reads = [samples * edge.read_flops for edge in self.network.edges]
        update = sum(2 * Operation(flop, 0).seconds(card, precision) for flop in reads)
        return relaxation.free_steps * free + relaxation.nudge_steps * nudge + update

    def exchange_s(self, count: int, link: Link) -> float:
        """Seconds of the all-reduce."""
        moved = 4 * self.parameters * 2 * (count - 1) / count
        return moved / link.bytes_per_s + 2 * (count - 1) * link.message_s


def link_of(count: int, slow: Link | None = None) -> Link:
    """What limits a ring of ``count`` GPUs."""
    return slow or (NVLINK if count <= PER_MACHINE else INFINIBAND)


def markdown(rows: Sequence[Sequence[object]]) -> str:
    heads, *lines = rows
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (heads, ["---"] * len(heads), *lines))


def volumes(subjects: dict[str, Subject]) -> str:
    """What a step computes and what it exchanges."""
    rows: list[Sequence[object]] = [
        [
            "network",
            "T",
            "K",
            "batch",
            "parameters",
            "MB per step, N = 2",
            "N = 8",
            "N = 64",
            "TFLOP per step",
            "FLOP per byte",
        ]
    ]
    for name, one in subjects.items():
        relaxation = one.scenario.relaxation
        moved = [4 * one.parameters * 2 * (count - 1) / count for count in (2, 8, 64)]
        rows.append(
            [
                name,
                relaxation.free_steps,
                relaxation.nudge_steps,
                one.batch,
                f"{one.parameters / 1e6:.2f} M",
                *(f"{size / 1e6:.1f}" for size in moved),
                f"{one.flop(one.batch) / 1e12:.1f}",
                f"{one.flop(one.batch) / moved[-1]:,.0f}",
            ]
        )
    return markdown(rows)


def efficiencies(subjects: dict[str, Subject], precision: str, slow: Link | None, *, grow: bool) -> str:
    """Time of N processes over the ideal, for the batch of the setting, or for one that ``grow``s with N."""
    rows: list[Sequence[object]] = [["network", "step of one, s", *(f"N = {count}" for count in COUNTS[1:])]]
    for name, one in subjects.items():
        alone, cells = one.compute_s(one.batch, precision), []
        for count in COUNTS[1:]:
            share = one.batch if grow else math.ceil(one.batch / count)
            taken = one.compute_s(share, precision) + one.exchange_s(count, link_of(count, slow))
            cells.append(f"{alone / (taken if grow else count * taken):.0%}")
        rows.append([name, f"{alone:.2f}", *cells])
    return markdown(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", choices=("float32", "tf32"), default="tf32")
    precision = parser.parse_args().precision
    subjects = {name: Subject.of(name) for name in SETTINGS}
    print(f"Exchanged and computed:\n\n{volumes(subjects)}\n")
    for title, slow, grow in (
        ("the batch of the setting, NVLink to 8 GPUs, InfiniBand beyond", None, False),
        ("the batch grows with N, NVLink to 8 GPUs, InfiniBand beyond", None, True),
        ("the batch of the setting, 10 Gb/s Ethernet", ETHERNET, False),
    ):
        print(f"Efficiency, {CARD}, {precision}: {title}:\n\n{efficiencies(subjects, precision, slow, grow=grow)}\n")


if __name__ == "__main__":
    main()
