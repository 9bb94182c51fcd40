"""Named architectures: the VGG family of arXiv 2508.15989 (Appendix D), and two residual networks.

VGG: all convolutions are 3x3, stride 1, padding 1; a 2x2 pool follows the last convolution of each block, so 32x32
images shrink 32 → 16 → 8 → 4 → 2 → 1. ``vgg13_skip`` is VGG-13 with skips.
"""

from __future__ import annotations

from neurosim_ep.scenario.topology import EdgePlan, LayerPlan, Pool

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
_RESNET13_BLOCKS = (128, 256, 512, 512)

# teachers only: VGG-16 and VGG-19 for 32x32 images, one hidden layer of 512
_TEACHERS: dict[str, tuple[tuple[int, ...], ...]] = {
    "vgg16": ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3),
    "vgg19": ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4),
}


def preset_plans(preset: str, pool: Pool) -> list[LayerPlan]:
    """Layers of the network ``preset`` at width 1, without the readout."""
    if preset == "resnet13":
        return resnet13_plans()
    return vgg13_skip_plans(pool) if preset == "vgg13_skip" else vgg_plans(preset, pool)


def resnet13_plans() -> list[LayerPlan]:
    """Hopfield-ResNet13 of arXiv 2509.26003, without the readout or class layer.

    The paper's, from the code published with it: four blocks of 128, 256, 512 and 512 channels, each of two 3x3
    convolutions with padding 1, of stride 1 and 2, and a 1x1 convolution of stride 2 from what drives the block to its
    last layer; no pooling; 32x32 images shrink 32 → 16 → 8 → 4 → 2. Its thirteenth weights lead to the classes, a
    linear layer inside the dynamics (``network.loss = "squared_error"``, here with the activation of the other layers).

    Different here: the first block has no skip, as the image drives the first layer alone, and skips have biases.
    """
    plans: list[LayerPlan] = []
    for channels in _RESNET13_BLOCKS:
        below = len(plans) - 1
        halving = LayerPlan("conv", channels, stride=2)
        skip = () if below < 0 else (EdgePlan(below, "conv", kernel=1, stride=2),)
        plans += [LayerPlan("conv", channels), halving._replace(edges=(halving.own(below + 1), *skip))]
    return plans


def vgg13_skip_plans(pool: Pool) -> list[LayerPlan]:
    """VGG-13 whose blocks' two convolutions, which are equally wide, have an identity beside the second one: from the
    states of the first, pooled as the second is. A choice of ours: between blocks the number of channels changes, so
    that no identity fits there.
    """
    plans = vgg_plans("vgg13", pool)
    return [
        plan._replace(edges=(plan.own(layer - 1), EdgePlan(layer - 1, "identity", pool=pool))) if plan.pool else plan
        for layer, plan in enumerate(plans)
    ]


def vgg_plans(preset: str, pool: Pool) -> list[LayerPlan]:
    """Layers of the VGG ``preset`` at width 1, without the readout."""
    blocks, hidden = (_TEACHERS[preset], 1) if preset in _TEACHERS else _VGG[preset]
    plans = []
    for block in blocks:
        plans += [LayerPlan("conv", channels) for channels in block[:-1]]
        plans.append(LayerPlan("conv", block[-1], pool=pool))
    return plans + [LayerPlan("linear", _VGG_HIDDEN)] * hidden
