"""How sure a mean over rows is when these come in groups that are alike: frames of a video, images of a patient."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


def numbered(groups: Any) -> Int64Array:
    """Returns the groups of rows, integers or strings, as numbers from 0 on."""
    return np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1).astype(np.int64)


def standard_error(sums: npt.ArrayLike, counts: npt.ArrayLike) -> float:
    """Returns the standard error of sum(sums)/sum(counts), groups taken as independent, their rows not.

    sqrt(m/(m - 1) sum_g (s_g - mean n_g)^2)/n for m groups of n_g rows with sums s_g: that of a ratio of two sums over
    groups, by linearisation. With groups of one row it is the usual one.

    Args:
        sums: (m,) sum of the values of each group.
        counts: (m,) rows of each group, positive.

    Source:
        Cochran 1977, "Sampling techniques", equation 6.9, without the finite population.

    Example:
        >>> from featdiv.stats.group_means import standard_error
        >>> round(standard_error([1.0, 2.0, 3.0, 4.0], [1, 1, 1, 1]), 6)  # sqrt(5/3)/sqrt(4)
        0.645497
        >>> round(standard_error([10.0, 20.0, 30.0, 40.0], [10, 10, 10, 10]), 6)  # ten copies of each say no more
        0.645497
    """
    total, rows = np.asarray(sums, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    m, n = len(rows), rows.sum()
    residuals = total - total.sum() / n * rows
    return math.sqrt(m / (m - 1) * float(residuals @ residuals)) / float(n)


@dataclasses.dataclass(kw_only=True, eq=False)
class GroupSums:
    """Sums of values over the rows of each group, as blocks of rows arrive.

    Attributes:
        codes: (n,) group of each row of the source, numbered from 0 on.
        sums: (p, m) sums of p kinds of values.
        counts: (m,) rows of each group that were counted.
    """

    codes: Int64Array
    sums: Float64Array
    counts: Int64Array

    @classmethod
    def of(cls, groups: Any, kinds: int = 1) -> GroupSums:
        """Returns empty sums for rows with these groups."""
        codes = numbered(groups)
        m = int(codes.max(initial=-1)) + 1
        return cls(codes=codes, sums=np.zeros((kinds, m)), counts=np.zeros(m, dtype=np.int64))

    def add(self, index: Int64Array, values: npt.ArrayLike, kind: int = 0) -> None:
        """Adds the values of some rows, given by their place in the source."""
        np.add.at(self.sums[kind], self.codes[index], np.asarray(values, dtype=np.float64))

    def count(self, index: Int64Array) -> None:
        """Counts some rows, once for all kinds of values."""
        np.add.at(self.counts, self.codes[index], 1)

    def seen(self, kind: int = 0) -> tuple[Float64Array, Int64Array]:
        """Returns (sums, rows) of the groups that have rows."""
        held = self.counts > 0
        return self.sums[kind, held], self.counts[held]
