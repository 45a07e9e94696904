"""Delete-a-group jackknife intervals for scores that are functions of a spectrum.

With g groups of m_j rows, h_j = n / m_j and theta_(-j) the score without group j (Busing, Meijer & van der Leeden
1999, for groups of unequal size):

    bias-corrected   theta_J = g theta - sum_j (1 - m_j / n) theta_(-j)
    pseudo-values    p_j = h_j theta - (h_j - 1) theta_(-j)
    variance         v = (1/g) sum_j (p_j - theta_J)^2 / (h_j - 1)
    interval         theta_J +- t_(g - 1) sqrt(v)

Where n >= 20 d the bias-corrected value estimates the score of the population. Below that the correction does not
reach the population, so the interval is centred on theta itself and covers its expected value at this n and d.

Leaving a group out needs the eigenvalues of S - S_j. Exactly, that is one eigendecomposition a group. To first
order the eigenvectors V of the whole serve: lambda_i - (V^T S_j V)_ii, one eigendecomposition in all. That gives
the variance but, being linear, knows nothing of the bias, which for a flat spectrum is many standard errors. The
bias then comes from complementary halves A and B of the groups, whose linear parts cancel: it falls as 1/n, so

    bias = (n_A theta_A + n_B theta_B) / n - theta,      averaged over two ways of halving.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from featdiv.errors import NotEnoughData
from featdiv.metrics.spectral.eigenvalues import SOLVER_NOISE, Eigenvalues, both_raw
from featdiv.results import Interval
from featdiv.stats.moments import Moments

Float64Array = npt.NDArray[np.float64]

LEVEL = 0.95
POPULATION_ROWS_PER_FEATURE = 20


def without(total: Moments, part: Moments) -> Moments:
    """Returns the moments of the rows of ``total`` that are not in ``part``: merging undone."""
    n = total.n - part.n
    mean = total.mean + (total.mean - part.mean) * (part.n / n)
    delta = part.mean - mean
    scatter = total.scatter - part.scatter - np.outer(delta, delta * (part.n * n / total.n))
    return dataclasses.replace(total, n=n, mean=mean, scatter=scatter, norm_sums=None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What is left without each part in turn.

    Attributes:
        moments: moments of the rest.
        wanted: its eigenvalues, about the mean or zero as the whole's.
        uncentered: its eigenvalues about zero.
        halves: the same for complementary halves of the parts, A and B in turn; None where the parts are exact.
    """

    moments: list[Moments]
    wanted: list[Eigenvalues]
    uncentered: list[Eigenvalues]
    halves: LeftOut | None = None


def leave_one_out(
    total: Moments, parts: Sequence[Moments], wanted: Eigenvalues, uncentered: Eigenvalues, *, exact: bool
) -> LeftOut:
    """Returns the statistics without each part in turn.

    Args:
        total: moments of all rows.
        parts: moments of the parts.
        wanted: eigenvalues of the whole, as asked for.
        uncentered: eigenvalues of the whole about zero.
        exact: one decomposition a part; else first order in the eigenvectors of the whole.
    """
    rests = [without(total, part) for part in parts]
    if exact:
        return _left_out(rests, _exact(rests), wanted, uncentered)
    about_mean, about_zero = (np.linalg.eigh(matrix)[1] for matrix in (total.scatter, total.gram))
    pairs = [(_along(about_mean, rest.scatter), _along(about_zero, rest.gram)) for rest in rests]
    count = len(parts)
    halves = []
    for chosen in (range(0, count, 2), range(count // 2)):
        half = functools.reduce(Moments.merge, [parts[index] for index in chosen])
        halves += [half, without(total, half)]
    return dataclasses.replace(
        _left_out(rests, pairs, wanted, uncentered), halves=_left_out(halves, _exact(halves), wanted, uncentered)
    )


def _exact(moments: Sequence[Moments]) -> list[tuple[Float64Array, Float64Array]]:
    return [both_raw(part.scatter, part.mean, part.n) for part in moments]


def _left_out(
    rests: list[Moments],
    pairs: Sequence[tuple[Float64Array, Float64Array]],
    wanted: Eigenvalues,
    uncentered: Eigenvalues,
) -> LeftOut:
    about = [pair[0 if wanted.centered else 1] for pair in pairs]
    return LeftOut(
        moments=rests,
        wanted=[_eigenvalues(raw, rest, wanted) for raw, rest in zip(about, rests, strict=True)],
        uncentered=[_eigenvalues(pair[1], rest, uncentered) for pair, rest in zip(pairs, rests, strict=True)],
    )


def _along(vectors: Float64Array, matrix: Float64Array) -> Float64Array:
    return np.asarray(np.sort(np.einsum("ij,ij->j", vectors, matrix @ vectors)))


def _eigenvalues(raw: Float64Array, rest: Moments, whole: Eigenvalues) -> Eigenvalues:
    scale = rest.n - 1 if whole.centered else rest.n
    values = raw[::-1][: min(rest.n, rest.d)] / scale
    values[values < SOLVER_NOISE * values[0]] = 0.0
    return dataclasses.replace(whole, values=values, n=rest.n, total=float(raw.sum()) / scale)


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
) -> dict[str, Interval]:
    """Returns intervals for the scores whose value exists without every one of the groups.

    Args:
        scores: name to value on all rows.
        cores: name to the function of the statistic that gave the value.
        left_out: the statistic without each group, in turn.
        halves: the statistic of complementary halves, where ``left_out`` is of first order.
        n, d: rows and features in all.
    """
    from scipy.special import stdtrit

    quantile = float(stdtrit(len(left_out) - 1, 0.5 + LEVEL / 2))
    shares = np.array([1.0 - rest.n / n for rest in left_out])
    population = n >= POPULATION_ROWS_PER_FEATURE * d
    found = {}
    for name, core in cores.items():
        if name not in scores:
            continue
        try:
            values = np.array([core(rest) for rest in left_out])
            of_halves = np.array([core(half) for half in halves or ()])
        except NotEnoughData:
            continue
        center, error = _jackknife(scores[name], values, shares)
        if halves:
            weights = np.array([half.n / n for half in halves])
            bias = float(weights @ of_halves) / (len(halves) / 2) - scores[name]
            center = scores[name] - bias
        center = center if population else scores[name]
        found[name] = Interval(
            low=center - quantile * error,
            high=center + quantile * error,
            level=LEVEL,
            standard_error=error,
            method=_method(population=population, exact=not halves),
            estimand="population" if population else f"expected at n={n}, d={d}",
            groups=len(left_out),
        )
    return found


def _method(*, population: bool, exact: bool) -> str:
    corrected = "jackknife, bias-corrected" if population else "jackknife"
    return corrected if exact else f"first-order {corrected}"


def _jackknife(theta: float, without_each: Float64Array, shares: Float64Array) -> tuple[float, float]:
    """Returns (bias-corrected value, standard error); ``shares`` are m_j / n."""
    g = len(without_each)
    ratios = 1.0 / shares
    corrected = g * theta - float(((1.0 - shares) * without_each).sum())
    pseudo = ratios * theta - (ratios - 1.0) * without_each
    variance = float((np.square(pseudo - corrected) / (ratios - 1.0)).mean())
    return corrected, math.sqrt(variance)
