"""Procrustes distance: what is left between two representations after the best rotation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from featdiv.metrics.similarity.inputs import resolve_pair
from featdiv.metrics.similarity.left_out import Estimate
from featdiv.metrics.similarity.pairs import ROUNDING, Pair
from featdiv.results import Score
from featdiv.stats import arguments

DEFINITIONS = ("angular", "squared")

ESTIMATES = {
    "angular": Estimate(high=math.pi / 2.0, smooth=False),
    "squared": Estimate(high=2.0, smooth=False),
}


def core(pair: Pair, *, definition: str = "angular") -> float:
    """Returns the Procrustes distance of a pair; see `procrustes`."""
    import scipy.linalg

    for side in (pair.x, pair.other):
        side.require_variance()
    nuclear = float(scipy.linalg.svdvals(pair.cross, check_finite=False).sum())
    cosine = min(1.0, nuclear / math.sqrt(pair.x.trace) / math.sqrt(pair.other.trace))
    return math.acos(cosine) if definition == "angular" else 2.0 - 2.0 * cosine


def details(pair: Pair, *, definition: str = "angular") -> Mapping[str, Any]:
    """Returns the smallest distance that the arithmetic can tell from zero."""
    rounding = max(ROUNDING, pair.x.moments.error_bound)
    return {"floor": math.sqrt(2.0 * rounding) if definition == "angular" else 2.0 * rounding}


def procrustes(
    x: Any,
    other: Any = None,
    *,
    definition: str = "angular",
    normalize: str | None = None,
    precision: str | None = None,
    backend: str = "auto",
    interval: str | None = None,
    groups: Any = None,
) -> Score:
    """Procrustes distance: arccos(|Y^T X|_* / (|X|_F |Y|_F)) of centred X and Y, |.|_* the sum of singular values.

    The angle left after the best rotation, translation and scaling of one side: a metric, so that distances of many
    models can be embedded and clustered. Sides of different d are compared as if padded with zeros.

    Args:
        x: rows (array, path, source), or `CrossMoments` of two models.
        other: the same rows in another representation; None with `CrossMoments`.
        definition: ``"angular"``, or ``"squared"``: |X|_F^2 + |Y|_F^2 - 2 |Y^T X|_*, both scaled to unit norm.
        normalize: ``"l2"`` to divide each row by its norm first.
        precision: arithmetic of the products; None for float64, since a small angle is a difference.
        backend: backend of the products.
        interval: None for no interval; ``"auto"`` for a 95 % jackknife interval where it costs less than a fifth of the
            pass; ``"jackknife"`` for one, or an error that says why there is none. For rows only. It covers the value
            to expect at this n and d, not that of the population: directions that have nothing in common in the
            population seem to in a sample, by an amount that falls too slowly with n to be corrected.
        groups: (n,) group of each row (video, patient, document), in the order of x: the jackknife leaves whole groups
            out.

    Returns:
        A `Score` between 0 and pi/2 radians (0 and 2 if squared). ``details["floor"]``: smaller angles are rounding.

    Raises:
        NotEnoughData: if all rows of a side are the same.
        InputError: if the two do not hold the same rows.

    Complexity:
        n (d_x + d_y)^2 multiply-adds and O(d_x d_y min(d_x, d_y)).

    Source:
        Williams et al. 2021, equation 5; Ding et al. 2021, section 2, for the squared one.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.random.default_rng(0).normal(size=(100, 2))
        >>> turned = 3.0 * x @ [[0.0, 1.0], [-1.0, 0.0]] + 5.0
        >>> score = featdiv.procrustes(x, turned)
        >>> score.value <= 10 * score.details["floor"]
        True
    """
    arguments.one_of("procrustes", "definition", definition, DEFINITIONS)
    estimate = ESTIMATES[definition]
    resolved = resolve_pair(
        x,
        other,
        function="procrustes",
        normalize=normalize,
        precision=precision,
        backend=backend,
        exact=True,
        interval=interval,
        groups=groups,
        estimate=estimate,
    )
    return resolved.score(core, definition=definition, details=details, estimate=estimate)
