"""Traces of DNN+NeuroSim: the network, and weights before and after an update and inputs of every connection.

Source: ``utee/hook.py``, ``main.cpp`` and ``Chip.cpp`` of DNN+NeuroSim V2.1 (Peng et al., IEEE TCAD 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurosim_ep.record.export.common import write_lines
from neurosim_ep.tiles.mapping import ConnectionGeometry

NETWORK, COMMAND = "NetWork.csv", "trace_command.sh"
RESULTS = "NeuroSim_Results_Each_Epoch"


@dataclass(frozen=True)
class LayerTrace:
    """A connection with what it reads.

    ``weight`` (Cout, Cin, Kh, Kw), or (out, in) of a linear layer, and ``old``, what it was before an update;
    ``inputs`` of its ``in_shape``; ``signed``: whether inputs may be negative.
    """

    geometry: ConnectionGeometry
    weight: np.ndarray
    old: np.ndarray
    inputs: np.ndarray
    signed: bool

    @property
    def network_row(self) -> tuple[int, ...]:
        """H, W, Cin, Kh, Kw, Cout, pooled afterwards, stride.

        NeuroSim knows no padding and reads (H - Kh + 1) (W - Kw + 1) / stride² windows: H and W are such that these are
        those of the connection, which are H + 2p and W + 2p where the stride divides them.
        """
        shape = self.geometry
        channels = shape.in_shape[0] if shape.kind == "conv" else shape.fan_in
        sides = shape.pre_pool_shape[1:] if shape.kind == "conv" else (1, 1)
        height, width = (
            side * shape.stride + taps - 1 if shape.kind == "conv" else 1
            for side, taps in zip(sides, shape.kernel, strict=True)
        )
        return height, width, channels, *shape.kernel, shape.channels, int(shape.pool is not None), shape.stride

    @property
    def weight_unit(self) -> float:
        """The weight that 1 stands for in the files, the largest one: NeuroSim maps -1 to 1 to its conductances."""
        return float(max(np.abs(self.weight).max(), np.abs(self.old).max())) or 1.0

    def matrix(self, weight: np.ndarray) -> np.ndarray:
        """``weight`` or ``old`` as [Cin * Kh * Kw, Cout]."""
        return weight.reshape(len(weight), -1).T

    @property
    def windows(self) -> np.ndarray:
        """What the rows of :attr:`matrix` read at every position, [Cin * Kh * Kw, positions]."""
        if self.geometry.kind == "linear":
            return self.inputs.reshape(-1, 1)
        pad = self.geometry.padding
        padded = np.pad(self.inputs, ((0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.geometry.kernel, axis=(1, 2))
        windows = windows[:, :: self.geometry.stride, :: self.geometry.stride]
        return windows.transpose(0, 3, 4, 1, 2).reshape(self.geometry.fan_in, -1)

    @property
    def full_scale(self) -> float:
        """The input that the largest code stands for: the largest one there is, and at least 1 without a sign."""
        largest = float(np.abs(self.inputs).max())
        return (largest or 1.0) if self.signed else max(largest, 1.0)


def write_neurosim(folder: Path, layers: Sequence[LayerTrace], *, input_bits: int, weight_bits: int) -> dict[str, Any]:
    """Write network, weights, inputs and the command that reads them into ``folder``; returns what export.json says."""
    write_lines(folder / NETWORK, [",".join(map(str, layer.network_row)) for layer in layers])
    rows = [_write_layer(folder, layer, input_bits) for layer in layers]
    files = [row[kind] for row in rows for kind in ("weights", "old_weights", "inputs")]
    read = [f"{row['weights']} {row['old_weights']} {row['inputs']} {row['activity']:.6f}" for row in rows]
    command = [
        "#!/bin/sh",
        "# NEUROSIM=path/to/NeuroSIM/main sh trace_command.sh",
        "set -e",
        'cd "$(dirname "$0")"',
        f"mkdir -p {RESULTS}",
        " \\\n  ".join([f'"${{NEUROSIM:-./NeuroSIM/main}}" 1 {NETWORK} {weight_bits} {input_bits}', *read]),
    ]
    write_lines(folder / COMMAND, command)
    return {
        "files": [NETWORK, COMMAND, *files],
        "command": f"NEUROSIM=path/to/NeuroSIM/main sh {COMMAND}",
        "connections": rows,
    }


def _write_layer(folder: Path, layer: LayerTrace, bits: int) -> dict[str, Any]:
    name = layer.geometry.name
    weights, old, inputs = (f"{kind}_{name}.csv" for kind in ("weight", "weightOld", "input"))
    for file, values in ((weights, layer.weight), (old, layer.old)):
        np.savetxt(folder / file, layer.matrix(values) / layer.weight_unit, fmt="%10.5f", delimiter=",")
    windows = layer.windows
    digits = bit_columns(windows, bits, layer.full_scale, signed=layer.signed)
    text = np.full((len(digits), 2 * digits.shape[1]), ord(","), np.uint8)
    text[:, ::2] = digits + ord("0")
    text[:, -1] = ord("\n")
    (folder / inputs).write_bytes(text.tobytes())
    return {
        "name": name,
        "weights": weights,
        "old_weights": old,
        "inputs": inputs,
        "windows": windows.shape[1],
        "padding": layer.geometry.padding,
        "signed": layer.signed,
        "full_scale": layer.full_scale,
        "activity": float(digits.mean()),
        "weight_unit": layer.weight_unit,
    }


def bit_columns(values: np.ndarray, bits: int, full_scale: float, *, signed: bool) -> np.ndarray:
    """``values`` [rows, windows] as 0 and 1, uint8 [rows, windows * bits], the most significant bit of a window first.

    ``round(value / full_scale * (2^bits - 1))``; signed: two's complement of ``round(value / full_scale *
    (2^(bits - 1) - 1))``.
    """
    largest = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    codes = np.rint(values.astype(np.float64) / full_scale * largest).astype(np.int64)
    places = np.arange(bits - 1, -1, -1)
    return (codes[..., None] >> places & 1).astype(np.uint8).reshape(len(values), -1)
