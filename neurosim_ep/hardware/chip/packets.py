"""Messages in packets: what is sent together shares headers, and fills whole flits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurosim_ep.hardware.model.network import NocSection


class Packed(NamedTuple):
    """What goes along every route in a phase, int64 [routes]: bits sent, those with the headers, and flits."""

    payload: np.ndarray
    bits: np.ndarray
    flits: np.ndarray


class Size(NamedTuple):
    """Packets of one size that are sent together, int64 [routes]: how many, and bits with header and flits of one."""

    number: np.ndarray
    bits: np.ndarray
    flits: np.ndarray


def packet_sizes(sent: np.ndarray, noc: NocSection) -> tuple[Size, Size]:
    """Packets of ``noc`` for ``sent`` bits at a time [routes]: full ones, and one with what is left."""
    whole, left = np.divmod(sent, noc.packet_payload_bits)
    header, flit, most = noc.header_bits.value, noc.flit_bits.value, np.full_like(whole, noc.packet_flits.value)
    full = Size(whole, np.full_like(whole, noc.packet_payload_bits + header), most)
    return full, Size((left > 0).astype(np.int64), left + header, -(-(left + header) // flit))


def packed(messages: np.ndarray, bursts: np.ndarray, width: np.ndarray, noc: NocSection) -> Packed:
    """``messages`` of ``width`` bits each, ``bursts`` of them at a time, in packets of ``noc``."""
    sent, payload, (full, last) = messages // bursts, messages * width, packet_sizes(bursts * width, noc)
    headers = noc.header_bits.value * (full.number + last.number)
    return Packed(payload, payload + sent * headers, sent * (full.number * full.flits + last.number * last.flits))
