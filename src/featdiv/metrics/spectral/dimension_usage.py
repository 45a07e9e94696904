"""Dimension usage: how the variance is spread over the feature dimensions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import NotEnoughData
from featdiv.metrics.spectral.eigenvalues import CONSTANT, Float64Array
from featdiv.metrics.spectral.inputs import resolve_moments
from featdiv.results import Result
from featdiv.stats import Moments


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DimensionUsage(Result):
    """Result of `dimension_usage`.

    Attributes:
        variances: (d,) float64, unbiased variance of each dimension.
    """

    variances: Float64Array

    _array_fields = ("variances",)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value:.6g}" for name, value in self.scores.items())
        return f"DimensionUsage({shown})"

    @property
    def dead_dimensions(self) -> int:
        """Dimensions without variance."""
        return int(self.read("dead_dimensions"))

    @property
    def variance_gini(self) -> float:
        """Gini coefficient of the variances of all dimensions, dead ones included."""
        return self.read("variance_gini")

    @property
    def largest_variance_share(self) -> float:
        """Largest share of the summed variance in one dimension."""
        return self.read("largest_variance_share")


def dead_dimensions(moments: Moments) -> npt.NDArray[np.bool_]:
    """Returns which dimensions are constant, up to the rounding of float64."""
    variation = np.diagonal(moments.scatter)
    return np.asarray(variation <= CONSTANT * moments.n * moments.mean**2)


def variance_gini(moments: Moments) -> float:
    """Returns the Gini coefficient sum_i (2i - d - 1) v_i / (d sum(v)) of the ascending variances v."""
    v = np.sort(_variation(moments))
    rank = np.arange(1, v.size + 1)
    return float((2 * rank - v.size - 1) @ v) / (v.size * float(v.sum()))


def largest_variance_share(moments: Moments) -> float:
    """Returns max(v) / sum(v) of the variances v."""
    v = _variation(moments)
    return float(v.max() / v.sum())


def core(moments: Moments) -> float:
    """Returns the number of dead dimensions, the score that exists for any two rows."""
    return float(np.count_nonzero(dead_dimensions(moments)))


CORES: dict[str, Callable[[Moments], float]] = {
    "dead_dimensions": core,
    "variance_gini": variance_gini,
    "largest_variance_share": largest_variance_share,
}
"""Score name to its pure core."""


def _variation(moments: Moments) -> Float64Array:
    dead = dead_dimensions(moments)
    if dead.all():
        raise NotEnoughData("the features are constant: no dimension has variance")
    return np.where(dead, 0.0, np.diagonal(moments.scatter))


def dimension_usage(
    x: Any,
    *,
    normalize: str | None = None,
    precision: str = "float32",
    backend: str = "auto",
) -> DimensionUsage:
    """Dimension usage: dead dimensions, Gini coefficient of the variances, largest share of variance in one.

    With v the d variances of the feature dimensions, ascending: the number that are zero, the Gini
    coefficient sum_i (2i - d - 1) v_i / (d sum(v)), and max(v)/sum(v). They depend on the axes in which the
    features come: a rotation changes them, and leaves the spectrum as it is.

    Args:
        x: `Moments`, a `Spectrum` with moments, or rows (array, path, source).
        normalize: ``"l2"`` to divide each row by its norm first; for rows only.
        precision: arithmetic of the second moments; for rows only.
        backend: backend of the second moments; for rows only.

    Returns:
        A `DimensionUsage`: ``dead_dimensions`` (0 to d), ``variance_gini`` (0 for equal variances, 1 - 1/d
        for one live dimension), ``largest_variance_share`` (1/d to 1). The last two are undefined if all are
        dead.

    Raises:
        NotEnoughData: if there is one row.
        InputError: if ``x`` holds no moments.

    Complexity:
        O(n d^2) for rows, O(d log d) from `Moments`.

    Source:
        Hurley & Rickard 2009 for the Gini coefficient as a measure of sparsity.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.array([[1.0, 0.0, 7.0], [3.0, 0.0, 1.0]])  # variances 2, 0, 18
        >>> usage = featdiv.dimension_usage(x)
        >>> usage.dead_dimensions, round(usage.variance_gini, 6), round(usage.largest_variance_share, 6)
        (1, 0.6, 0.9)
    """
    resolved = resolve_moments(x, function="dimension_usage", normalize=normalize, precision=precision, backend=backend)
    moments = resolved.statistic
    if moments.n < 2:
        raise NotEnoughData(f"dimension_usage: a variance needs at least 2 rows; got {moments.n}")
    scores: dict[str, float] = {}
    undefined: dict[str, str] = {}
    for name, function in CORES.items():
        try:
            scores[name] = function(moments)
        except NotEnoughData as error:
            undefined[name] = str(error)
    return DimensionUsage(
        scores=scores,
        undefined=undefined,
        provenance=resolved.provenance,
        variances=np.diagonal(moments.scatter) / (moments.n - 1),
    )
