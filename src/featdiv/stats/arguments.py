"""The words that every reading of rows takes as arguments, checked in one place before work starts."""

from __future__ import annotations

import operator
from collections.abc import Sequence

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
) -> None:
    """Raises InputError if one of the shared arguments has a value that no function knows."""
    one_of(function, "normalize", normalize, (None, "l2"))
    one_of(function, "precision", precision, tuple(PRECISIONS))
    one_of(function, "nonfinite", nonfinite, ("raise", "drop"))
    check_name(backend, argument=f"{function}: backend")
    check_seed(function, seed)
    check_progress(progress, function=function)


def check_seed(function: str, seed: object) -> None:
    """Raises InputError unless ``seed`` is a whole number that NumPy's generators take."""
    try:
        usable = not isinstance(seed, bool) and operator.index(seed) >= 0  # type: ignore[arg-type]
    except TypeError:
        usable = False
    if not usable:
        raise InputError(f"{function}: seed: expected a whole number of at least 0; got {seed!r}")


def one_of(function: str, argument: str, value: object, allowed: Sequence[object]) -> None:
    """Raises InputError unless ``value`` is one of ``allowed``."""
    if value not in allowed:
        listed = ", ".join(repr(choice) for choice in allowed)
        raise InputError(f"{function}: {argument}: expected one of {listed}; got {value!r}")
