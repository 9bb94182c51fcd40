"""Choosing the device a run computes on, and the memory it took there."""

from __future__ import annotations

import re
import sys

import torch

from neurosim_ep.ep.arithmetic import set_tf32
from neurosim_ep.errors import UsageError


def select_device(name: str) -> torch.device:
    """The device of ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``, made PyTorch's current one.

    All that this process computes on CUDA is set to full float32 and to deterministic algorithms.
    Raises :class:`UsageError` for another name or a device this machine lacks.
    """
    set_tf32(False)
    torch.backends.cudnn.deterministic = True
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UsageError(f"device = {name!r}: must be auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"device = {name!r}: this machine offers {torch.cuda.device_count()} CUDA devices to PyTorch "
            f"{torch.__version__}; use --device auto or cpu"
        )
    if device.index is not None:
        torch.cuda.set_device(device)
    return device


def device_name(device: torch.device) -> str:
    """``device``, with what it is where there are several kinds: ``cuda:0 (NVIDIA H200)``."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def peak_memory(device: torch.device) -> dict[str, object] | None:
    """The largest memory so far: ``bytes``, and ``where`` ("GPU": allocated there; "process": resident, with all).

    None where the system cannot say.
    """
    if device.type == "cuda":
        return {"bytes": torch.cuda.max_memory_allocated(device), "where": "GPU"}
    if sys.platform == "win32":
        return None
    import resource

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS, else in KiB
    size = largest if sys.platform == "darwin" else 1024 * largest
    return {"bytes": size, "where": "process"}
