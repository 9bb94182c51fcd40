"""Traces of DNN+NeuroSim: the network, and weights and inputs of every connection as CSV files.

Source: ``utee/hook.py`` and ``NetWork_*.csv`` of DNN+NeuroSim 1.3 (Peng et al., IEDM 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurosim_ep.record.export.common import write_lines
from neurosim_ep.tiles.mapping import ConnectionGeometry

NETWORK = "NetWork.csv"


@dataclass(frozen=True)
class LayerTrace:
    """A connection with what it reads.

    ``weight`` (Cout, Cin, Kh, Kw), or (out, in) of a linear layer; ``inputs`` of its ``in_shape``; ``signed``: whether
    inputs may be negative.
    """

    geometry: ConnectionGeometry
    weight: np.ndarray
    inputs: np.ndarray
    signed: bool

    @property
    def network_row(self) -> tuple[int, ...]:
        """H, W, Cin, Kh, Kw, Cout, pooled afterwards, stride; H and W without padding, 1 of a linear layer."""
        shape = self.geometry
        channels, height, width = shape.in_shape if shape.kind == "conv" else (shape.fan_in, 1, 1)
        return height, width, channels, *shape.kernel, shape.channels, int(shape.pool is not None), shape.stride

    @property
    def matrix(self) -> np.ndarray:
        """Weights, [Cin * Kh * Kw, Cout]."""
        return self.weight.reshape(len(self.weight), -1).T

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


def write_neurosim(folder: Path, layers: Sequence[LayerTrace], bits: int) -> dict[str, Any]:
    """Write network, weights and inputs of ``bits`` each into ``folder``; returns what export.json says of them."""
    write_lines(folder / NETWORK, [",".join(map(str, layer.network_row)) for layer in layers])
    rows = [_write_layer(folder, layer, bits) for layer in layers]
    return {"files": [NETWORK, *(row[kind] for row in rows for kind in ("weights", "inputs"))], "connections": rows}


def _write_layer(folder: Path, layer: LayerTrace, bits: int) -> dict[str, Any]:
    name = layer.geometry.name
    weights, inputs = f"weight_{name}.csv", f"input_{name}.csv"
    np.savetxt(folder / weights, layer.matrix, fmt="%10.5f", delimiter=",")
    windows = layer.windows
    digits = bit_columns(windows, bits, layer.full_scale, signed=layer.signed)
    text = np.full((len(digits), 2 * digits.shape[1]), ord(","), np.uint8)
    text[:, ::2] = digits + ord("0")
    text[:, -1] = ord("\n")
    (folder / inputs).write_bytes(text.tobytes())
    return {
        "name": name,
        "weights": weights,
        "inputs": inputs,
        "windows": windows.shape[1],
        "padding": layer.geometry.padding,
        "signed": layer.signed,
        "full_scale": layer.full_scale,
        "share_of_ones": float(digits.mean()),
        "largest_weight": float(np.abs(layer.weight).max()),
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
