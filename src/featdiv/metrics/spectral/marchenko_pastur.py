"""How many eigenvalues stand out of what pure noise would give."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np

from featdiv.errors import NotEnoughData
from featdiv.metrics.spectral.eigenvalues import Eigenvalues
from featdiv.metrics.spectral.inputs import resolve_eigenvalues
from featdiv.results import Score


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoiseEdge:
    """The Marchenko-Pastur law fitted to a spectrum by its median.

    Attributes:
        count: eigenvalues above the edge.
        edge: upper edge s^2 (1 + sqrt(d/n))^2 of the law, in the units of the eigenvalues.
        variance: s^2, the noise variance of a feature.
    """

    count: int
    edge: float
    variance: float


@functools.lru_cache(maxsize=256)
def median(beta: float) -> float:
    """Returns the median of the Marchenko-Pastur law of ratio 0 < beta <= 1 and unit variance.

    With x = 1 + beta - 2 sqrt(beta) cos t the law has the density (2/pi) sin(t)^2 / x on t in [0, pi], which
    is smooth; its integral is closed, and the median is found to 1e-15 by bisection: to import a root finder
    takes longer than all else that a spectrum of few rows does.
    """
    low, high = 0.0, math.pi
    while low < (t := (low + high) / 2.0) < high:
        low, high = (t, high) if distribution(t, beta) < 0.5 else (low, t)
    return 1.0 + beta - 2.0 * math.sqrt(beta) * math.cos(t)


def distribution(t: float, beta: float) -> float:
    """Returns the distribution function of the law at x = 1 + beta - 2 sqrt(beta) cos t."""
    root = math.sqrt(beta)
    lower = math.atan2((1.0 + root) * math.sin(t / 2.0), (1.0 - root) * math.cos(t / 2.0))
    return ((1.0 + beta) * t / 2.0 + root * math.sin(t) - (1.0 - beta) * lower) / (math.pi * beta)


def fit(eig: Eigenvalues) -> NoiseEdge:
    """Returns the edge that the median of the eigenvalues implies; see `marchenko_pastur`."""
    eig.require_complete()
    middle = float(np.median(eig.values))
    if middle <= eig.values[0] * eig.floor**2:
        raise NotEnoughData(
            f"the median eigenvalue lies below the noise floor ({eig.resolved} of {eig.rank_limit} lie above it), so "
            "there is no level of noise to compare with"
        )
    small, large = sorted((eig.n, eig.d))
    variance = middle / median(small / large)
    if eig.n < eig.d:
        variance *= eig.n / eig.d
    edge = variance * (1.0 + math.sqrt(eig.d / eig.n)) ** 2
    return NoiseEdge(count=int(np.count_nonzero(eig.values > edge)), edge=edge, variance=variance)


def core(eig: Eigenvalues) -> float:
    """Returns the count alone."""
    return float(fit(eig).count)


def marchenko_pastur(
    x: Any,
    *,
    center: bool = True,
    normalize: str | None = None,
    precision: str = "float32",
    backend: str = "auto",
) -> Score:
    """Marchenko-Pastur count: number of lambda_i above s^2 (1 + sqrt(d/n))^2, the edge of pure noise.

    The noise variance is s^2 = median(lambda) / mu_beta over the r = min(n, d) eigenvalues, mu_beta the
    median of the Marchenko-Pastur law at beta = min(n, d)/max(n, d); if n < d, times n/d. The rule assumes
    that more than half of the directions hold nothing but noise of equal variance: on features without such a
    plateau the count is a description, not a test. The largest eigenvalue of pure noise fluctuates about the
    edge, so pure noise counts one in about 17 % of draws.

    Args:
        x: `Moments`, a `Spectrum`, or rows (array, path, source).
        center: whether to subtract the mean first.
        normalize: ``"l2"`` to divide each row by its norm first; for rows only.
        precision: arithmetic of the second moments; for rows only.
        backend: backend of the second moments; for rows only.

    Returns:
        A `Score`: a whole number; ``details`` are the fields of `NoiseEdge`: count, edge, variance.

    Raises:
        NotEnoughData: if the features are constant, or more than half of the directions hold no variance.
        InputError: if ``x`` cannot give the spectrum asked for.

    Complexity:
        O(n d^2) for rows, O(d^3) from `Moments`.

    Source:
        Marchenko & Pastur 1967 for the law; Gavish & Donoho 2014 for the median rule.

    Example:
        >>> import featdiv, numpy as np
        >>> noise = np.random.default_rng(0).normal(size=(2000, 20))
        >>> noise[:, 0] *= 3.0
        >>> float(featdiv.marchenko_pastur(noise))
        1.0
    """
    resolved = resolve_eigenvalues(
        x,
        function="marchenko_pastur",
        center=center,
        normalize=normalize,
        precision=precision,
        backend=backend,
    )
    return resolved.score(core, details=lambda eig: dataclasses.asdict(fit(eig)))
