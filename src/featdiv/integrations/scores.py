"""Which scores can follow a training run, and how they come out of moments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from featdiv.errors import InputError, NotEnoughData
from featdiv.metrics import catalogue
from featdiv.metrics.spectral.eigenvalues import Eigenvalues
from featdiv.stats import Moments

NORMALIZE = {
    "eigenvalues": None,
    "uncentred eigenvalues": None,
    "moments": None,
    "unit eigenvalues": "l2",
    "unit moments": "l2",
}
"""What a core takes to the ``normalize`` of the moments that it comes from; others do not come from one set of rows."""


def normalize_of(name: str, *, argument: str) -> str | None:
    """Returns how rows must be normalised for a score.

    Args:
        name: of the score.
        argument: public function and argument, for the message.

    Raises:
        InputError: if there is no such score, or it does not come from the moments of one set of rows.
    """
    needs = catalogue.get(name, argument=argument).needs
    if needs not in NORMALIZE:
        possible = (other for other in catalogue.names() if catalogue.get(other).needs in NORMALIZE)
        raise InputError(
            f"{argument}: {name!r} needs {needs}, which do not come out of one pass over rows; expected one of "
            f"{', '.join(possible)}"
        )
    return NORMALIZE[needs]


def value(name: str, moments: Moments, **parameters: Any) -> float:
    """Returns one score of moments.

    Raises:
        NotEnoughData: if it is undefined for them.
    """
    return float(catalogue.get(name).load()(moments, **parameters))


def values(names: Iterable[str], moments: Moments) -> tuple[dict[str, float], dict[str, str]]:
    """Returns (scores, reasons why others are undefined) of moments, from one reduction to eigenvalues."""
    found: dict[str, float] = {}
    undefined: dict[str, str] = {}
    eigenvalues: dict[str, Eigenvalues] = {}
    wanted = {name: catalogue.get(name).needs for name in names}
    if any(needs.endswith("eigenvalues") for needs in wanted.values()):
        try:
            centred, about_zero = Eigenvalues.both_of_moments(moments)
        except NotEnoughData as error:
            return {}, dict.fromkeys(wanted, str(error))
        eigenvalues = {
            "eigenvalues": centred,
            "uncentred eigenvalues": about_zero,
            "unit eigenvalues": about_zero,
        }
    for name, needs in wanted.items():
        try:
            found[name] = float(catalogue.get(name).load()(eigenvalues.get(needs, moments)))
        except NotEnoughData as error:
            undefined[name] = str(error)
    return found, undefined
