"""Conditions on the keys of a scenario, such as ``relaxation.nudge_steps <= relaxation.free_steps / 2``.

A small language, spelt as in Python but never run as such: keys, numbers, "texts", true, false, [lists], + - * / // %,
comparisons, in, and, or, not, parentheses.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Lookup = Callable[[str], Any]
"""The value of a dotted key; raises KeyError with the remedy for one that does not exist."""

LONGEST = 500  # characters
_ARITHMETIC: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip
_COMPARISONS: dict[type[ast.AST], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne, ast.In: lambda one, many: one in many, ast.NotIn: lambda one, many: one not in many,
}  # fmt: skip
_WORDS = {"true": True, "false": False, "True": True, "False": False}
GRAMMAR = "write keys, numbers, texts, lists, + - * / // %, comparisons, in, and, or, not"


@dataclass(frozen=True)
class Constraint:
    """A condition that every point must fulfil."""

    text: str
    tree: ast.expr

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """The condition that ``text`` spells. Raises ValueError with rule and remedy."""
        if len(text) > LONGEST:
            raise ValueError(f"is longer than {LONGEST} characters; make several constraints of it")
        try:
            tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError) as problem:
            raise ValueError(f"is no condition; {GRAMMAR}") from problem
        return cls(text, tree)

    def holds(self, lookup: Lookup) -> bool:
        """Whether it is fulfilled by what ``lookup`` says of keys. Raises ValueError with rule and remedy."""
        found = _value(self.tree, lookup)
        if not isinstance(found, bool):
            raise ValueError(f"gives {found!r}; must be true or false, so compare it with something")
        return found


def _value(node: ast.AST, lookup: Lookup) -> Any:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return value
        case ast.Name(id=word) if word in _WORDS:
            return _WORDS[word]
        case ast.Name() | ast.Attribute():
            return _key(node, lookup)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item, lookup) for item in items]
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return not _truth(inner, lookup)
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_number(inner, lookup)
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_truth(part, lookup) for part in parts)
        case ast.BoolOp(op=ast.Or(), values=parts):
            return any(_truth(part, lookup) for part in parts)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            try:
                return _ARITHMETIC[type(op)](_number(left, lookup), _number(right, lookup))
            except ZeroDivisionError:
                raise ValueError(f"divides by zero in {ast.unparse(node)}; exclude that with `and` before it") from None
            except OverflowError:
                raise ValueError(f"is beyond the range of numbers in {ast.unparse(node)}; make it smaller") from None
        case ast.Compare(left=left, ops=ops, comparators=rights):
            return _compared(node, [left, *rights], ops, lookup)
    raise ValueError(f"has {ast.unparse(node)}, which is not understood; {GRAMMAR}")


def _compared(node: ast.AST, parts: list[ast.expr], ops: list[ast.cmpop], lookup: Lookup) -> bool:
    values = [_value(part, lookup) for part in parts]
    try:
        return all(_COMPARISONS[type(op)](*values[at : at + 2]) for at, op in enumerate(ops))
    except (TypeError, KeyError) as problem:
        shown = ", ".join(repr(value) for value in values)
        raise ValueError(f"cannot compare {shown} in {ast.unparse(node)}; compare values of one kind") from problem


def _number(node: ast.expr, lookup: Lookup) -> int | float:
    found = _value(node, lookup)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise ValueError(f"computes with {ast.unparse(node)}, which is {found!r}; must be a number")
    return found


def _truth(node: ast.expr, lookup: Lookup) -> bool:
    found = _value(node, lookup)
    if not isinstance(found, bool):
        raise ValueError(f"takes {ast.unparse(node)} for true or false, but it is {found!r}; compare it with something")
    return found


def _key(node: ast.AST, lookup: Lookup) -> Any:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise ValueError(f"has {ast.unparse(node)}, which is no key; {GRAMMAR}")
    key = ".".join([node.id, *parts])
    try:
        return lookup(key)
    except KeyError as problem:
        raise ValueError(f"names {key}: {problem.args[0]}") from problem
