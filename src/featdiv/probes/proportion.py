"""The interval of an accuracy: a share of rows that were right."""

from __future__ import annotations

import math

from featdiv.results import Interval

LEVEL = 0.95
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
    share = correct / n
    square = _QUANTILE**2
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = _QUANTILE / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    return Interval(
        low=max(0.0, middle - half),
        high=min(1.0, middle + half),
        level=LEVEL,
        standard_error=math.sqrt(share * (1 - share) / n),
        method="Wilson",
        estimand=estimand,
        groups=n,
    )
