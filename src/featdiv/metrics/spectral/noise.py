"""What isotropic Gaussian noise of the same n and d gives: the value that a score must leave to say anything.

With m = n - 1 degrees of freedom for centred rows (n for uncentred ones), the r = min(m, d) eigenvalues of noise follow
the Marchenko-Pastur law of ratio beta = min(m, d)/max(m, d): x = 1 + beta - 2 sqrt(beta) cos t with the density
(2/pi) sin(t)^2 / x on t in [0, pi]. Functions of sums of x, of sqrt(x) and of their logarithms follow by quadrature.
For the participation ratio the ratio of expectations is closed: (m d + 2)/(m + d + 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from featdiv.metrics.spectral.eigenvalues import Float64Array

POINTS = 4096
AT_THE_FLOOR = 0.95
"""Share of the value of noise from which a number of dimensions cannot be told from noise."""

RANKME_EPSILON = 1e-7


def _law(m: int, d: int) -> tuple[int, Float64Array, Float64Array]:
    """Returns (r, nodes x, weights) of the law of the nonzero eigenvalues, in units of their mean."""
    small, large = sorted((m, d))
    beta = small / large
    # The midpoint rule converges faster than any power: the integrand is smooth and periodic in t.
    t = (np.arange(POINTS) + 0.5) * (math.pi / POINTS)
    x = 1.0 + beta - 2.0 * math.sqrt(beta) * np.cos(t)
    weights = (2.0 / POINTS) * np.sin(t) ** 2 / x
    return small, x, weights / weights.sum()


def _exp_entropy(values: Float64Array, weights: Float64Array, r: int, epsilon: float = 0.0) -> float:
    p = values / (r * float(weights @ values)) + epsilon
    return math.exp(-r * float(weights @ (p * np.log(p))))


def effective_rank(n: int, d: int) -> float:
    """Returns exp of the entropy of the square roots of the law."""
    r, x, weights = _law(n - 1, d)
    return _exp_entropy(np.sqrt(x), weights, r)


def rankme(n: int, d: int) -> float:
    """Returns the same about zero, with RankMe's constant."""
    r, x, weights = _law(n, d)
    return _exp_entropy(np.sqrt(x), weights, r, RANKME_EPSILON)


def participation_ratio(n: int, d: int) -> float:
    """Returns E[(tr W)^2] / E[tr W^2] of a Wishart matrix of n - 1 degrees of freedom."""
    m = n - 1
    return (m * d + 2.0) / (m + d + 1.0)


def isoscore(n: int, d: int) -> float:
    """Returns that of the participation ratio of noise."""
    return (participation_ratio(n, d) - 1.0) / (d - 1)


def spectral_entropy(n: int, d: int) -> float:
    """Returns the entropy of the law itself."""
    r, x, weights = _law(n - 1, d)
    return math.log(_exp_entropy(x, weights, r))


def vendi(n: int, d: int) -> float:
    """Returns exp of the entropy of the law: directions drawn evenly, cosine kernel, order 1."""
    r, x, weights = _law(n, d)
    return _exp_entropy(x, weights, r)


def mean_cosine(n: int, d: int) -> float:
    """Returns 0."""
    return 0.0


def mean_squared_cosine(n: int, d: int) -> float:
    """Returns 1/d."""
    return 1.0 / d


def redundancy(n: int, d: int) -> float:
    """Returns E abs(rho) of two independent Gaussian features: Gamma((n-1)/2) / (sqrt(pi) Gamma(n/2))."""
    return math.exp(math.lgamma((n - 1) / 2.0) - math.lgamma(n / 2.0)) / math.sqrt(math.pi)


BASELINES: dict[str, Callable[[int, int], float]] = {
    "effective_rank": effective_rank,
    "rankme": rankme,
    "participation_ratio": participation_ratio,
    "isoscore": isoscore,
    "spectral_entropy": spectral_entropy,
    "vendi": vendi,
    "mean_cosine": mean_cosine,
    "mean_squared_cosine": mean_squared_cosine,
    "redundancy": redundancy,
}
"""Score name to the value expected of isotropic noise at (n, d), in the default definition."""

RANKS = ("effective_rank", "rankme", "participation_ratio", "vendi")
"""Scores that few rows hold down: noise, which fills every dimension, gives their ceiling at this n and d."""


def baselines(names: list[str], n: int, d: int) -> dict[str, float]:
    """Returns score name to the value of noise, for the scores that have one at this n and d."""
    if n < 3 or d < 2:
        return {}
    return {name: BASELINES[name](n, d) for name in names if name in BASELINES}


def remarks(scores: dict[str, float], n: int, d: int) -> tuple[str, ...]:
    """Returns a warning in words for the scores that noise would give as well."""
    expected = baselines(list(RANKS), n, d)
    stuck = [name for name in RANKS if name in scores and scores[name] >= AT_THE_FLOOR * expected.get(name, math.inf)]
    if not stuck:
        return ()
    listed = ", ".join(f"{name} {scores[name]:.4g} (noise {expected[name]:.4g})" for name in stuck)
    return (
        f"not to be told from isotropic noise at n={n}, d={d}: {listed}. More is out of reach of these rows, "
        "whatever the features hold",
    )
