"""LogME: the largest evidence that a Bayesian linear model of the labels can have."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError, NotEnoughData
from featdiv.metrics.labelled.inputs import require_classes, resolve_classes
from featdiv.metrics.transferability.regression import LinearMoments, read_targets
from featdiv.ops._blas import one_thread
from featdiv.results import Score
from featdiv.stats import ClassMoments
from featdiv.stats.moments import Float64Array

TOLERANCE = 1e-10
"""Relative change of alpha/beta below which the fixed point is taken as reached."""

ITERATIONS = 5000

_FAR = 1e14
"""alpha/beta stays within this factor of the eigenvalues; beyond it the evidence no longer changes."""

_NO_RESIDUE = 1e-12
"""A residual below this share of the sum of squares is rounding."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """The maximum of the log evidence of each target.

    Attributes:
        per_row: (t,) maximum log evidence divided by n.
        alpha: (t,) precision of the weights there.
        beta: (t,) precision of the noise there.
        iterations: fixed-point steps taken by the target that took most.
        converged: (t,) whether alpha/beta came to rest.
    """

    per_row: Float64Array
    alpha: Float64Array
    beta: Float64Array
    iterations: int
    converged: npt.NDArray[np.bool_]


def core(classes: ClassMoments) -> float:
    """Returns LogME of class moments; see `logme`."""
    require_classes(classes)
    return float(evidence(LinearMoments.of_classes(classes)).per_row.mean())


def evidence(moments: LinearMoments) -> Evidence:
    """Returns the maximum log evidence of each target.

    With sigma_i, v_i the eigenpairs of F^T F and z_i^2 = (v_i^T F^T y)^2 / sigma_i, and lambda = alpha/beta:

        gamma = sum sigma/(sigma + lambda)      |m|^2 = sum sigma z^2/(sigma + lambda)^2
        |Fm - y|^2 = y^T y - sum z^2 + sum z^2 lambda^2/(sigma + lambda)^2
        alpha = gamma/|m|^2                     beta = (n - gamma)/|Fm - y|^2

    repeated until alpha/beta rests: the published fixed point, for all targets side by side, without the
    left singular vectors of F.

    Raises:
        NotEnoughData: if the features are zero, or fit a target without residue: its evidence has no maximum.
    """
    import scipy.linalg

    with one_thread(moments.d):
        sigma, vectors = scipy.linalg.eigh(moments.gram(), check_finite=False)
    largest = float(sigma[-1])
    if not largest > 0.0:
        raise NotEnoughData("all features are zero")
    kept = sigma > largest * max(moments.n, moments.d) * np.finfo(np.float64).eps
    if int(kept.sum()) > moments.n:
        kept[: moments.d - moments.n] = False
    sigma = sigma[kept]
    squares = np.square(vectors[:, kept].T @ moments.cross_gram()) / sigma[:, None]
    whole = moments.target_gram()
    outside = np.maximum(whole - squares.sum(axis=0), 0.0)
    if len(sigma) == moments.n:
        # The rows are independent, so every target is a combination of the features.
        outside = np.zeros_like(whole)
    elif (outside <= _NO_RESIDUE * whole).any():
        target = int(np.flatnonzero(outside <= _NO_RESIDUE * whole)[0])
        raise NotEnoughData(
            f"target {target} is a linear function of the features, without residue: its evidence has no maximum"
        )
    ratio, iterations, converged = _fixed_point(sigma, squares, outside, moments.n)
    _, free, length, residual = _terms(sigma, squares, outside, moments.n, ratio)
    beta = free / residual
    log_odds = np.log1p(sigma[:, None] / ratio).sum(axis=0)
    n = moments.n
    alpha = ratio * beta
    value = 0.5 * (n * np.log(beta) - log_odds - beta * residual - alpha * length - n * math.log(2.0 * math.pi))
    return Evidence(per_row=value / n, alpha=alpha, beta=beta, iterations=iterations, converged=converged)


def _terms(
    sigma: Float64Array, squares: Float64Array, outside: Float64Array, n: int, ratio: Float64Array
) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    """Returns gamma, n - gamma, |m|^2 and |Fm - y|^2 of each target at its alpha/beta."""
    share = sigma[:, None] / (sigma[:, None] + ratio)
    rest = ratio / (sigma[:, None] + ratio)
    gamma = share.sum(axis=0)
    free = (n - len(sigma)) + rest.sum(axis=0)
    length = np.einsum("kt,kt,kt->t", share, share, squares / sigma[:, None])
    residual = outside + np.einsum("kt,kt,kt->t", rest, rest, squares)
    return gamma, free, length, residual


def _fixed_point(
    sigma: Float64Array, squares: Float64Array, outside: Float64Array, n: int
) -> tuple[Float64Array, int, npt.NDArray[np.bool_]]:
    t = squares.shape[1]
    low, high = float(sigma.min()) / _FAR, float(sigma.max()) * _FAR
    ratio = np.ones(t)
    active = np.arange(t)
    iterations = 0
    while len(active) and iterations < ITERATIONS:
        iterations += 1
        now = ratio[active]
        gamma, free, length, residual = _terms(sigma, squares[:, active], outside[active], n, now)
        with np.errstate(divide="ignore", over="ignore"):
            after = np.clip(gamma / free * (residual / length), low, high)
        ratio[active] = after
        active = active[np.abs(after - now) > TOLERANCE * now]
    converged = np.ones(t, dtype=bool)
    converged[active] = False
    return ratio, iterations, converged


def logme(
    x: Any,
    labels: Any = None,
    *,
    targets: Any = None,
    normalize: str | None = None,
    ignore: int | str | None = None,
    precision: str = "float64",
    backend: str = "auto",
) -> Score:
    """LogME: the maximum over alpha, beta of ln p(y | F, alpha, beta)/n, averaged over the classes.

    The model is y = F w + noise, w ~ N(0, I/alpha), noise ~ N(0, 1/beta), without an intercept:

        ln p = d/2 ln alpha + n/2 ln beta - 1/2 ln|alpha I + beta F^T F| - beta/2 |Fm - y|^2 - alpha/2 |m|^2
               - n/2 ln(2 pi),     m = beta (alpha I + beta F^T F)^-1 F^T y

    with y the 0/1 column of each class in turn, or each column of ``targets``. F enters by F^T F and F^T y
    alone, so one pass over rows of any number is enough.

    Args:
        x: `ClassMoments`, or rows (array, path, source, iterable).
        labels: one integer or string for each row; None where ``x`` carries them, or with ``targets``.
        targets: (n,) or (n, t) numbers to predict instead of classes; for rows only, read in float64.
        normalize: ``"l2"`` to divide each row by its norm first; for rows only.
        ignore: rows with this label are left out; -1, which marks a missing label, is refused otherwise.
        precision: arithmetic of the second moments; for rows with labels only.
        backend: backend of the second moments; for rows with labels only.

    Returns:
        A `Score` in nats for each row; any sign, and above 1 where the fit is close. ``details`` hold
        ``per_target`` (in the order of the sorted classes), ``alpha``, ``beta``, ``iterations``, ``converged``.

    Raises:
        NotEnoughData: if there is one class, the features are zero, or a linear function of them is a
            target without residue, whose evidence grows without bound.
        InputError: if labels are missing or cannot be used, or both labels and targets are given.

    Complexity:
        O(n d^2) for rows, O(d^3 + c d^2) from `ClassMoments`, whatever n.

    Source:
        You et al. 2021, algorithm 1. Where they stop after a few steps, the fixed point is followed until
        alpha/beta changes by less than 1e-10. With about as many features as rows the evidence can have several
        maxima; as published, the one reached from alpha = beta = 1 is taken.

    Example:
        >>> import featdiv, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> labels = np.repeat([0, 1], 100)
        >>> near, far = rng.normal(size=(2, 200, 4))
        >>> near[labels == 1] += 0.5
        >>> far[labels == 1] += 5.0
        >>> float(featdiv.logme(far, labels)) > float(featdiv.logme(near, labels))
        True
        >>> float(featdiv.logme(far, targets=far[:, 0] + 0.01 * rng.normal(size=200))) > 1.0
        True
    """
    if targets is not None:
        return _of_targets(x, targets, labels=labels, ignore=ignore, normalize=normalize)
    resolved = resolve_classes(
        x,
        labels,
        function="logme",
        normalize=normalize,
        ignore=ignore,
        precision=precision,
        backend=backend,
    )
    try:
        require_classes(resolved.statistic)
        found = evidence(LinearMoments.of_classes(resolved.statistic))
    except NotEnoughData as error:
        raise NotEnoughData(f"logme: {error}") from None
    return resolved.score(lambda classes: float(found.per_row.mean()), details=lambda classes: _details(found))


def _of_targets(x: Any, targets: Any, *, labels: Any, ignore: Any, normalize: str | None) -> Score:
    for argument, value in (("labels", labels), ("ignore", ignore)):
        if value is not None:
            raise InputError(f"logme: {argument}: expected None with targets; got {type(value).__name__}")
    moments, provenance = read_targets(x, targets, function="logme", normalize=normalize)
    try:
        found = evidence(moments)
    except NotEnoughData as error:
        raise NotEnoughData(f"logme: {error}") from None
    return Score(
        name="logme",
        scores={"logme": float(found.per_row.mean())},
        details=_details(found),
        provenance=provenance,
    )


def _details(found: Evidence) -> dict[str, Any]:
    return {
        "per_target": found.per_row.tolist(),
        "alpha": found.alpha.tolist(),
        "beta": found.beta.tolist(),
        "iterations": found.iterations,
        "converged": bool(found.converged.all()),
    }
