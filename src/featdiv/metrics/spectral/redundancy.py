"""Redundancy: how strongly the feature dimensions are correlated."""

from __future__ import annotations

from typing import Any

import numpy as np

from featdiv.errors import NotEnoughData
from featdiv.metrics.spectral.dimension_usage import dead_dimensions
from featdiv.metrics.spectral.eigenvalues import Float64Array
from featdiv.metrics.spectral.inputs import resolve_moments
from featdiv.results import Score
from featdiv.stats import Moments, arguments

DEFINITIONS = ("absolute", "squared")


def core(moments: Moments, definition: str = "absolute") -> float:
    """Returns the mean of abs(rho_ij), or of rho_ij^2, over live dimensions i != j."""
    arguments.one_of("redundancy", "definition", definition, DEFINITIONS)
    rho = correlations(moments)
    live = len(rho)
    if live < 2:
        raise NotEnoughData(f"a pair needs 2 dimensions with variance; {moments.d - live} of {moments.d} are constant")
    total = float(np.vdot(rho, rho)) if definition == "squared" else float(np.abs(rho, out=rho).sum())
    return total / (live * (live - 1))


def correlations(moments: Moments) -> Float64Array:
    """Returns the Pearson correlations of the live dimensions, with zeros on the diagonal."""
    if moments.n < 2:
        raise NotEnoughData(f"a correlation needs at least 2 rows; got {moments.n}")
    live = ~dead_dimensions(moments)
    rho = moments.scatter[np.ix_(live, live)] if not live.all() else moments.scatter.copy()
    scale = 1.0 / np.sqrt(np.diagonal(rho).copy())
    rho *= scale[:, None]
    rho *= scale
    np.clip(rho, -1.0, 1.0, out=rho)
    np.fill_diagonal(rho, 0.0)
    return rho


def _details(moments: Moments, definition: str) -> dict[str, int]:
    dead = int(np.count_nonzero(dead_dimensions(moments)))
    return {"dead_dimensions": dead, "live_dimensions": moments.d - dead}


def redundancy(
    x: Any,
    *,
    definition: str = "absolute",
    normalize: str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    interval: str | None = None,
    groups: Any = None,
) -> Score:
    """Redundancy: the mean of abs(rho_ij) over i != j, rho the Pearson correlation of feature dimensions.

    Dimensions without variance have no correlation: they are left out, and counted in ``details``. At n rows
    of independent features its expected value is about sqrt(2/(pi n)), not 0. Definitions:

    * ``"absolute"``: the mean of abs(rho_ij).
    * ``"squared"``: the mean of rho_ij^2.

    Args:
        x: `Moments`, a `Spectrum` with moments, or rows (array, path, source).
        definition: one of the above.
        normalize: ``"l2"`` to divide each row by its norm first; for rows only.
        precision: arithmetic of the second moments; for rows only.
        backend: backend of the second moments; for rows only.
        interval: None for no interval; ``"auto"`` for a 95 % jackknife interval where it costs little; ``"jackknife"``
            for one at any cost, or an error that says why there is none. For rows only.
        groups: (n,) group ids (video, patient, document): the jackknife leaves whole groups out; for rows only.

    Returns:
        A `Score` between 0 and 1; ``details`` holds ``dead_dimensions`` and ``live_dimensions``.

    Raises:
        NotEnoughData: if fewer than two dimensions have variance, or there is one row.
        InputError: if the definition does not exist, or ``x`` holds no moments.

    Complexity:
        O(n d^2) for rows, O(d^2) time and memory from `Moments`.

    Source:
        Wang et al. 2022 use the mean absolute correlation as a measure of feature redundancy.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.array([[1.0, -1.0, 5.0], [2.0, -2.0, 5.0], [3.0, -3.0, 5.0]])
        >>> score = featdiv.redundancy(x)
        >>> round(float(score), 6), score.details["dead_dimensions"]
        (1.0, 1)
    """
    arguments.one_of("redundancy", "definition", definition, DEFINITIONS)
    resolved = resolve_moments(
        x,
        function="redundancy",
        normalize=normalize,
        precision=precision,
        backend=backend,
        interval=interval,
        groups=groups,
    )
    return resolved.score(core, definition=definition, details=_details)
