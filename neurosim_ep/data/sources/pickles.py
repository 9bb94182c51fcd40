"""The CIFAR python files, read without unpickling them.

A pickle is a program for a machine that calls whatever it names. Here its words are read one by one and only those are
followed that containers, texts, numbers and arrays of bytes are written with; what it would call is noted, never
called. An array is made only of a record that says uint8 and holds as many bytes as its shape has numbers.
"""

from __future__ import annotations

import io
import math
import pickletools
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurosim_ep.errors import DataError

Array = np.ndarray[Any, Any]

_RECONSTRUCT = {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")}
_FROM_BUFFER = {("numpy.core.numeric", "_frombuffer"), ("numpy._core.numeric", "_frombuffer")}
_DTYPE, _ENCODE = ("numpy", "dtype"), ("_codecs", "encode")
_KNOWN = {*_RECONSTRUCT, *_FROM_BUFFER, _DTYPE, _ENCODE, ("numpy", "ndarray")}

_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {
    "BININT", "BININT1", "BININT2", "INT", "LONG1", "BINSTRING", "SHORT_BINSTRING", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_PUTS, _GETS = {"BINPUT", "LONG_BINPUT", "PUT"}, {"BINGET", "LONG_BINGET", "GET"}
_PASSED_OVER = {"PROTO", "FRAME", "STOP"}
_MARK = object()


class _NotOurs(Exception):
    """Why a pickle is none of these files."""


@dataclass
class _Name:
    """Something of a module that the pickle names."""

    path: tuple[str, str]


@dataclass
class _Call:
    """What the pickle would call, and the ``state`` that it would give to what came of it."""

    path: tuple[str, str]
    arguments: tuple[Any, ...]
    state: Any = None


class _Reader:
    """Follows the words of one pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def read(self, content: bytes) -> Any:
        """What lies on the stack at the end."""
        for word, argument, _ in pickletools.genops(io.BytesIO(content)):
            self._follow(word.name, argument)
        if len(self.stack) != 1:
            raise _NotOurs(f"it leaves {len(self.stack)} values, not one")
        return self.stack[0]

    def _follow(self, word: str, argument: Any) -> None:
        if word in _VALUES:
            self.stack.append(argument)
        elif word in _PUTS:
            self.memo[argument] = self.stack[-1]
        elif word in _GETS:
            self.stack.append(self.memo[argument])
        elif word in _CONSTANTS:
            self.stack.append(_CONSTANTS[word])
        elif word in _TUPLES:
            self.stack.append(tuple(self._top(_TUPLES[word])))
        elif word not in _PASSED_OVER:
            follow = getattr(self, f"_{word.lower()}", None)
            if follow is None:
                raise _NotOurs(f"it holds the word {word}, which no image file needs")
            follow(argument)

    def _top(self, count: int) -> list[Any]:
        """The last ``count`` values, taken off the stack."""
        if count > len(self.stack):
            raise _NotOurs("it takes more than it has")
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken

    def _since_mark(self) -> list[Any]:
        place = next(place for place in reversed(range(len(self.stack))) if self.stack[place] is _MARK)
        taken = self.stack[place + 1 :]
        del self.stack[place:]
        return taken

    def _mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def _memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _empty_list(self, _: Any) -> None:
        self.stack.append([])

    def _empty_dict(self, _: Any) -> None:
        self.stack.append({})

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._since_mark()))

    def _append(self, _: Any) -> None:
        self._extend(self._top(1))

    def _appends(self, _: Any) -> None:
        self._extend(self._since_mark())

    def _extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise _NotOurs(f"it appends to a {type(target).__name__}")
        target.extend(values)

    def _setitem(self, _: Any) -> None:
        self._enter(self._top(2))

    def _setitems(self, _: Any) -> None:
        self._enter(self._since_mark())

    def _enter(self, entries: list[Any]) -> None:
        target, keys = self.stack[-1], entries[::2]
        if type(target) is not dict or not all(type(key) in (str, bytes) for key in keys):
            raise _NotOurs("it holds keys that are not text")
        target.update(zip(keys, entries[1::2], strict=True))

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._named(module, name)

    def _stack_global(self, _: Any) -> None:
        self._named(*self._top(2))

    def _named(self, module: object, name: object) -> None:
        if (module, name) not in _KNOWN:
            raise _NotOurs(f"it names {module}.{name}, which no image file needs")
        self.stack.append(_Name((str(module), str(name))))

    def _reduce(self, _: Any) -> None:
        called, arguments = self._top(2)
        if type(called) is not _Name or type(arguments) is not tuple:
            raise _NotOurs("it calls something that it has not named")
        self.stack.append(_encoded(*arguments) if called.path == _ENCODE else _Call(called.path, arguments))

    def _build(self, _: Any) -> None:
        target, state = self._top(2)
        if type(target) is not _Call:
            raise _NotOurs(f"it gives a state to a {type(target).__name__}")
        target.state = state
        self.stack.append(target)


def _encoded(characters: str, encoding: str) -> bytes:
    """Bytes as Python 3 writes them at protocol 2."""
    if encoding != "latin1":
        raise _NotOurs(f"encoding {encoding!r} is not allowed")
    return characters.encode("latin1")


def _array(call: _Call) -> Array:
    """The array uint8 that ``call`` and its state say, of protocols 2 to 4 (reconstructed) or 5 (from a buffer)."""
    if call.path in _FROM_BUFFER:
        content, dtype, shape, order = call.arguments
        transposed = order == "F"
    elif call.path in _RECONSTRUCT:
        _, shape, dtype, transposed, content = call.state
    else:
        raise _NotOurs(f"it holds {'.'.join(call.path)} in the place of an array")
    if type(content) is str:  # byte strings of Python 2 are read as such
        content = content.encode("latin1")
    if type(dtype) is not _Call or dtype.path != _DTYPE or dtype.arguments[0] not in ("u1", b"u1"):
        raise _NotOurs("its array is not one of uint8")
    if type(shape) is not tuple or not all(type(size) is int and size >= 0 for size in shape):
        raise _NotOurs(f"its array has the shape {shape!r}"[:100])
    if type(content) not in (bytes, bytearray) or len(content) != math.prod(shape):
        raise _NotOurs("its array has not as many bytes as its shape says")
    return np.frombuffer(content, np.uint8).reshape(shape, order="F" if transposed else "C")


def text(value: Any) -> str:
    """Text pickled by Python 2, which arrives as bytes, or by Python 3."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def unpickle(content: bytes, source: str) -> dict[str, Any]:
    """The dictionary pickled in ``content`` by Python 2 or 3: arrays uint8, numbers, text, and lists of them.

    Raises DataError when ``source`` is no pickle of a dictionary or holds anything else. Nothing that it names is
    called, and nothing is allocated but what its bytes hold.
    """
    try:
        loaded = _Reader().read(content)
        if type(loaded) is not dict:
            raise _NotOurs(f"it holds a {type(loaded).__name__}, not a dictionary")
        return {text(key): _array(value) if type(value) is _Call else value for key, value in loaded.items()}
    except Exception as error:  # damaged pickles raise almost any exception
        raise DataError(f"{source}: not a CIFAR pickle ({error}); fetch the official archive again") from error
