"""Which of several models is the best on one test set, and how sure that is: pure functions of who was right where.

All take the same table: ``correct`` (models, units), or (models, repeats, units) where the units (test images) were
judged several times, as in repeated cross-validation. A unit is what is resampled, with all its repeats and for all
models together; entries are 0 and 1, or numbers between for shares of the repeats or other per-unit gains.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

DRAWS = 10_000
_MOST_ENTRIES = 2_000_000
"""Random numbers held at once."""

_FEW = 8
"""Units a pattern from which drawing patterns is faster than drawing units."""

_ROUNDING = 1e-9
"""Statistics are sums of few distinct numbers: equal ones must not be parted by rounding."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """What `select` finds; arrays are in the order of the models.

    Attributes:
        accuracy: (m,) mean of each model over units and repeats.
        best: index of the model with the highest mean, the first of equals.
        p_best: (m,) share of the resamples in which the model has the highest mean; equals share a resample.
        p_value: (m,) of the hypothesis that no other model is better than this one; see `p_values`.
        contenders: indices of the models that cannot be told from the best.
        regret: (m,) mean over resamples of what picking the model loses against the best in that resample.
        low: (m,) lower end of the percentile interval of each mean.
        high: (m,) upper end.
        level: coverage of ``contenders`` and of the intervals.
        units: number of units.
        draws: number of resamples.
    """

    accuracy: Float64Array
    best: int
    p_best: Float64Array
    p_value: Float64Array
    contenders: tuple[int, ...]
    regret: Float64Array
    low: Float64Array
    high: Float64Array
    level: float
    units: int
    draws: int


def select(correct: npt.ArrayLike, *, draws: int = DRAWS, level: float = 0.95, seed: int = 0) -> Selection:
    """Returns which model is best, and how sure that is.

    Args:
        correct: (models, units) or (models, repeats, units).
        draws: resamples, and sign flips.
        level: probability with which the set of contenders holds the truly best model.
        seed: of the draws.

    Raises:
        InputError: if the table has another shape or holds other numbers, or ``draws`` or ``level`` cannot be used.

    Complexity:
        O(draws · min(units, patterns) · models), where patterns are the distinct columns of the table.

    Example:
        >>> import numpy as np
        >>> from featdiv.studies.selection import select
        >>> right = np.array([np.arange(100) < 90, np.arange(100) < 88, np.arange(100) < 60])
        >>> found = select(right)
        >>> found.best, found.contenders, found.accuracy.tolist()
        (0, (0, 1), [0.9, 0.88, 0.6])
    """
    if draws < 1:
        raise InputError(f"select: draws: expected at least 1; got {draws!r}")
    if not 0.0 < level < 1.0:
        raise InputError(f"select: level: expected a number between 0 and 1; got {level!r}")
    patterns, counts = _patterns(_units(correct, "select"))
    accuracy = counts @ patterns / counts.sum()
    best = int(np.argmax(accuracy))
    means = resampled_means(patterns, counts, draws=draws, seed=seed)
    p_value = _p_values(patterns, counts, draws=draws, seed=seed)
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    kept = p_value > 1.0 - level
    kept[best] = True
    return Selection(
        accuracy=accuracy,
        best=best,
        p_best=shares_of_first(means),
        p_value=p_value,
        contenders=tuple(np.flatnonzero(kept).tolist()),
        regret=(means.max(axis=1, keepdims=True) - means).mean(axis=0),
        low=low,
        high=high,
        level=level,
        units=int(counts.sum()),
        draws=draws,
    )


def p_values(correct: npt.ArrayLike, *, draws: int = DRAWS, seed: int = 0) -> Float64Array:
    """Returns, for each model, the p-value of the hypothesis that no other model is better than it.

    With D_i the differences between rival i and the model over the units, t_i = sum(D_i) / sqrt(sum(D_i^2)), the
    statistic is the largest t_i over all rivals, 0 at least. Its distribution where all are equally good is that under
    random signs of the units, the same signs for all rivals: p = (1 + #{max t* >= max t}) / (1 + draws). The maximum
    takes care of the number of rivals, with the correlation that they have. With two models this is the exact McNemar
    test, one-sided and estimated.

    The models with p > 1 - level are a confidence set: it lacks the truly best model with a probability of at most
    1 - level, whichever model that is and however many there are, since it is lost only where its own test fails.

    Source:
        Gupta 1965 and Hsu 1981 (sets that hold the best); Westfall & Young 1993 (the resampled maximum).
    """
    patterns, counts = _patterns(_units(correct, "p_values"))
    return _p_values(patterns, counts, draws=draws, seed=seed)


def _p_values(patterns: Float64Array, counts: Int64Array, *, draws: int, seed: int) -> Float64Array:
    m = patterns.shape[1]
    differences = patterns[:, None, :] - patterns[:, :, None]
    scale = np.sqrt(np.einsum("p,pji->ji", counts.astype(np.float64), differences**2))
    scale[scale == 0.0] = np.inf
    totals = counts @ patterns
    observed = ((totals[None, :] - totals[:, None]) / scale).max(axis=1)
    rng = np.random.default_rng([seed, 1])
    reached = np.zeros(m)
    for size in _chunks(draws, len(counts)):
        flipped = _signs(rng, counts, size) @ patterns
        for model in range(m):
            largest = ((flipped - flipped[:, model, None]) / scale[model]).max(axis=1)
            reached[model] += np.count_nonzero(largest >= observed[model] - _ROUNDING)
    return np.asarray((1.0 + reached) / (1.0 + draws))


def resampled_means(patterns: Float64Array, counts: Int64Array, *, draws: int, seed: int) -> Float64Array:
    """Returns (draws, models) means over units drawn with replacement, the same units for all models.

    Args:
        patterns: (p, models) distinct rows of units.
        counts: (p,) how many units have each.
        draws: number of resamples.
        seed: of the draws.
    """
    n = int(counts.sum())
    rng = np.random.default_rng([seed, 0])
    parts = [_weights(rng, counts, size) @ patterns / n for size in _chunks(draws, n)]
    return np.concatenate(parts)


def _weights(rng: np.random.Generator, counts: Int64Array, size: int) -> Float64Array:
    """Returns (size, p): how often units of each pattern are drawn, when as many units are drawn as there are."""
    n = int(counts.sum())
    if _FEW * len(counts) < n:
        return rng.multinomial(n, counts / n, size=size).astype(np.float64)
    # Drawing the units themselves is faster where few of them are alike.
    owner = np.repeat(np.arange(len(counts)), counts)
    places = owner[rng.integers(0, n, size=(size, n))] + len(counts) * np.arange(size)[:, None]
    return np.bincount(places.ravel(), minlength=size * len(counts)).reshape(size, -1).astype(np.float64)


def _signs(rng: np.random.Generator, counts: Int64Array, size: int) -> Float64Array:
    """Returns (size, p): sums of the random signs of the units of each pattern."""
    signs = np.empty((size, len(counts)))
    several = counts > 1
    signs[:, several] = 2.0 * rng.binomial(counts[several], 0.5, size=(size, int(several.sum()))) - counts[several]
    signs[:, ~several] = 2.0 * rng.integers(0, 2, size=(size, int((~several).sum())), dtype=np.int8) - 1.0
    return signs


def shares_of_first(means: Float64Array) -> Float64Array:
    """Returns the share of the rows of ``means`` in which each column is the largest; equals share a row."""
    first = means >= means.max(axis=1, keepdims=True) - _ROUNDING
    return np.asarray((first / first.sum(axis=1, keepdims=True)).mean(axis=0))


def _chunks(draws: int, width: int) -> Iterator[int]:
    size = max(1, _MOST_ENTRIES // width)
    for start in range(0, draws, size):
        yield min(size, draws - start)


def _units(correct: Any, function: str) -> Float64Array:
    """Returns (units, models) means over the repeats."""
    table = np.asarray(correct)
    if table.ndim not in (2, 3) or not table.size:
        raise InputError(
            f"{function}: correct: expected (models, units) or (models, repeats, units); got shape {table.shape}"
        )
    values = table.astype(np.float64)
    if not np.isfinite(values).all() or values.min() < 0.0 or values.max() > 1.0:
        raise InputError(f"{function}: correct: expected 0 and 1, or shares between; got other numbers")
    return np.asarray(values.mean(axis=1).T if table.ndim == 3 else values.T)


def _patterns(units: Float64Array) -> tuple[Float64Array, Int64Array]:
    """Returns the distinct rows and how often each occurs; sorted, so that the order of units plays no part."""
    patterns, counts = np.unique(units, axis=0, return_counts=True)
    return patterns, counts.astype(np.int64)
