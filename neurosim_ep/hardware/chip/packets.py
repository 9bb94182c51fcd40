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


def packed(messages: np.ndarray, bursts: np.ndarray, width: np.ndarray, noc: NocSection) -> Packed:
    """``messages`` of ``width`` bits each, ``bursts`` of them at a time, in packets of ``noc``: full ones, and one with
    what is left.
    """
    whole, left = np.divmod(bursts * width, noc.packet_payload_bits)
    header, flit = noc.header_bits.value, noc.flit_bits.value
    headers = header * (whole + (left > 0))
    flits = whole * noc.packet_flits.value + np.where(left > 0, -(-(left + header) // flit), 0)
    sent, payload = messages // bursts, messages * width
    return Packed(payload, payload + sent * headers, sent * flits)
