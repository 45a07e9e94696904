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
order the eigenvectors V of the whole serve: lambda_i - (V^T S_j V)_ii, one eigendecomposition in all.
"""

from __future__ import annotations

import dataclasses
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
    """

    moments: list[Moments]
    wanted: list[Eigenvalues]
    uncentered: list[Eigenvalues]


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
        pairs = [both_raw(rest.scatter, rest.mean, rest.n) for rest in rests]
    else:
        about_mean, about_zero = (np.linalg.eigh(matrix)[1] for matrix in (total.scatter, total.gram))
        pairs = [(_along(about_mean, rest.scatter), _along(about_zero, rest.gram)) for rest in rests]
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
    *,
    n: int,
    d: int,
) -> dict[str, Interval]:
    """Returns intervals for the scores whose value exists without every one of the groups.

    Args:
        scores: name to value on all rows.
        cores: name to the function of the statistic that gave the value.
        left_out: the statistic without each group, in turn.
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
        except NotEnoughData:
            continue
        center, error = _jackknife(scores[name], values, shares)
        center = center if population else scores[name]
        found[name] = Interval(
            low=center - quantile * error,
            high=center + quantile * error,
            level=LEVEL,
            standard_error=error,
            method="jackknife, bias-corrected" if population else "jackknife",
            estimand="population" if population else f"expected at n={n}, d={d}",
            groups=len(left_out),
        )
    return found


def _jackknife(theta: float, without_each: Float64Array, shares: Float64Array) -> tuple[float, float]:
    """Returns (bias-corrected value, standard error); ``shares`` are m_j / n."""
    g = len(without_each)
    ratios = 1.0 / shares
    corrected = g * theta - float(((1.0 - shares) * without_each).sum())
    pseudo = ratios * theta - (ratios - 1.0) * without_each
    variance = float((np.square(pseudo - corrected) / (ratios - 1.0)).mean())
    return corrected, math.sqrt(variance)
