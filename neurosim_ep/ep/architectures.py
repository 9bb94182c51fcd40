"""Named architectures: the VGG family of arXiv 2508.15989 (Appendix D) and fully connected nets.

All convolutions are 3x3, stride 1, padding 1; a 2x2 pool follows the last convolution of each block, so
32x32 images shrink 32 → 16 → 8 → 4 → 2 → 1.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from neurosim_ep.scenario.schema import NetworkSection


class LayerPlan(NamedTuple):
    """One layer to build: ``size`` output channels or neurons."""

    kind: Literal["conv", "linear"]
    size: int
    kernel: int = 3
    padding: int = 1
    pool: Literal["max", "avg"] | None = None


_DEEP_BLOCKS = ((64,), (128,), (256, 256), (512, 512), (512, 512))
_DEEPER_BLOCKS = ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512))

# preset: channels per block, number of hidden fully connected layers of 512
_VGG: dict[str, tuple[tuple[tuple[int, ...], ...], int]] = {
    "vgg7": (((64,), (128,), (256,), (512,), (512,)), 1),
    "vgg10": (_DEEP_BLOCKS, 1),
    "vgg11": (_DEEP_BLOCKS, 2),
    "vgg12": (_DEEPER_BLOCKS, 1),
    "vgg13": (_DEEPER_BLOCKS, 2),
}
_VGG_HIDDEN = 512


def layer_plans(section: NetworkSection, num_classes: int) -> list[LayerPlan]:
    """Layers of the section's preset, with ``width`` applied; squared error adds the class layer inside."""
    if section.preset == "custom":
        plans = [
            LayerPlan(spec.kind, spec.size, spec.kernel, spec.padding, None if spec.pool == "none" else spec.pool)
            for spec in section.layers
        ]
    elif section.preset == "mlp":
        plans = [LayerPlan("linear", size) for size in section.hidden]
    else:
        plans = _vgg(section)
    if section.loss == "squared_error":
        plans.append(LayerPlan("linear", num_classes))
    return plans


def _vgg(section: NetworkSection) -> list[LayerPlan]:
    def scaled(size: int) -> int:
        return max(1, round(size * section.width))

    blocks, hidden = _VGG[section.preset]
    plans = []
    for block in blocks:
        plans += [LayerPlan("conv", scaled(channels)) for channels in block[:-1]]
        plans.append(LayerPlan("conv", scaled(block[-1]), pool=section.pool))
    return plans + [LayerPlan("linear", scaled(_VGG_HIDDEN)) for _ in range(hidden)]
