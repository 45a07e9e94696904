"""Ranks of computed numbers, in which equal ones need not have come out equal."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]


def tied_ranks(values: Float64Array, rounding: float) -> Float64Array:
    """Returns the ranks 1, 2, … of numbers; neighbours that differ by ``rounding`` at most share their mean rank.

    Features with few values, such as counts and bits, have many pairs of rows at one distance. Each is computed from
    other products, so that ranks by exact comparison would be decided by the order of features.

    Args:
        values: (m,) numbers.
        rounding: how far apart equal numbers may have come out, far below the mean gap of different ones.

    Complexity:
        O(m log m).

    Example:
        >>> import numpy as np
        >>> from featdiv.stats.ranks import tied_ranks
        >>> tied_ranks(np.array([0.3, 0.1 + 0.2, 0.1]), 1e-15).tolist()
        [2.5, 2.5, 1.0]
    """
    order = np.argsort(values, kind="stable")
    group = np.concatenate([[0], np.cumsum(np.diff(values[order]) > rounding)])
    counts = np.bincount(group)
    ranks = np.empty(len(values))
    ranks[order] = (np.cumsum(counts) - (counts - 1) / 2.0)[group]
    return ranks


def of_products(d: int) -> float:
    """Returns how far the inner product of two unit vectors of d entries may be off in float64."""
    return 4.0 * (d + 8) * float(np.finfo(np.float64).eps)
