"""What else the reads and the passes between them could be made of, each against the roof."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from gpu_predictions import read
from torch import Tensor

from gpu.cases import subject_of
from gpu.machine import ROUNDED, roof
from gpu.session import PRECISIONS, Session
from gpu.timing import milliseconds
from neurosim_ep.ep.activations import HARD_SIGMOID
from neurosim_ep.ep.arithmetic import tf32
from neurosim_ep.ep.edges import Connection
from neurosim_ep.ep.primitive import pool_adjoint, pool_forward
from neurosim_ep.scheduler.fused.passes import FusedPasses
from neurosim_ep.scheduler.rows import memory_rows

Candidates = dict[str, Callable[[], object]]
BACKWARDS = ("transposed", "mirrored", "transposed NCHW", "mirrored NCHW")


def reads(session: Session) -> None:
    """Each convolution of the networks: forwards, and backwards as a transposed convolution or as one with mirrored
    weights, in both memory layouts.
    """
    shapes = _convolutions(session)
    for precision in PRECISIONS[:3]:
        totals: dict[str, float] = {}
        for connection in shapes:
            with tf32(precision == "tf32"):
                found = {
                    name: milliseconds(session.device, work, repeats=2 if session.tiny else 10, turns=3)
                    for name, work in _reads(session, connection, ROUNDED[precision]).items()
                }
            totals = {name: totals.get(name, 0.0) + ms for name, ms in found.items()}
            least = _least_ms(session, connection, precision)
            session.fact(
                f"{_title(connection)}, {precision}: {_listed(found)}, roof {least:.4f} ms",
                read=_title(connection), precision=precision, ms=found, roof_ms=least,
            )  # fmt: skip
        best = min(BACKWARDS, key=totals.__getitem__)
        session.fact(
            f"{precision}, all of them: {_listed(totals)}; backwards best: {best}",
            precision=precision, ms=totals, best=best,
        )  # fmt: skip


def passes(session: Session) -> None:
    """Pooling, routing and writing: PyTorch's operations against the fused passes, which must agree bit for bit."""
    if not FusedPasses.available(session.device):
        session.fact("there are no fused passes here: Triton is missing", fused=False)
        return
    fused = FusedPasses()
    for connection in _convolutions(session):
        if connection.pool == "max":
            _compare_routing(session, connection, fused)
        _compare_writes(session, connection, fused)


def _compare_routing(session: Session, connection: Connection, fused: FusedPasses) -> None:
    z, post, _ = _tensors(session, connection, torch.float32)

    def plain() -> list[Tensor]:
        pooled, routing = pool_forward(z, "max")
        return [pooled, pool_adjoint(post, routing, "max", connection.pre_pool_shape)]

    def together() -> list[Tensor]:
        return list(fused.pool_and_route(z, post)[:2])

    _compare(session, f"pool and route, {_title(connection)}", plain, together, 2 * (z.nbytes + post.nbytes))


def _compare_writes(session: Session, connection: Connection, fused: FusedPasses) -> None:
    """The state below ``connection`` from two drives, with its largest changes."""
    one, other = (_tensors(session, connection, torch.float32)[2].sub_(0.5) for _ in range(2))
    old = torch.rand_like(one)
    states = old.clone(), old.clone()
    changes = one.new_zeros(len(one)), one.new_zeros(len(one))

    def plain() -> list[Tensor]:
        new = HARD_SIGMOID.sigma_(one + other)
        changes[0].copy_(memory_rows(states[0].sub_(new).abs_()).amax(1))
        return [states[0].copy_(new), changes[0]]

    def together() -> list[Tensor]:
        fused.write_state(HARD_SIGMOID, states[1], [one, other], change=changes[1])
        return [states[1], changes[1]]

    _compare(session, f"write {connection.in_shape}, with its change", plain, together, 4 * one.nbytes)


def _compare(
    session: Session, title: str, plain: Callable[[], list[Tensor]], fused: Callable[[], list[Tensor]], moved: int
) -> None:
    theirs = [value.clone() for value in plain()]
    equal = all(torch.equal(one, other) for one, other in zip(fused(), theirs, strict=True))
    found = {"plain": milliseconds(session.device, plain), "fused": milliseconds(session.device, fused)}
    least = roof(session.device, session.tiny).least_ms(0, moved, "float32")
    session.fact(
        f"{title}: {_listed(found)}, roof {least:.4f} ms, results {'equal' if equal else 'DIFFER'}",
        title=title, ms=found, roof_ms=least, equal=equal,
    )  # fmt: skip


def _convolutions(session: Session) -> list[Connection]:
    """The different convolutions that ticks read, largest maps first."""
    found = {
        _title(connection): connection
        for name in session.networks
        for connection in subject_of(session, name, 1).model.network.connections[1:]
        if connection.kind == "conv"
    }
    return list(found.values())


def _title(connection: Connection) -> str:
    channels, height, width = connection.in_shape
    return f"{channels}->{connection.weight.shape[0]} at {height}x{width}{', pooled' * (connection.pool is not None)}"


def _tensors(session: Session, connection: Connection, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Pre-pool values, post and pre states of a batch."""
    shapes = connection.pre_pool_shape, connection.out_shape, connection.in_shape
    made = (torch.rand(session.batch, *shape, device=session.device).to(dtype) for shape in shapes)
    z, post, pre = (value.contiguous(memory_format=torch.channels_last) for value in made)
    return z, post, pre


def _reads(session: Session, connection: Connection, dtype: torch.dtype) -> Candidates:
    z, _, pre = _tensors(session, connection, dtype)
    weight, bias, padding = connection.weight.to(dtype), connection.bias.to(dtype), connection.padding
    mirrored = weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)
    far = weight.shape[2] - 1 - padding
    pre_nchw, z_nchw, weight_nchw, mirrored_nchw = (value.contiguous() for value in (pre, z, weight, mirrored))
    return {
        "forward": lambda: F.conv2d(pre, weight, padding=padding),
        "with bias": lambda: F.conv2d(pre, weight, bias, padding=padding),
        "forward NCHW": lambda: F.conv2d(pre_nchw, weight_nchw, padding=padding),
        "transposed": lambda: F.conv_transpose2d(z, weight, padding=padding),
        "mirrored": lambda: F.conv2d(z, mirrored, padding=far),
        "transposed NCHW": lambda: F.conv_transpose2d(z_nchw, weight_nchw, padding=padding),
        "mirrored NCHW": lambda: F.conv2d(z_nchw, mirrored_nchw, padding=far),
    }


def _least_ms(session: Session, connection: Connection, precision: str) -> float:
    one = read(connection, session.batch, ROUNDED[precision].itemsize)
    return roof(session.device, session.tiny).least_ms(one.flop, one.moved, precision)


def _listed(found: dict[str, float]) -> str:
    return ", ".join(f"{name} {ms:.4f} ms" for name, ms in found.items())
