"""The words that every reading of rows takes as arguments, checked in one place before work starts."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

import numpy as np

from featdiv.errors import InputError
from featdiv.io.progress import check_progress
from featdiv.ops._dispatch import PRECISIONS, check_name


def check(
    function: str,
    *,
    normalize: str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    nonfinite: str = "raise",
    seed: int = 0,
    progress: object = None,
    center: object = True,
    ignore: object = None,
) -> None:
    """Raises InputError if one of the shared arguments has a value that no function knows."""
    one_of(function, "normalize", normalize, (None, "l2"))
    one_of(function, "precision", precision, tuple(PRECISIONS))
    one_of(function, "nonfinite", nonfinite, ("raise", "drop"))
    check_name(backend, argument=f"{function}: backend")
    check_seed(function, seed)
    check_progress(progress, function=function)
    if not isinstance(center, (bool, np.bool_)):
        raise InputError(f"{function}: center: expected True or False; got {center!r}")
    check_ignore(function, ignore)


def check_ignore(function: str, ignore: object) -> None:
    """Raises InputError unless ``ignore`` is one label, a whole number or text, or None."""
    if not (ignore is None or isinstance(ignore, (int, str, np.integer, np.bool_))):
        raise InputError(
            f"{function}: ignore: expected one label, a whole number or text, or None; got {ignore!r}. Give several "
            "labels the same one, such as -1, to leave out all of them"
        )


def check_seed(function: str, seed: object) -> None:
    """Raises InputError unless ``seed`` is a whole number that NumPy's generators take."""
    try:
        usable = not isinstance(seed, bool) and operator.index(seed) >= 0  # type: ignore[arg-type]
    except TypeError:
        usable = False
    if not usable:
        raise InputError(f"{function}: seed: expected a whole number of at least 0; got {seed!r}")


def one_of(function: str, argument: str, value: object, allowed: Sequence[object]) -> None:
    """Raises InputError unless ``value`` is one of ``allowed``: texts, or None."""
    if not (value is None or isinstance(value, str)) or value not in allowed:
        listed = ", ".join(repr(choice) for choice in allowed)
        raise InputError(f"{function}: {argument}: expected one of {listed}; got {value!r}")


def number(function: str, argument: str, value: object, expected: str, usable: Callable[[float], bool]) -> float:
    """Returns ``value`` as a float.

    Args:
        function: public name for the message.
        argument: the same.
        value: what came.
        expected: the numbers that can be used, in words.
        usable: whether one can; called with NaN too.

    Raises:
        InputError: if it is no number, or not one that can be used.

    Example:
        >>> from featdiv.stats import arguments
        >>> arguments.number("uniformity", "t", 2, "a positive number", lambda t: t > 0.0)
        2.0
    """
    if (
        isinstance(value, (int, float, np.integer, np.floating))
        and not isinstance(value, bool)
        and usable(float(value))
    ):
        return float(value)
    raise InputError(f"{function}: {argument}: expected {expected}; got {value!r}")
