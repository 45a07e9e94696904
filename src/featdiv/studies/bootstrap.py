"""Percentile bootstrap over models, and over data sets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from featdiv.errors import InputError
from featdiv.results import Interval
from featdiv.stats.moments import Float64Array

LEAST_DEFINED = 0.9
"""Share of the resamples in which a statistic must exist, for an interval to be given."""

MOST_PAIRS = 2_000_000
"""Pairs of models held at once: bounds the memory of statistics of pairs to a few tens of megabytes."""


def check(draws: int, level: float, *, function: str) -> None:
    """Refuses numbers of resamples below 0, and levels that are no probability.

    Raises:
        InputError: naming the argument.
    """
    if draws < 0:
        raise InputError(f"{function}: draws: expected 0 or more; got {draws!r}")
    if not 0.0 < level < 1.0:
        raise InputError(f"{function}: level: expected a number between 0 and 1; got {level!r}")


def chunks(draws: int, n: int) -> Iterator[int]:
    """Yields how many resamples of n models to make at a time."""
    size = max(1, MOST_PAIRS // (n * n))
    for start in range(0, draws, size):
        yield min(size, draws - start)


def percentile_interval(values: Float64Array, *, level: float, estimand: str, groups: int) -> Interval | None:
    """Returns the percentile interval of resampled values; None where too few of them exist."""
    defined = values[np.isfinite(values)]
    if not values.size or defined.size < max(2, LEAST_DEFINED * values.size):
        return None
    low, high = np.quantile(defined, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(
        low=float(low),
        high=float(high),
        level=level,
        standard_error=float(defined.std(ddof=1)),
        method="bootstrap",
        estimand=estimand,
        groups=groups,
    )
