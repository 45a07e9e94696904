"""Canonical correlation analysis: how well linear combinations of one representation match those of another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from featdiv.errors import NotEnoughData
from featdiv.metrics.similarity.inputs import resolve_pair
from featdiv.metrics.similarity.left_out import Estimate
from featdiv.metrics.similarity.pairs import Pair
from featdiv.results import Score
from featdiv.stats import arguments
from featdiv.stats.moments import Float64Array

DEFINITIONS = ("mean", "mean_squared")

ESTIMATES = {"mean": Estimate(smooth=False), "mean_squared": Estimate()}


def core(pair: Pair, *, definition: str = "mean") -> float:
    """Returns the mean (squared) canonical correlation of a pair; see `cca`."""
    rho = correlations(pair)
    return float((rho if definition == "mean" else rho**2).mean())


def correlations(pair: Pair) -> Float64Array:
    """Returns the descending canonical correlations, min(rank_x, rank_other) of them.

    Raises:
        NotEnoughData: if a side is constant, or has as many directions as centred rows can have.
    """
    import scipy.linalg

    found: Float64Array = np.minimum(1.0, scipy.linalg.svdvals(whitened_cross(pair), check_finite=False))
    return found


def whitened_cross(pair: Pair, *, ranks: tuple[int | None, int | None] = (None, None)) -> Float64Array:
    """Returns L_x^-1/2 V_x^T C V_y L_y^-1/2, in the leading components of each side.

    Args:
        pair: the two sides.
        ranks: how many components of each; None for all above the noise.

    Raises:
        NotEnoughData: as `correlations`.
    """
    (values, vectors), (other_values, other_vectors) = pair.x.components, pair.other.components
    values, vectors = values[: ranks[0]], vectors[:, : ranks[0]]
    other_values, other_vectors = other_values[: ranks[1]], other_vectors[:, : ranks[1]]
    rank = max(values.size, other_values.size)
    if rank >= pair.n - 1:
        raise NotEnoughData(
            f"{pair.n} rows have at most {pair.n - 1} directions, and one side uses {rank} of them: every canonical "
            "correlation is then 1, whatever the rows are. Give more rows, or svcca a smaller share of the variance"
        )
    cross: Float64Array = vectors.T @ pair.cross @ other_vectors
    return cross / np.sqrt(values)[:, None] / np.sqrt(other_values)


def details(pair: Pair, *, definition: str = "mean") -> Mapping[str, Any]:
    """Returns the correlations, and the mean square that independent rows would give."""
    ranks = [side.components[0].size for side in (pair.x, pair.other)]
    return {
        "correlations": correlations(pair).tolist(),
        "ranks": ranks,
        "mean_squared_noise": max(ranks) / (pair.n - 1),
    }


def cca(
    x: Any,
    other: Any = None,
    *,
    definition: str = "mean",
    normalize: str | None = None,
    precision: str | None = None,
    backend: str = "auto",
    interval: str | None = None,
    groups: Any = None,
) -> Score:
    """Mean canonical correlation: rho_i the singular values of S_x^-1/2 S_xy S_y^-1/2, i up to min(rank_x, rank_y).

    1 if one representation is a linear function of the other, whatever the scales: a direction of hardly any variance
    counts as much as the leading one. Independent representations do not give 0: the mean of rho^2 is then
    max(rank_x, rank_y)/(n - 1).

    Args:
        x: rows (array, path, source), or `CrossMoments` of two models.
        other: the same rows in another representation; None with `CrossMoments`.
        definition: ``"mean"`` of rho, or ``"mean_squared"`` of rho^2.
        normalize: ``"l2"`` to divide each row by its norm first.
        precision: arithmetic of the products; None for float64, since covariances are inverted.
        backend: backend of the products.
        interval: None for no interval; ``"auto"`` for a 95 % jackknife interval where it costs less than a fifth of the
            pass; ``"jackknife"`` for one, or an error that says why there is none. For rows only. The interval of
            ``"mean"`` covers the value to expect at this n and d, not that of the population: correlations that are 0
            in the population come out positive in a sample, by an amount that falls too slowly with n to be corrected.
            The interval of ``"mean_squared"`` is corrected for it.
        groups: (n,) group of each row (video, patient, document), in the order of x: the jackknife leaves whole groups
            out.

    Returns:
        A `Score` between 0 and 1. ``details`` hold every correlation, the numerical ranks, and the mean square that
        independent representations would give.

    Raises:
        NotEnoughData: if a side is constant, or has n - 1 directions or more, which makes every correlation 1.
        InputError: if the two do not hold the same rows.

    Complexity:
        n (d_x + d_y)^2 multiply-adds and O(d_x^3 + d_y^3).

    Source:
        Hotelling 1936; Raghu et al. 2017 for the mean, Kornblith et al. 2019, table 1, for the mean square.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.random.default_rng(0).normal(size=(100, 3))
        >>> round(float(featdiv.cca(x, x * [1.0, 10.0, 100.0])), 6)
        1.0
    """
    arguments.one_of("cca", "definition", definition, DEFINITIONS)
    estimate = ESTIMATES[definition]
    resolved = resolve_pair(
        x,
        other,
        function="cca",
        normalize=normalize,
        precision=precision,
        backend=backend,
        exact=True,
        interval=interval,
        groups=groups,
        estimate=estimate,
    )
    return resolved.score(core, definition=definition, details=details, estimate=estimate)
