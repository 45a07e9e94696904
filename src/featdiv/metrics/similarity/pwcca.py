"""Projection-weighted canonical correlation: CCA in which directions count for how much of x they carry."""

from __future__ import annotations

from typing import Any

import numpy as np

from featdiv.metrics.similarity.cca import whitened_cross
from featdiv.metrics.similarity.inputs import resolve_pair
from featdiv.metrics.similarity.pairs import Pair
from featdiv.results import Score


def core(pair: Pair) -> float:
    """Returns the projection-weighted mean canonical correlation of a pair; see `pwcca`."""
    import scipy.linalg

    left, rho, _ = scipy.linalg.svd(whitened_cross(pair), full_matrices=False, check_finite=False)
    values, vectors = pair.x.components
    # h_i = Xc V L^-1/2 u_i are the canonical variables, so <h_i, column j of Xc> = (V L^1/2 u_i)_j.
    weights = np.abs(vectors @ (np.sqrt(values)[:, None] * left)).sum(axis=0)
    return float(weights @ np.minimum(1.0, rho) / weights.sum())


def pwcca(
    x: Any,
    other: Any = None,
    *,
    normalize: str | None = None,
    precision: str | None = None,
    backend: str = "auto",
) -> Score:
    """PWCCA: sum alpha_i rho_i / sum alpha_i, alpha_i = sum_j abs(<h_i, x_j>), h_i the canonical variables of x.

    x_j are the centred columns of x. The weights are those of x alone, so the two sides are not alike: swap them to see
    the other. They depend on the features as they are, not only on the space that these span.

    Args:
        x: rows (array, path, source), or `CrossMoments` of two models.
        other: the same rows in another representation; None with `CrossMoments`.
        normalize: ``"l2"`` to divide each row by its norm first.
        precision: arithmetic of the products; None for float64.
        backend: backend of the products.

    Returns:
        A `Score` between 0 and 1.

    Raises:
        NotEnoughData: if a side is constant, or has n - 1 directions or more.
        InputError: if the two do not hold the same rows.

    Complexity:
        n (d_x + d_y)^2 multiply-adds and O(d_x^3 + d_y^3).

    Source:
        Morcos et al. 2018, equation 3.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.random.default_rng(0).normal(size=(100, 3))
        >>> round(float(featdiv.pwcca(x, x @ [[1.0, 2.0, 0.0], [0.0, 1.0, 0.0], [3.0, 0.0, 1.0]])), 6)
        1.0
    """
    resolved = resolve_pair(
        x, other, function="pwcca", normalize=normalize, precision=precision, backend=backend, exact=True
    )
    return resolved.score(core)
