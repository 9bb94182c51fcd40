"""Named architectures: the VGG family of arXiv 2508.15989 (Appendix D).

All convolutions are 3x3, stride 1, padding 1; a 2x2 pool follows the last convolution of each block, so
32x32 images shrink 32 → 16 → 8 → 4 → 2 → 1.
"""

from __future__ import annotations

from typing import Literal

from neurosim_ep.scenario.topology import LayerPlan

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

# teachers only: VGG-16 and VGG-19 for 32x32 images, one hidden layer of 512
_TEACHERS: dict[str, tuple[tuple[int, ...], ...]] = {
    "vgg16": ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3),
    "vgg19": ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4),
}


def vgg_plans(preset: str, pool: Literal["max", "avg"]) -> list[LayerPlan]:
    """Layers of the VGG ``preset`` at width 1, without the readout."""
    blocks, hidden = (_TEACHERS[preset], 1) if preset in _TEACHERS else _VGG[preset]
    plans = []
    for block in blocks:
        plans += [LayerPlan("conv", channels) for channels in block[:-1]]
        plans.append(LayerPlan("conv", block[-1], pool=pool))
    return plans + [LayerPlan("linear", _VGG_HIDDEN)] * hidden
