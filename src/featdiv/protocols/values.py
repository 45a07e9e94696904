"""Values of parameters: how protocol files spell them, and when two of them are the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def parsed(value: Any) -> Any:
    """Returns a value of a protocol file as Python has it: ``"none"`` as None, arrays and grids as tuples.

    A grid is a table ``{ logspace = [first exponent, last exponent, count], with = [more values] }``.
    """
    if value == "none":
        return None
    if isinstance(value, Mapping):
        first, last, count = value["logspace"]
        step = (last - first) / (count - 1)
        return (*value.get("with", ()), *(10.0 ** (first + i * step) for i in range(count)))
    return tuple(parsed(item) for item in value) if isinstance(value, list) else value


def plain(value: Any) -> Any:
    """Returns a value without arrays and NumPy scalars: numbers, text, None, tuples of them."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(plain(item) for item in value)
    return value


def same(one: Any, other: Any) -> bool:
    """Returns whether two values are the same: numbers to a relative 1e-9, sequences item by item.

    A single value is the sequence of it: ``k=20`` and ``k=(20,)`` ask for the same.
    """
    one, other = plain(one), plain(other)
    if isinstance(one, tuple) or isinstance(other, tuple):
        left = one if isinstance(one, tuple) else (one,)
        right = other if isinstance(other, tuple) else (other,)
        return len(left) == len(right) and all(map(same, left, right))
    if _is_number(one) and _is_number(other):
        return math.isclose(one, other, rel_tol=1e-9)
    return type(one) is type(other) and bool(one == other)


def shown(value: Any) -> str:
    """Returns a value for people: a long grid by its ends and its length."""
    value = plain(value)
    if isinstance(value, tuple):
        if len(value) <= 6:
            return ", ".join(map(shown, value))
        return f"{shown(value[0])}, {shown(value[1])} … {shown(value[-1])} ({len(value)} values)"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
