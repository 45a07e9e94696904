"""Confidence intervals from parts of the rows: the delete-a-group jackknife and the block bootstrap of pairs.

With g groups of m_j rows, h_j = n / m_j and theta_(-j) the score without group j (Busing, Meijer & van der Leeden
1999, for groups of unequal size):

    bias-corrected   theta_J = g theta - sum_j (1 - m_j / n) theta_(-j)
    pseudo-values    p_j = h_j theta - (h_j - 1) theta_(-j)
    variance         v = (1/g) sum_j (p_j - theta_J)^2 / (h_j - 1)
    interval         theta_J +- t_(g - 1) sqrt(v)

Where n >= 20 d the bias-corrected value estimates the score of the population. Below that the correction does not
reach the population, so the interval is centred on theta itself and covers its expected value at this n and d.

Where only the linear part of theta_(-j) is known, the bias comes from complementary halves A and B of the groups,
whose linear parts cancel: it falls as 1/n, so

    bias = (n_A theta_A + n_B theta_B) / n - theta,      averaged over the ways of halving.

A mean over pairs of rows is a sum over pairs of blocks. Blocks a drawn w_a times give

    sum_(a < b) w_a w_b s_ab + sum_a w_a s_aa,

without the pairs between two copies of one block, whose rows would meet themselves at distance zero. The standard
error is the spread over draws, times sqrt(g / (g - 1)); the interval is theta +- t_(g - 1) errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from featdiv.errors import NotEnoughData
from featdiv.results import Interval

Float64Array = npt.NDArray[np.float64]

LEVEL = 0.95
LEAST_GROUPS = 5
DRAWS = 2000
AT_ONCE = 50
POPULATION_ROWS_PER_FEATURE = 20


def quantile(groups: int) -> float:
    """Returns the two-sided quantile of Student's law with groups - 1 degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(groups - 1, 0.5 + LEVEL / 2))


def jackknife(theta: float, without_each: Float64Array, shares: Float64Array) -> tuple[float, float]:
    """Returns (bias-corrected value, standard error).

    Args:
        theta: the score of all rows.
        without_each: (g,) the score without each group.
        shares: (g,) m_j / n.
    """
    g = len(without_each)
    ratios = 1.0 / shares
    corrected = g * theta - float(((1.0 - shares) * without_each).sum())
    pseudo = ratios * theta - (ratios - 1.0) * without_each
    variance = float((np.square(pseudo - corrected) / (ratios - 1.0)).mean())
    return corrected, math.sqrt(variance)


class _HasRows(Protocol):
    @property
    def n(self) -> int: ...


def intervals(
    scores: Mapping[str, float],
    cores: Mapping[str, Callable[[Any], float]],
    left_out: Sequence[_HasRows],
    halves: Sequence[_HasRows] | None,
    *,
    n: int,
    d: int,
    smooth: bool = True,
) -> dict[str, Interval]:
    """Returns jackknife intervals for the scores whose value exists without every one of the groups.

    Args:
        scores: name to value on all rows.
        cores: name to the function of the statistic that gave the value.
        left_out: the statistic without each group, in turn.
        halves: the statistic of complementary halves, where ``left_out`` is of first order.
        n, d: rows and features in all.
        smooth: whether the scores are smooth functions of means over rows. The bias of others does not fall as 1/n, so
            that the jackknife does not correct it: their expected value at this n and d is estimated.
    """
    shares = np.array([1.0 - rest.n / n for rest in left_out])
    population = smooth and n >= POPULATION_ROWS_PER_FEATURE * d
    found = {}
    for name, core in cores.items():
        if name not in scores:
            continue
        try:
            values = np.array([core(rest) for rest in left_out])
            of_halves = np.array([core(half) for half in halves or ()])
        except NotEnoughData:
            continue
        center, error = jackknife(scores[name], values, shares)
        if halves:
            weights = np.array([half.n / n for half in halves])
            bias = float(weights @ of_halves) / (len(halves) / 2) - scores[name]
            center = scores[name] - bias
        found[name] = symmetric(
            center if population else scores[name],
            error,
            groups=len(left_out),
            method=_method(population=population, exact=not halves),
            estimand="population" if population else f"expected at n={n}, d={d}",
        )
    return found


def of_two_samples(
    theta: float,
    without: tuple[Float64Array, Float64Array],
    shares: tuple[Float64Array, Float64Array],
    *,
    n: tuple[int, int],
    d: int,
) -> Interval:
    """Returns the jackknife interval of a score of two independent sets of rows, from leaving out groups of either.

    The biases and the variances that the two sets bring add up.

    Args:
        theta: the score of all rows.
        without: for each set, (g,) the score without each of its groups.
        shares: for each set, (g,) the share of its rows in each group.
        n: rows of each.
        d: features.
    """
    sides = [jackknife(theta, values, share) for values, share in zip(without, shares, strict=True)]
    population = min(n) >= POPULATION_ROWS_PER_FEATURE * d
    return symmetric(
        theta + sum(corrected - theta for corrected, _ in sides) if population else theta,
        math.hypot(*(error for _, error in sides)),
        groups=min(len(values) for values in without),
        method=_method(population=population, exact=True),
        estimand="population" if population else f"expected at n={n[0]} and {n[1]}, d={d}",
    )


def _method(*, population: bool, exact: bool) -> str:
    corrected = "jackknife, bias-corrected" if population else "jackknife"
    return corrected if exact else f"first-order {corrected}"


def symmetric(value: float, error: float, *, groups: int, method: str, estimand: str) -> Interval:
    """Returns value +- t errors."""
    half = quantile(groups) * error
    return Interval(
        low=value - half,
        high=value + half,
        level=LEVEL,
        standard_error=error,
        method=method,
        estimand=estimand,
        groups=groups,
    )


def of_pairs(
    sums: Float64Array,
    pairs: Float64Array,
    score: Callable[[Float64Array, Float64Array], Float64Array],
    *,
    seed: int,
) -> Interval:
    """Returns the block bootstrap interval of a score of a mean over pairs of rows.

    Args:
        sums: (g, g, ...) what pairs of rows of blocks a <= b add, zero below the diagonal.
        pairs: (g, g, ...) numbers of those pairs.
        score: from (draws, ...) sums and (draws, ...) numbers of pairs to (draws,) values.
        seed: of the draws.
    """
    g = len(pairs)
    drawn = np.random.default_rng(seed).multinomial(g, np.full(g, 1.0 / g), size=DRAWS).astype(np.float64)
    totals = np.concatenate([_weighted(sums, some) for some in np.array_split(drawn, DRAWS // AT_ONCE)])
    counts = _weighted(pairs, drawn)
    kept = (counts > 0.0).reshape(len(counts), -1).any(axis=1)
    values = score(totals[kept], counts[kept])
    error = float(values.std(ddof=1)) * math.sqrt(g / (g - 1))
    whole = np.ones((1, g))
    theta = float(score(_weighted(sums, whole), _weighted(pairs, whole))[0])
    return symmetric(theta, error, groups=g, method="block bootstrap", estimand="population")


def _weighted(sums: Float64Array, drawn: Float64Array) -> Float64Array:
    """Returns (draws, ...) sums over pairs of the blocks drawn, from (draws, g) how often each block is drawn."""
    # Copies of a block meet other blocks as often as they are drawn, and themselves once each.
    alone = np.tensordot(drawn - drawn**2, np.einsum("aa...->a...", sums), axes=(1, 0))
    return np.asarray(np.einsum("kb,kb...->k...", drawn, np.tensordot(drawn, sums, axes=(1, 0))) + alone)
