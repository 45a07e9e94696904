"""Percentile bootstrap over models, and over data sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from featdiv.errors import InputError
from featdiv.results import Interval
from featdiv.stats import arguments
from featdiv.stats.moments import Float64Array

LEAST_DEFINED = 0.9
"""Share of the resamples in which a statistic must exist, for an interval to be given."""

MOST_PAIRS = 2_000_000
"""Pairs of models held at once: bounds the memory of statistics of pairs to a few tens of megabytes."""


def check(*, function: str, level: float, seed: int, **counts: Any) -> None:
    """Refuses a level that is no probability, a seed that is no seed, and a negative number of resamples.

    Args:
        function: public name for messages.
        level: coverage of intervals.
        seed: of the resamples.
        **counts: argument to the number of resamples that it asks for.

    Raises:
        InputError: naming the argument.
    """
    arguments.number(function, "level", level, "a number between 0 and 1", lambda share: 0.0 < share < 1.0)
    arguments.check_seed(function, seed)
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
            raise InputError(f"{function}: {name}: expected a whole number of at least 0; got {value!r}")


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
