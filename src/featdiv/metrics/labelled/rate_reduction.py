"""Rate reduction: what the labels save in coding the rows."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError, NotEnoughData
from featdiv.metrics.labelled.inputs import opened, provenance_of, read_classes, require_classes, resolve_classes
from featdiv.metrics.labelled.rows import ClassRows, LabelledRows
from featdiv.results import Provenance, Score
from featdiv.stats import ClassMoments
from featdiv.stats.budget import budget_bytes, require

Float64Array = npt.NDArray[np.float64]


def core(classes: ClassMoments, eps_squared: float = 0.5) -> float:
    """Returns the rate reduction, from class moments with the scatter of each class; see `rate_reduction`."""
    check_distortion(eps_squared)
    require_classes(classes)
    return _reduction(_whole(classes, eps_squared), _class_rate(classes, _rates(classes, eps_squared)))


def check_distortion(eps_squared: float) -> None:
    """Raises `InputError` unless the distortion is positive."""
    if not eps_squared > 0.0:
        raise InputError(f"rate_reduction: eps_squared: expected a number above 0; got {eps_squared!r}")


def _reduction(rate: float, class_rate: float) -> float:
    # ln det is concave, so less than zero is rounding.
    return max(0.0, rate - class_rate)


def _class_rate(classes: ClassMoments, rates: Float64Array) -> float:
    return float(classes.counts @ rates) / classes.n


def _whole(classes: ClassMoments, eps_squared: float) -> float:
    return _rate(classes.within + classes.between(), classes.mean, classes.n, eps_squared)


def _rates(classes: ClassMoments, eps_squared: float) -> Float64Array:
    if classes.scatters is None:
        raise InputError("rate_reduction: x: expected class moments with the scatter of each class (per_class=True)")
    parts = zip(classes.scatters, classes.means, classes.counts.tolist(), strict=True)
    return np.array([_rate(scatter, mean, n, eps_squared) for scatter, mean, n in parts])


def _rate(scatter: Float64Array, mean: Float64Array, n: int, eps_squared: float) -> float:
    """Returns 1/2 ln det(I + a X^T X), a = d/(n eps^2), with X^T X = scatter + n mean mean^T.

    The mean comes in by the matrix determinant lemma: a large one would drown the scatter in rounding.
    """
    import scipy.linalg

    a = len(mean) / (n * eps_squared)
    matrix = a * scatter
    matrix[np.diag_indices_from(matrix)] += 1.0
    root = scipy.linalg.cholesky(matrix, lower=True, overwrite_a=True, check_finite=False)
    along = scipy.linalg.solve_triangular(root, mean, lower=True, check_finite=False)
    return float(np.log(np.diagonal(root)).sum()) + 0.5 * float(np.log1p(a * n * (along @ along)))


def _dual_rate(z: Float64Array, mean: Float64Array, eps_squared: float) -> float:
    """Returns what `_rate` does, from n < d rows about their mean: det(I + a Z^T Z) = det(I + a Z Z^T)."""
    import scipy.linalg

    n, d = z.shape
    a = d / (n * eps_squared)
    matrix = a * (z @ z.T)
    matrix[np.diag_indices_from(matrix)] += 1.0
    root = scipy.linalg.cholesky(matrix, lower=True, overwrite_a=True, check_finite=False)
    along = scipy.linalg.solve_triangular(root, z @ mean, lower=True, check_finite=False)
    # mean^T (I + a Z^T Z)^-1 mean by the identity of Woodbury.
    length = max(0.0, float(mean @ mean) - a * float(along @ along))
    return float(np.log(np.diagonal(root)).sum()) + 0.5 * float(np.log1p(a * n * length))


def _rate_of_rows(part: ClassRows, mean: Float64Array, eps_squared: float) -> float:
    if part.n < len(mean):
        z = np.concatenate([part.block(start) for start in part.starts()]) - mean
        return _dual_rate(z, mean, eps_squared)
    scatter = np.zeros((len(mean), len(mean)))
    for start in part.starts():
        z = part.block(start) - mean
        scatter += z.T @ z
    return _rate(scatter, mean, part.n, eps_squared)


def rate_reduction(
    x: Any,
    labels: Any = None,
    *,
    eps_squared: float = 0.5,
    normalize: str | None = None,
    ignore: int | str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    memory: int | float | str | None = None,
) -> Score:
    """Rate reduction: R(X) - sum_c (n_c/n) R(X_c), R(X) = 1/2 ln det(I + d/(n eps^2) X^T X), in nats.

    The nats for each row that knowing its class saves in a code with mean squared error eps^2: large when the
    whole spreads and each class is small or low-dimensional. R is `coding_rate`, of the rows as they are. Yu
    et al. 2020 divide rows by their norm first (``normalize="l2"``).

    A class of fewer rows than features is taken from the n_c x n_c matrix of its rows, a larger one from its
    d x d matrix, one class at a time.

    Args:
        x: `ClassMoments` made with ``per_class=True``, or rows (array, path, source, iterable).
        labels: one integer or string for each row; None where ``x`` carries them.
        eps_squared: squared distortion eps^2, in the squared units of the rows.
        normalize: ``"l2"`` to divide each row by its norm first; for rows only.
        ignore: rows with this label are left out; -1, which marks a missing label, is refused otherwise.
        precision: arithmetic of the second moments of the whole (of everything, for an iterable); for rows
            only. Those of the classes are float64.
        backend: backend of the second moments; for rows only.
        memory: budget in bytes or as text (``"8GB"``); None for a quarter of the machine's RAM.

    Returns:
        A `Score` of at least 0; ``details`` has ``rate`` (R of all rows) and ``class_rate`` (the weighted
        mean of those of the classes), whose difference it is.

    Raises:
        NotEnoughData: if there is one class.
        InputError: if eps_squared is not positive, labels are missing or cannot be used, or the moments lack
            the scatter of each class.
        BudgetExceeded: if an iterable, which is read once, has too many classes to keep a matrix of each.

    Complexity:
        n d^2 twice for rows, and d min(n_c, d)^2 for each class; O(c d^3) from `ClassMoments`. Memory O(d^2)
        and 64 MiB of rows; for an iterable O(c d^2).

    Source:
        Yu et al. 2020, section 2.

    Example:
        >>> import featdiv, math, numpy as np
        >>> x = np.eye(2)  # R(X) = 1/2 ln 3^2; of each class, one row, 1/2 ln 5
        >>> round(float(featdiv.rate_reduction(x, [0, 1])) / math.log(3.0 / math.sqrt(5.0)), 6)
        1.0
    """
    check_distortion(eps_squared)
    limit = budget_bytes(memory, function="rate_reduction")
    if isinstance(x, ClassMoments):
        resolved = resolve_classes(
            x, labels, function="rate_reduction", normalize=normalize, ignore=ignore, per_class=True
        )
        classes, provenance = resolved.statistic, resolved.provenance
        _require_classes(classes)
        return _score(classes, _rates(classes, eps_squared), provenance, eps_squared)
    with opened(x, labels, function="rate_reduction") as source:
        classes = read_classes(
            source,
            function="rate_reduction",
            normalize=normalize,
            ignore=ignore,
            precision=precision,
            backend=backend,
            per_class=source.one_pass,
            memory=memory,
        )
        _require_classes(classes)
        provenance = provenance_of(classes, function="rate_reduction", source=source, precision=precision)
        if source.one_pass:
            return _score(classes, _rates(classes, eps_squared), provenance, eps_squared)
        side = min(source.d, int(classes.counts.max(initial=0)))
        require(
            8 * (3 * side * side + 2 * side * source.d),
            limit,
            function="rate_reduction",
            what=f"the second moments of a class of {source.d} features",
            advice="Raise memory=, or take fewer features.",
        )
        rows = LabelledRows.of(source, function="rate_reduction", ignore=ignore, normalize=normalize)
        rates = np.empty(classes.c)
        for k, part in rows.each_class():
            rates[k] = _rate_of_rows(part, classes.means[k], eps_squared)
    return _score(classes, rates, dataclasses.replace(provenance, passes=2), eps_squared)


def _score(classes: ClassMoments, rates: Float64Array, provenance: Provenance, eps_squared: float) -> Score:
    whole, class_rate = _whole(classes, eps_squared), _class_rate(classes, rates)
    return Score(
        name="rate_reduction",
        scores={"rate_reduction": _reduction(whole, class_rate)},
        details={"rate": whole, "class_rate": class_rate, "classes": classes.c},
        provenance=dataclasses.replace(provenance, arguments={**provenance.arguments, "eps_squared": eps_squared}),
    )


def _require_classes(classes: ClassMoments) -> None:
    try:
        require_classes(classes)
    except NotEnoughData as error:
        raise NotEnoughData(f"rate_reduction: {error}") from None
