"""The interval of an accuracy: a share of rows that were right."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.results import Interval
from featdiv.stats import group_means, resampling

LEVEL = resampling.LEVEL
_QUANTILE = 1.959963984540054


def wilson(correct: int, n: int, *, estimand: str = "population") -> Interval:
    """Returns the 95 % Wilson score interval of correct/n; it stays within 0 and 1.

    Args:
        correct: rows that were right.
        n: rows in all, at least 1.
        estimand: what it covers.

    Source:
        Wilson 1927, "Probable inference, the law of succession, and statistical inference".

    Example:
        >>> from featdiv.probes.proportion import wilson
        >>> str(wilson(9, 10))
        '[0.59585, 0.982124]'
    """
    return of_parts([correct], [n], estimand=estimand)


def of_parts(correct: npt.ArrayLike, counts: npt.ArrayLike, *, estimand: str = "population") -> Interval:
    """Returns the 95 % interval for the mean over folds of the share of rows that were right.

    It is Wilson's for the number of rows of one part that would tell as much, f^2 / sum_i (1/n_i) of f parts with n_i
    rows: all of them where parts are equally large.

    Args:
        correct: (f,) rows of each part that were right.
        counts: (f,) rows of each part, at least 1.
        estimand: what it covers.

    Example:
        >>> from featdiv.probes.proportion import of_parts
        >>> str(of_parts([5, 4], [5, 5]))
        '[0.59585, 0.982124]'
    """
    right, rows = np.asarray(correct, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    share, n = float((right / rows).mean()), len(rows) ** 2 / float((1.0 / rows).sum())
    low, high = _bounds(share, n)
    error = math.sqrt(share * (1 - share) / n)
    groups = int(rows.sum())
    return Interval(
        low=low, high=high, level=LEVEL, standard_error=error, method="Wilson", estimand=estimand, groups=groups
    )


def of_groups(correct: npt.ArrayLike, counts: npt.ArrayLike, *, estimand: str = "population") -> Interval | None:
    """Returns the 95 % interval of the share of right rows where rows come in groups that are alike.

    It is Wilson's for the number of independent rows that would tell as much,

        n_eff = n / D (t_(n-1) / t_(m-1))^2,      D = m (n - 1) / ((m - 1) n) sum_g (x_g - p n_g)^2 / (n p (1 - p)),

    for m groups with x_g right of n_g rows, p the share of all n rows, t the 97.5 % quantile of Student's law, and D
    at least 1. Where all rows are right, or all wrong, D is unknown, and the rows of a group count as copies: D =
    sum_g n_g^2 / n. Groups of one row give Wilson's interval; m rows that are all repeated r times give that of the m
    rows, but for t and a factor of m / (m - 1).

    Args:
        correct: (m,) rows of each group that were right.
        counts: (m,) rows of each group; groups without rows say nothing.
        estimand: what it covers.

    Returns:
        The interval, or None for a single group, which cannot tell how much groups differ.

    Source:
        Kish 1965, "Survey sampling", section 8.2, for the design effect D; Korn & Graubard 1998, "Confidence intervals
        for proportions with small expected number of positive counts estimated from survey data", Survey Methodology
        24, for n_eff with t; Franco, Little, Louis & Slud 2019, "Comparative study of confidence intervals for
        proportions in complex sample surveys", Journal of Survey Statistics and Methodology 7, for Wilson's at n_eff.

    Example:
        >>> from featdiv.probes.proportion import of_groups
        >>> str(of_groups([1] * 9 + [0], [1] * 10))
        '[0.59585, 0.982124]'
        >>> str(of_groups([20] * 9 + [0], [20] * 10))  # twenty copies of each: no narrower
        '[0.52674, 0.986445]'
    """
    right, rows = np.asarray(correct, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    right, rows = right[rows > 0], rows[rows > 0]
    m, n = len(rows), float(rows.sum())
    if m < 2:
        return None
    share = float(right.sum()) / n
    spread = n * share * (1 - share)
    residuals = right - share * rows
    effect = float(rows @ rows) / n
    if spread > 0.0:
        effect = m * (n - 1) / ((m - 1) * n) * float(residuals @ residuals) / spread
    # Groups more alike than chance would have them are no more than independent rows.
    effect = max(effect, 1.0)
    quantiles = resampling.quantile(int(n)) / resampling.quantile(m)
    low, high = _bounds(share, n / effect * quantiles**2)
    return Interval(
        low=low,
        high=high,
        level=LEVEL,
        standard_error=math.sqrt(share * (1 - share) / n * effect),
        method="Wilson, rows in groups",
        estimand=estimand,
        groups=m,
    )


def of_rows(right: npt.NDArray[np.bool_], groups: Any, *, estimand: str = "population") -> Interval | None:
    """Returns the interval of the share of right rows: `wilson` without groups, else `of_groups`.

    Args:
        right: (n,) whether each row was right.
        groups: (n,) group of each row, integers or strings; None for rows that are independent.
        estimand: what it covers.
    """
    if groups is None:
        return wilson(int(right.sum()), len(right), estimand=estimand)
    codes = group_means.numbered(groups)
    return of_groups(np.bincount(codes, weights=right), np.bincount(codes), estimand=estimand)


def _bounds(share: float, n: float) -> tuple[float, float]:
    square = _QUANTILE**2
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = _QUANTILE / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
