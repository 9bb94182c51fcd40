"""Unpickling of the CIFAR python files without running code from them.

A pickle is a program; these files need only containers, bytes and NumPy arrays, so nothing else may be named.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from neurosim_ep.errors import DataError

Array = np.ndarray[Any, Any]


def _encode(text: str, encoding: str) -> bytes:
    """How Python 3 pickles bytes at protocol 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r} is not allowed")
    return text.encode("latin1")


def _dtype(name: Any, align: int, copy: int) -> np.dtype[Any]:
    """The type of an array; NumPy 1 pickled its flags as integers, which NumPy 2.4 warns about."""
    return np.dtype(name, align=bool(align), copy=bool(copy))


def _frombuffer(buffer: bytearray, dtype: np.dtype[Any], shape: tuple[int, ...], order: Any) -> Array:
    """An array pickled at protocol 5."""
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


_RECONSTRUCT: Any = np.empty(0).__reduce__()[0]  # an array pickled at protocols 2 to 4
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no image file needs") from None


def text(value: Any) -> str:
    """Text pickled by Python 2, which arrives as bytes, or by Python 3."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def unpickle(content: bytes, source: str) -> dict[str, Any]:
    """The dictionary pickled in ``content`` by Python 2 or 3.

    Raises DataError when ``source`` is no pickle of a dictionary or names anything but NumPy arrays.
    """
    try:
        loaded = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
        if not isinstance(loaded, dict):
            raise pickle.UnpicklingError(f"it holds a {type(loaded).__name__}, not a dictionary")
    except Exception as error:  # damaged pickles raise almost any exception
        raise DataError(f"{source}: not a CIFAR pickle ({error}); fetch the official archive again") from error
    return {text(key): value for key, value in loaded.items()}
