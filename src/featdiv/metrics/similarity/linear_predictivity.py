"""Linear predictivity: how much of one representation a ridge regression from the other explains on unseen rows.

Everything follows from moments. With S the scatter of x in the training rows, V its eigenvectors, L its eigenvalues and
B = V^T C, C the cross scatter, the ridge weights are V (L + lambda)^-1 B. Their residual on the training rows is
tr S_y - sum_i |B_i|^2 (L_i + 2 lambda) / (L_i + lambda)^2, of which generalised cross-validation divides the mean by
(1 - (1 + sum_i L_i / (L_i + lambda)) / n)^2. The residual on a left-out part follows from that part's moments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from featdiv.errors import InputError, NotEnoughData
from featdiv.metrics.similarity.inputs import Resolved, make_score, named, resolve_pair
from featdiv.ops._blas import one_thread
from featdiv.results import Score
from featdiv.stats import CrossMoments
from featdiv.stats.moments import Float64Array

LAMBDAS = np.logspace(-8.0, 4.0, 61)
"""Grid of lambda, in units of the mean eigenvalue of the scatter of x."""

LEAST_PARTS = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
    """Ridge regression on all parts but one.

    Attributes:
        weights: (d_x, d_other).
        penalty: lambda, in the units of the scatter.
    """

    weights: Float64Array
    penalty: float


def core(parts: Sequence[CrossMoments], *, x: str = "x", other: str = "other") -> float:
    """Returns the out-of-sample R^2 from one model to another; see `linear_predictivity`.

    Args:
        parts: statistics of the parts of the rows, each left out in turn.
        x: the model that predicts.
        other: the model that is predicted.
    """
    return float(predict(parts, x=x, other=other)["r_squared"])


def predict(parts: Sequence[CrossMoments], *, x: str = "x", other: str = "other") -> dict[str, Any]:
    """Returns the out-of-sample R^2 and the penalty of every fold.

    Raises:
        NotEnoughData: if there are fewer than two parts, or a side is constant.
    """
    if len(parts) < LEAST_PARTS:
        raise NotEnoughData(f"ridge regression is tested on parts left out; the rows make {len(parts)} part")
    # Merging costs the square of all features, so models that are not asked about are left out first.
    parts = [part.select(*dict.fromkeys((x, other))) for part in parts]
    residual, variation, penalties = 0.0, 0.0, []
    for place, part in enumerate(parts):
        train = _merged([*parts[:place], *parts[place + 1 :]])
        fit = ridge(train, x=x, other=other)
        penalties.append(fit.penalty)
        left, found = _on_part(fit, train, part, x=x, other=other)
        residual += left
        variation += found
    if not variation > 0.0:
        raise NotEnoughData(f"the rows of {other} are all the same")
    return {"r_squared": 1.0 - residual / variation, "penalties": penalties, "folds": len(parts)}


def _merged(parts: Sequence[CrossMoments]) -> CrossMoments:
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    return merged


def ridge(moments: CrossMoments, *, x: str, other: str) -> Fit:
    """Fits ridge regression from x to other, with the lambda that generalised cross-validation likes best."""
    import scipy.linalg

    side, target, cross = moments.moments(x), moments.moments(other), moments.cross(x, other)
    trace = float(np.trace(side.scatter))
    if not trace > 0.0:
        raise NotEnoughData(f"the rows of {x} are all the same")
    with one_thread(len(side.scatter)):
        values, vectors = scipy.linalg.eigh(side.scatter, check_finite=False, driver="evd")
    values = np.maximum(values, 0.0)
    along = vectors.T @ cross
    strength = np.einsum("ij,ij->i", along, along)
    penalties = LAMBDAS * trace / side.d
    shrunk = values[None, :] + penalties[:, None]
    residual = float(np.trace(target.scatter)) - (strength * (values + 2.0 * penalties[:, None]) / shrunk**2).sum(
        axis=1
    )
    freedom = 1.0 + (values / shrunk).sum(axis=1)
    # Where the fit has as many degrees of freedom as rows, nothing is left to judge it by.
    left = np.maximum(1.0 - freedom / moments.n, 1e-6)
    best = int(np.argmin(np.maximum(residual, 0.0) / left**2))
    penalty = float(penalties[best])
    return Fit(weights=vectors @ (along / (values + penalty)[:, None]), penalty=penalty)


def _on_part(fit: Fit, train: CrossMoments, part: CrossMoments, *, x: str, other: str) -> tuple[float, float]:
    """Returns (residual, variation about the training mean) of the part's rows: sums of squares."""
    side, target = part.moments(x), part.moments(other)
    from_x = side.mean - train.moments(x).mean
    from_y = target.mean - train.moments(other).mean
    explained = fit.weights.T @ from_x
    within = (
        float(np.trace(target.scatter))
        - 2.0 * float(np.einsum("ij,ij->", fit.weights, part.cross(x, other)))
        + float(np.einsum("ij,ij->", fit.weights, side.scatter @ fit.weights))
    )
    gap = from_y - explained
    return max(0.0, within) + part.n * float(gap @ gap), float(np.trace(target.scatter)) + part.n * float(
        from_y @ from_y
    )


def linear_predictivity(
    x: Any,
    other: Any = None,
    *,
    normalize: str | None = None,
    precision: str | None = None,
    backend: str = "auto",
) -> Score:
    """Linear predictivity: R^2 = 1 - |Y - f(X)|^2 / |Y - mean|^2 of ridge regression, on rows left out of the fit.

    The rows are dealt to five parts (slabs, or the groups that ``x`` carries, whole); each is predicted from the
    others, with the lambda of generalised cross-validation on those others. One number for all features of the other
    side, which counts them by variance. Not symmetric: ``details["backwards"]`` is the way back.

    Args:
        x: rows (array, path, source) that predict; or a list of `CrossMoments` of two models, one for each part.
        other: the same rows in another representation, which is predicted; None with `CrossMoments`.
        normalize: ``"l2"`` to divide each row by its norm first.
        precision: arithmetic of the products; None for float64.
        backend: backend of the products.

    Returns:
        A `Score` of at most 1; below 0 if the fit predicts worse than the mean does.

    Raises:
        NotEnoughData: if a side is constant, or there are too few rows for two parts.
        InputError: if the two do not hold the same rows.

    Complexity:
        n (d_x + d_y)^2 multiply-adds and five times O(d_x^3 + d_x^2 d_y).

    Source:
        Hoerl & Kennard 1970; Golub, Heath & Wahba 1979 for the choice of lambda; Yamins et al. 2014 for the use.

    Example:
        >>> import featdiv, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(400, 3))
        >>> y = x[:, :1] + rng.normal(size=(400, 1))  # half of the variance of y comes from x
        >>> abs(float(featdiv.linear_predictivity(x, y)) - 0.5) < 0.1
        True
    """
    if isinstance(x, (list, tuple)) and x and all(isinstance(part, CrossMoments) for part in x):
        return _of_parts(list(x), other, normalize)
    if isinstance(x, CrossMoments):
        raise InputError(
            "linear_predictivity: x: expected rows, or a list of CrossMoments of parts of the rows, since each part is "
            "predicted from the others; got one CrossMoments"
        )
    resolved = resolve_pair(
        x,
        other,
        function="linear_predictivity",
        normalize=normalize,
        precision=precision,
        backend=backend,
        exact=True,
        parts=True,
    )
    return _score(resolved.parts, resolved)


def _of_parts(parts: list[CrossMoments], other: Any, normalize: str | None) -> Score:
    whole = resolve_pair(
        _merged(parts),
        other,
        function="linear_predictivity",
        normalize=normalize,
        precision=None,
        backend="auto",
        exact=True,
    )
    return _score(parts, whole)


def _score(parts: Sequence[CrossMoments], whole: Resolved) -> Score:
    name, target = whole.total.names
    with named("linear_predictivity"):
        forth, back = predict(parts, x=name, other=target), predict(parts, x=target, other=name)
    return make_score(
        "linear_predictivity",
        forth["r_squared"],
        whole.provenance,
        details={"backwards": back["r_squared"], "folds": forth["folds"], "penalties": forth["penalties"]},
    )
