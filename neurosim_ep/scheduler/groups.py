"""Groups of neighbouring channels, as the line blocks of crossbar tiles cut them."""

from __future__ import annotations

import torch
from torch import Tensor

from neurosim_ep.scheduler.field import memory_rows


class ChannelGroups:
    """Groups of the channels of a layer.

    ``members`` (groups, C) marks the channels of each group. Where the groups cut all channels into equal pieces, in
    order, as they do in most networks, their channels lie side by side in memory and no product is needed.
    """

    def __init__(self, members: Tensor) -> None:
        self.members = members.float()
        groups, channels = members.shape
        size = channels // groups
        pieces = torch.arange(channels, device=members.device) // max(size, 1) == torch.arange(
            groups, device=members.device
        ).unsqueeze(1)
        self.equal = size * groups == channels and bool((pieces == members).all())

    def any(self, mask: Tensor) -> Tensor:
        """Whether any member is not zero at each position: (rows, C, *positions) -> bool (rows, groups, *positions)."""
        rows, channels, *positions = mask.shape
        groups = len(self.members)
        if not self.equal:
            return (self.members @ mask.float().reshape(rows, channels, -1)).view(rows, groups, *positions) > 0
        if mask.dim() == 4 and not mask.is_contiguous():
            pieces = memory_rows(_bytes(mask)).view(rows, *positions, groups, channels // groups)
            return pieces.amax(-1).permute(0, 3, 1, 2) > 0
        pieces = _bytes(mask).view(rows, groups, channels // groups, *positions)
        return pieces.amax(2) > 0


def _bytes(mask: Tensor) -> Tensor:
    """Bool as the number it is stored as, which has a fast maximum."""
    return mask.view(torch.uint8) if mask.dtype == torch.bool else mask
