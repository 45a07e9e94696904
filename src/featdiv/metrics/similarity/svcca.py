"""Singular vector canonical correlation: CCA of the components that hold most of the variance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from featdiv.metrics.similarity.cca import whitened_cross
from featdiv.metrics.similarity.inputs import resolve_pair
from featdiv.metrics.similarity.pairs import Pair, Side
from featdiv.results import Score
from featdiv.stats import arguments


def core(pair: Pair, *, variance: float = 0.99) -> float:
    """Returns the mean canonical correlation of the leading components; see `svcca`."""
    import scipy.linalg

    check_variance(variance)
    ranks = (kept(pair.x, variance), kept(pair.other, variance))
    rho = scipy.linalg.svdvals(whitened_cross(pair, ranks=ranks), check_finite=False)
    return float(np.minimum(1.0, rho).mean())


def check_variance(variance: Any, *, function: str = "svcca") -> None:
    """Raises InputError unless ``variance`` is a share."""
    arguments.number(function, "variance", variance, "a share in (0, 1]", lambda share: 0.0 < share <= 1.0)


def kept(side: Side, variance: float) -> int:
    """Returns the smallest number of components that hold that share of the variance."""
    values = side.components[0]
    share = np.cumsum(values) / values.sum()
    return min(values.size, int(np.searchsorted(share, variance - 1e-12)) + 1)


def details(pair: Pair, *, variance: float = 0.99) -> Mapping[str, Any]:
    """Returns how many components were kept on each side."""
    return {"components": [kept(pair.x, variance), kept(pair.other, variance)]}


def svcca(
    x: Any,
    other: Any = None,
    *,
    variance: float = 0.99,
    normalize: str | None = None,
    precision: str | None = None,
    backend: str = "auto",
) -> Score:
    """SVCCA: the mean canonical correlation of the leading components that hold 99 % of the variance of each side.

    Args:
        x: rows (array, path, source), or `CrossMoments` of two models.
        other: the same rows in another representation; None with `CrossMoments`.
        variance: share of the variance to keep.
        normalize: ``"l2"`` to divide each row by its norm first.
        precision: arithmetic of the products; None for float64.
        backend: backend of the products.

    Returns:
        A `Score` between 0 and 1; ``details`` say how many components were kept.

    Raises:
        NotEnoughData: if a side is constant, or keeps n - 1 components or more.
        InputError: if the two do not hold the same rows, or ``variance`` is not a share.

    Complexity:
        n (d_x + d_y)^2 multiply-adds and O(d_x^3 + d_y^3).

    Source:
        Raghu et al. 2017, section 2.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.random.default_rng(0).normal(size=(200, 3))
        >>> noisy = np.hstack([x, 1e-3 * np.random.default_rng(1).normal(size=(200, 5))])
        >>> round(float(featdiv.svcca(x, noisy)), 3)
        1.0
    """
    check_variance(variance)
    resolved = resolve_pair(
        x, other, function="svcca", normalize=normalize, precision=precision, backend=backend, exact=True
    )
    return resolved.score(core, details=details, parameters={"variance": variance})
