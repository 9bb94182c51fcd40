"""Images and labels on their way to the device that trains."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, device

from neurosim_ep.ep.transfers import to_device

KEPT = 2**31  # bytes of images that a CUDA device keeps


class Feed:
    """Batches of uint8 ``images`` (N, C, H, W) and their ``labels`` (N,) on device ``target``.

    The device keeps all of them, up to ``KEPT`` bytes; beyond, a batch is copied when it is asked for. The host never
    waits.
    """

    def __init__(self, images: Tensor, labels: Tensor, target: device) -> None:
        self.device = target
        home = target if images.nbytes <= KEPT else images.device
        self.images, self.labels = images.to(home), labels.to(home)

    def batch(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Images and labels of the samples ``chosen`` (B,), which are numbers on the host."""
        places = to_device(chosen, self.images.device)
        return to_device(self.images[places], self.device), to_device(self.labels[places], self.device)

    def parts(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All of them in their order, ``size`` at a time."""
        for images, labels in zip(self.images.split(size), self.labels.split(size), strict=True):
            yield to_device(images, self.device), to_device(labels, self.device)
