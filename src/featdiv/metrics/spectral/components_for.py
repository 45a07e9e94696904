"""How many principal components hold a given share of the variance."""

from __future__ import annotations

from typing import Any

import numpy as np

from featdiv.errors import NotEnoughData
from featdiv.metrics.spectral.eigenvalues import EPSILON, Eigenvalues
from featdiv.metrics.spectral.inputs import resolve_eigenvalues
from featdiv.results import Score
from featdiv.stats import arguments

SHARES = (0.5, 0.8, 0.9, 0.95, 0.99)
"""The shares that `featdiv.spectrum` reports."""


def core(eig: Eigenvalues, q: float = 0.9) -> float:
    """Returns the smallest k with lambda_1 + ... + lambda_k >= q sum(lambda)."""
    check_share(q)
    cumulative = np.cumsum(eig.values)
    total = float(cumulative[-1]) if eig.complete else eig.total
    # A share that is met exactly must not be missed by the rounding of the sum.
    reached = cumulative >= total * (q - eig.rank_limit * EPSILON)
    if not reached[-1]:
        raise NotEnoughData(
            f"the {eig.values.size} leading eigenvalues that were computed hold "
            f"{cumulative[-1] / total:.4g} of the variance, less than q = {q:g}"
        )
    return float(np.argmax(reached) + 1)


def check_share(q: Any, *, function: str = "components_for") -> None:
    """Raises InputError unless q is a share."""
    arguments.number(function, "q", q, "a share in (0, 1]", lambda share: 0.0 < share <= 1.0)


def components_for(
    x: Any,
    q: float = 0.9,
    *,
    center: bool = True,
    normalize: str | None = None,
    precision: str = "float32",
    backend: str = "auto",
) -> Score:
    """Components for a share of the variance: the smallest k with lambda_1 + ... + lambda_k >= q sum(lambda).

    Args:
        x: `Moments`, a `Spectrum`, or rows (array, path, source).
        q: share of the variance, in (0, 1]. A share met exactly, to the rounding of float64, counts as
            reached.
        center: whether to subtract the mean first.
        normalize: ``"l2"`` to divide each row by its norm first; for rows only.
        precision: arithmetic of the second moments; for rows only.
        backend: backend of the second moments; for rows only.

    Returns:
        A `Score`: a whole number between 1 and min(n, d).

    Raises:
        NotEnoughData: if the features are constant, there is one row, or the spectrum holds only leading
            eigenvalues that do not reach the share.
        InputError: if q is out of range, or ``x`` cannot give the spectrum asked for.

    Complexity:
        O(n d^2) for rows, O(d^3) from `Moments`.

    Source:
        Jolliffe 2002, section 6.1.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])  # variances in ratio 4 to 1
        >>> float(featdiv.components_for(x, 0.8)), float(featdiv.components_for(x, 0.81))
        (1.0, 2.0)
    """
    check_share(q)
    resolved = resolve_eigenvalues(
        x,
        function="components_for",
        center=center,
        normalize=normalize,
        precision=precision,
        backend=backend,
    )
    return resolved.score(core, q=q)
