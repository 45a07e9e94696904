"""Percentile bootstrap over models, and over data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from featdiv.results import Interval
from featdiv.stats.moments import Float64Array

LEAST_DEFINED = 0.9
"""Share of the resamples in which a statistic must exist, for an interval to be given."""

MOST_PAIRS = 2_000_000
"""Pairs of models held at once: bounds the memory of statistics of pairs to a few tens of megabytes."""

Statistic = Callable[[npt.NDArray[np.int64]], Float64Array]
"""Takes (b, n) places of models, returns (b,) values."""


def chunks(draws: int, n: int) -> Iterator[int]:
    """Yields how many resamples of n models to make at a time."""
    size = max(1, MOST_PAIRS // (n * n))
    for start in range(0, draws, size):
        yield min(size, draws - start)


def resample(statistic: Statistic, n: int, *, draws: int, seed: int) -> Float64Array:
    """Returns (draws,) values of a statistic over models drawn with replacement."""
    rng = np.random.default_rng(seed)
    parts = [statistic(rng.integers(0, n, size=(size, n))) for size in chunks(draws, n)]
    return np.concatenate(parts) if parts else np.empty(0)


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
