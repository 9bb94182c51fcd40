"""What the machine is and what it can reach: the roof that all other figures stand under."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache

import torch

from gpu.session import Session
from gpu.timing import milliseconds
from neurosim_ep.data.dataset import load_data
from neurosim_ep.ep.arithmetic import tf32
from neurosim_ep.errors import NeurosimError
from neurosim_ep.scheduler.kernels import HALF

ROUNDED = {"float32": torch.float32, "tf32": torch.float32, **HALF}


@dataclass(frozen=True)
class Roof:
    """What a device reaches: bytes per second copied (read and written), FLOP/s of a square matrix product."""

    bytes_per_s: float
    flop_per_s: dict[str, float]

    def least_ms(self, flop: float, moved_bytes: float, precision: str) -> float:
        """The least time of work that does nothing else than ``flop`` or moving ``moved_bytes``."""
        return 1e3 * max(flop / self.flop_per_s[precision], moved_bytes / self.bytes_per_s)


def machine(session: Session) -> None:
    """Names and versions, whether there is something to train on, and the roof."""
    session.fact(_name(session))
    if session.cuda:
        properties = torch.cuda.get_device_properties(session.device)
        session.fact(
            f"{properties.multi_processor_count} multiprocessors, {properties.total_memory / 2**30:.0f} GiB, "
            f"compute capability {properties.major}.{properties.minor}, CUDA {torch.version.cuda}, "
            f"cuDNN {torch.backends.cudnn.version()}, Triton {_triton()}",
            multiprocessors=properties.multi_processor_count, memory_bytes=properties.total_memory,
            cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version(), triton=_triton(),
        )  # fmt: skip
    for run in session.runs:
        session.fact(f"{run}: {_data_of(session, run)}")
    for dtype in (torch.float32, torch.uint8):
        speed = copy_bytes_per_s(session.device, session.tiny, dtype)
        session.fact(
            f"copying {str(dtype)[6:]} moves {speed / 1e9:.0f} GB/s", dtype=str(dtype)[6:], copy_bytes_per_s=speed
        )
    for precision in ROUNDED:
        speed = product_flop_per_s(session.device, session.tiny, precision)
        session.fact(
            f"a matrix product in {precision} does {speed / 1e12:.3g} TFLOP/s",
            precision=precision, matmul_flop_per_s=speed,
        )  # fmt: skip
    one = torch.zeros(64, device=session.device)
    each_us = 1e3 * milliseconds(session.device, lambda: one.add_(1), repeats=200)
    where = ", one after the other in a captured graph" if session.cuda else ""
    session.fact(f"an operation on nearly nothing takes {each_us:.2f} µs{where}", small_operation_us=each_us)


@cache
def roof(device: torch.device, tiny: bool) -> Roof:
    """The roof of ``device``, measured once per process."""
    speeds = {precision: product_flop_per_s(device, tiny, precision) for precision in ROUNDED}
    return Roof(copy_bytes_per_s(device, tiny), speeds)


def copy_bytes_per_s(device: torch.device, tiny: bool, dtype: torch.dtype = torch.float32) -> float:
    """Bytes read and written per second by a copy far larger than any cache."""
    source = torch.zeros((2**20 if tiny else 2**28) // dtype.itemsize, dtype=dtype, device=device)
    target = torch.empty_like(source)
    seconds = milliseconds(device, lambda: target.copy_(source), repeats=4) / 1e3
    return 2 * source.nbytes / seconds


def product_flop_per_s(device: torch.device, tiny: bool, precision: str) -> float:
    """FLOP/s of a product of two square matrices in ``precision``."""
    side = 128 if tiny else 8192
    one = torch.rand(side, side, device=device).to(ROUNDED[precision])
    out = torch.empty_like(one)
    with tf32(False, products=precision == "tf32"):
        seconds = milliseconds(device, lambda: torch.mm(one, one, out=out), repeats=4, turns=3) / 1e3
    return 2 * side**3 / seconds


def _name(session: Session) -> str:
    name = torch.cuda.get_device_name(session.device) if session.cuda else platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0))
    return f"{name}, torch {torch.__version__}, Python {platform.python_version()}, {cores} CPU cores to use"


def _triton() -> str:
    try:
        import triton
    except ImportError:
        return "missing"
    return triton.__version__


def _data_of(session: Session, run: str) -> str:
    """Whether the images of ``run`` are there."""
    from gpu.training import scenario_of

    try:
        scenario = scenario_of(session, run)
        return f"its images are there, {load_data(scenario.data, scenario.scenario.seed).source}"
    except NeurosimError as problem:
        return f"CANNOT BE TRAINED: {problem}"
