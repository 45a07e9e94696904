"""Coefficients of agreement for many pairs of samples at once, as a bootstrap over models needs them.

Each function takes x and y of shape (b, n): b problems of n models. Where x or y is NaN, the model is not in that
problem. Each returns (b,) values, NaN where the coefficient is undefined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from featdiv.stats.moments import Float64Array

Coefficient = Callable[[Float64Array, Float64Array], Float64Array]


def pearson(x: Float64Array, y: Float64Array) -> Float64Array:
    """Pearson's r. O(b n)."""
    mask, x, y = _present(x, y)
    count = mask.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        dx = np.where(mask, x - x.sum(axis=1, keepdims=True) / count, 0.0)
        dy = np.where(mask, y - y.sum(axis=1, keepdims=True) / count, 0.0)
        # Scaled first, so that neither huge nor tiny units leave the range; a constant that rounding moved is constant.
        largest_x, largest_y = np.abs(dx).max(axis=1, keepdims=True), np.abs(dy).max(axis=1, keepdims=True)
        flat = (largest_x <= _ROUNDING * np.abs(x).max(axis=1, keepdims=True)) | (
            largest_y <= _ROUNDING * np.abs(y).max(axis=1, keepdims=True)
        )
        dx, dy = dx / largest_x, dy / largest_y
        r = (dx * dy).sum(axis=1) / np.sqrt((dx * dx).sum(axis=1) * (dy * dy).sum(axis=1))
    return np.where(flat[:, 0] | (count[:, 0] < 2), np.nan, np.clip(r, -1.0, 1.0))


def spearman(x: Float64Array, y: Float64Array) -> Float64Array:
    """Spearman's rho: Pearson's r of the ranks, equal values sharing their mean rank. O(b n^2)."""
    mask, x, y = _present(x, y)
    return pearson(_ranks(x, mask), _ranks(y, mask))


def kendall(x: Float64Array, y: Float64Array) -> Float64Array:
    """Kendall's tau-b, which does not count tied pairs among those that could agree. O(b n^2)."""
    mask, x, y = _present(x, y)
    return _tau(x, y, mask, np.zeros_like(x), constant=True)


def weighted_kendall(x: Float64Array, y: Float64Array) -> Float64Array:
    """Weighted Kendall tau, additive hyperbolic, as `scipy.stats.weightedtau` gives it by default. O(b n^2).

    A pair weighs 1/(1 + r_i) + 1/(1 + r_j), r the rank from the top, 0 for the best (Vigna 2015). Ranks are taken by x
    (ties by y), and by y (ties by x); the result is the mean of the two taus.
    """
    mask, x, y = _present(x, y)
    by_x, by_y = (1.0 / (1.0 + _places(first, second, mask)) for first, second in ((x, y), (y, x)))
    return 0.5 * (_tau(x, y, mask, by_x) + _tau(x, y, mask, by_y))


COEFFICIENTS: Mapping[str, Coefficient] = MappingProxyType(
    {"weighted_kendall": weighted_kendall, "kendall": kendall, "spearman": spearman, "pearson": pearson}
)
"""Name to coefficient, in the order in which they are shown."""


def regret(scores: Float64Array, truth: Float64Array, k: int) -> Float64Array:
    """Best truth of all models, less the best truth among the k models with the highest scores. O(b n log n).

    Among models with equal scores the worse comes first: a score that cannot tell models apart earns no luck.
    """
    mask, scores, truth = _present(scores, truth)
    order = np.lexsort((truth, np.where(mask, -scores, np.inf), ~mask), axis=1)
    ranked = np.take_along_axis(np.where(mask, truth, -np.inf), order, axis=1)
    best = ranked.max(axis=1)
    with np.errstate(invalid="ignore"):
        return np.where(mask.any(axis=1), best - ranked[:, :k].max(axis=1), np.nan)


_ROUNDING = 1e-14


def _present(x: Float64Array, y: Float64Array) -> tuple[npt.NDArray[np.bool_], Float64Array, Float64Array]:
    mask = np.isfinite(x) & np.isfinite(y)
    return mask, np.where(mask, x, 0.0), np.where(mask, y, 0.0)


def _pairs(x: Float64Array) -> Float64Array:
    return np.sign(x[:, :, None] - x[:, None, :])


def _ranks(x: Float64Array, mask: npt.NDArray[np.bool_]) -> Float64Array:
    above = (0.5 * (_pairs(x) + 1.0) * mask[:, None, :]).sum(axis=2)
    return np.where(mask, above, np.nan)


def _places(x: Float64Array, y: Float64Array, mask: npt.NDArray[np.bool_]) -> Float64Array:
    order = np.lexsort((np.where(mask, -y, np.inf), np.where(mask, -x, np.inf)), axis=1)
    places = np.empty_like(x)
    np.put_along_axis(places, order, np.broadcast_to(np.arange(x.shape[1], dtype=np.float64), x.shape), axis=1)
    return places


def _tau(
    x: Float64Array, y: Float64Array, mask: npt.NDArray[np.bool_], weights: Float64Array, *, constant: bool = False
) -> Float64Array:
    pair = (mask[:, :, None] & mask[:, None, :]).astype(np.float64)
    if not constant:
        pair *= weights[:, :, None] + weights[:, None, :]
    sx, sy = _pairs(x), _pairs(y)
    agree = (pair * sx * sy).sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        tau = agree / np.sqrt((pair * sx * sx).sum(axis=(1, 2)) * (pair * sy * sy).sum(axis=(1, 2)))
    return np.where(np.isfinite(tau), np.clip(tau, -1.0, 1.0), np.nan)
