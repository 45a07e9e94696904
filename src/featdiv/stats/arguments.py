"""The words that every reading of rows takes as arguments, checked in one place before work starts."""

from __future__ import annotations

from collections.abc import Sequence

from featdiv.errors import InputError
from featdiv.ops._dispatch import PRECISIONS, check_name


def check(
    function: str,
    *,
    normalize: str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    nonfinite: str = "raise",
) -> None:
    """Raises InputError if one of the shared arguments has a value that no function knows."""
    one_of(function, "normalize", normalize, (None, "l2"))
    one_of(function, "precision", precision, tuple(PRECISIONS))
    one_of(function, "nonfinite", nonfinite, ("raise", "drop"))
    check_name(backend, argument=f"{function}: backend")


def one_of(function: str, argument: str, value: object, allowed: Sequence[object]) -> None:
    """Raises InputError unless ``value`` is one of ``allowed``."""
    if value not in allowed:
        listed = ", ".join(repr(choice) for choice in allowed)
        raise InputError(f"{function}: {argument}: expected one of {listed}; got {value!r}")
