"""Groups of neighbouring channels, as the line blocks of crossbar tiles cut them."""

from __future__ import annotations

import torch
from torch import Tensor


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
        """1 where any member is set at a position, else 0: mask of 0 and 1 (rows, C, *positions) -> (rows, *positions,
        groups), of its number format.
        """
        by_channel = mask.movedim(1, -1)  # the order of memory of an image or a conv state
        if self.equal:
            return by_channel.unflatten(-1, (len(self.members), -1)).sum(-1).sign_()
        return (by_channel @ self.members.to(mask.dtype).T).sign_()
