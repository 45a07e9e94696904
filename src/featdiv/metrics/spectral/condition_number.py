"""Condition number of the rows, above the noise floor."""

from __future__ import annotations

import math
from typing import Any

from featdiv.metrics.spectral import stable_rank
from featdiv.metrics.spectral.eigenvalues import Eigenvalues
from featdiv.metrics.spectral.inputs import resolve_eigenvalues
from featdiv.results import Score


def core(eig: Eigenvalues) -> float:
    """Returns sqrt(lambda_1 / lambda_min), lambda_min the smallest eigenvalue above the noise floor."""
    eig.require_complete()
    return math.sqrt(float(eig.values[0] / eig.values[eig.resolved - 1]))


def jackknife_problem(eig: Eigenvalues) -> str | None:
    """Returns why a jackknife interval would mislead, or None if it does not.

    The smallest of many nearly equal eigenvalues is pushed down by sampling, which leaving out groups does
    not reveal; nearly equal means within three standard errors, 3 lambda sqrt(2/n), of a Gaussian sample. It
    also moves with the noise floor where some lie below that.
    """
    problem = stable_rank.jackknife_problem(eig)
    if problem or eig.resolved < 2:
        return problem
    if eig.resolved < eig.rank_limit:
        return "some eigenvalues lie below the noise floor, which then decides where the number ends"
    last, smallest = eig.values[-2:]
    if last - smallest > 3.0 * math.sqrt(2.0 / eig.n) * last:
        return None
    return "the two smallest eigenvalues lie within sampling error of each other, where the jackknife fails"


def _details(eig: Eigenvalues) -> dict[str, int]:
    return {"resolved": eig.resolved, "below_floor": eig.rank_limit - eig.resolved}


def condition_number(
    x: Any,
    *,
    center: bool = True,
    normalize: str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    interval: str | None = None,
    groups: Any = None,
) -> Score:
    """Condition number: sqrt(lambda_1 / lambda_min), lambda_min the smallest above the noise floor.

    Directions below the floor, which includes those without any variance, do not count; ``details`` says how
    many there are. With some below it, the number describes the resolved directions only.

    Args:
        x: `Moments`, a `Spectrum`, or rows (array, path, source).
        center: whether to subtract the mean first.
        normalize: ``"l2"`` to divide each row by its norm first; for rows only.
        precision: arithmetic of the second moments; for rows only. It sets the floor: a run in float32 is
            repeated in float64 where any direction lies below it.
        backend: backend of the second moments; for rows only.
        interval: None for no interval; ``"auto"`` for a 95 % jackknife interval where it costs little; ``"jackknife"``
            for one at any cost, or an error that says why there is none. For rows only.
        groups: (n,) group ids (video, patient, document): the jackknife leaves whole groups out; for rows only.

    Returns:
        A `Score` of at least 1; ``details`` holds ``resolved`` and ``below_floor``, which add up to
        min(n, d).

    Raises:
        NotEnoughData: if the features are constant, or there is one row.
        InputError: if ``x`` cannot give the spectrum asked for.

    Complexity:
        O(n d^2) for rows, O(d^3) from `Moments`.

    Source:
        Golub & Van Loan 2013, section 2.6.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> round(float(featdiv.condition_number(x)), 6)
        2.0
    """
    resolved = resolve_eigenvalues(
        x,
        function="condition_number",
        center=center,
        normalize=normalize,
        precision=precision,
        backend=backend,
        interval=interval,
        groups=groups,
        floor_share=0.0,
    )
    return resolved.score(core, details=_details)
