"""Rate reduction: what the labels save in coding the rows."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import io
from featdiv.errors import InputError, NotEnoughData
from featdiv.metrics import jackknife
from featdiv.metrics.labelled.inputs import (
    opened,
    provenance_of,
    read_parts,
    require_classes,
    resolve_classes,
    root_of,
)
from featdiv.metrics.labelled.rows import ClassRows, LabelledRows
from featdiv.results import Interval, Provenance, Score
from featdiv.stats import ClassMoments, arguments, class_parts, partition, resampling
from featdiv.stats.budget import budget_bytes, require

Float64Array = npt.NDArray[np.float64]

NEGLIGIBLE = 1e10
"""Multiply-adds that take about a fifth of a second on two cores."""


def core(classes: ClassMoments, eps_squared: float = 0.5) -> float:
    """Returns the rate reduction, from class moments with the scatter of each class; see `rate_reduction`."""
    check_distortion(eps_squared)
    require_classes(classes)
    return _reduction(_whole(classes, eps_squared), _class_rate(classes, _rates(classes, eps_squared)))


def check_distortion(eps_squared: float) -> None:
    """Raises `InputError` unless the distortion is positive."""
    arguments.number("rate_reduction", "eps_squared", eps_squared, "a number above 0", lambda eps: eps > 0.0)


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
    root = _root(matrix)
    along = scipy.linalg.solve_triangular(root, mean, lower=True, check_finite=False)
    return float(np.log(np.diagonal(root)).sum()) + 0.5 * float(np.log1p(a * n * (along @ along)))


def _root(matrix: Float64Array) -> Float64Array:
    try:
        return root_of(matrix, beside="eps_squared")
    except NotEnoughData as error:
        raise NotEnoughData(f"rate_reduction: {error}") from None


def _dual_rate(kernel: Float64Array, along: Float64Array, square: float, d: int, eps_squared: float) -> float:
    """Returns what `_rate` does, for n < d rows: det(I + a Z^T Z) = det(I + a Z Z^T).

    Args:
        kernel: Z Z^T, of rows about their mean; overwritten.
        along: Z mean.
        square: |mean|^2.
        d: features.
        eps_squared: squared distortion.
    """
    import scipy.linalg

    n = len(kernel)
    a = d / (n * eps_squared)
    kernel *= a
    kernel[np.diag_indices_from(kernel)] += 1.0
    root = _root(kernel)
    solved = scipy.linalg.solve_triangular(root, along, lower=True, check_finite=False)
    # mean^T (I + a Z^T Z)^-1 mean by the identity of Woodbury.
    length = max(0.0, square - a * float(solved @ solved))
    return float(np.log(np.diagonal(root)).sum()) + 0.5 * float(np.log1p(a * n * length))


def _rates_of_rows(
    part: ClassRows, mean: Float64Array, eps_squared: float, part_of: npt.NDArray[np.int64] | None, parts: int
) -> Float64Array:
    """Returns the rate of a class, and that without each part of its rows in turn: (1 + parts,).

    Args:
        part: the rows of the class.
        mean: their mean.
        eps_squared: squared distortion.
        part_of: (n_c,) part of each row; None for no parts.
        parts: number of parts.
    """
    d = len(mean)
    found = np.empty(1 + parts)
    if part.n < d:
        z = np.concatenate([part.block(start) for start in part.starts()]) - mean
        kernel, along, square = z @ z.T, z @ mean, float(mean @ mean)
        found[0] = _dual_rate(kernel.copy(), along, square, d, eps_squared)
        for left in range(parts):
            rest = np.flatnonzero(part_of != left)
            found[1 + left] = _dual_rate(*_centred(kernel[np.ix_(rest, rest)], along[rest], square), d, eps_squared)
        return found
    scatters, sums = np.zeros((max(1, parts), d, d)), np.zeros((max(1, parts), d))
    counts = np.zeros(max(1, parts))
    for start in part.starts():
        z = part.block(start) - mean
        places = np.zeros(len(z), dtype=np.int64) if part_of is None else part_of[start : start + len(z)]
        for place in np.unique(places).tolist():
            some = z if part_of is None else z[places == place]
            scatters[place] += some.T @ some
            sums[place] += some.sum(axis=0)
            counts[place] += len(some)
    whole = scatters.sum(axis=0)
    found[0] = _rate(whole, mean, part.n, eps_squared)
    for left in range(parts):
        n = part.n - int(counts[left])
        offset = -sums[left] / n  # the sums about the mean of all cancel
        scatter = whole - scatters[left] - n * np.outer(offset, offset)
        found[1 + left] = _rate(scatter, mean + offset, n, eps_squared)
    return found


def _centred(kernel: Float64Array, along: Float64Array, square: float) -> tuple[Float64Array, Float64Array, float]:
    """Moves Z Z^T, Z m and |m|^2 to the mean of the rows of Z, which lies at their mean from m."""
    rows = kernel.mean(axis=1)
    spread = float(rows.mean())
    towards = float(along.mean())
    moved = kernel - rows[:, None] - rows + spread
    return moved, along - towards + rows - spread, max(0.0, square + 2.0 * towards + spread)


def _rates_of_source(
    source: io.Embeddings,
    classes: ClassMoments,
    rests: jackknife.Rests,
    *,
    eps_squared: float,
    ignore: int | str | None = None,
    normalize: str | None = None,
    memory: int,
) -> tuple[Float64Array, Interval | None, str]:
    """Returns (rate of each class, interval of the rate reduction, why there is none); see `of_source`."""
    d, g, reason = classes.d, len(rests.without), rests.reason
    side = min(d, int(classes.counts.max(initial=0)))
    needed = 8 * (3 * side * side + 2 * side * d)
    require(
        needed,
        memory,
        function="rate_reduction",
        what=f"the second moments of a class of {d} features",
        advice="Raise memory=, or take fewer features.",
    )
    if g and needed + 8 * g * d * d > memory:
        g, reason = 0, f"the second moments of {g} parts of a class do not fit the memory budget"
    sides = np.minimum(classes.counts, d).astype(np.float64)
    cost, taken = g * float((sides**3).sum()) / 3.0, classes.n * d * d + float((classes.counts * sides).sum()) * d
    if rests.asked == "auto" and cost > max(taken / 5.0, NEGLIGIBLE):
        g, reason = 0, "it would cost more than a fifth of the pass; ask with interval='jackknife'"
    part_of = class_parts.part_of_rows(source, rests.parts, ignore=ignore) if g else None
    rows = LabelledRows.of(source, function="rate_reduction", ignore=ignore, normalize=normalize)
    rates = np.empty((classes.c, 1 + g))
    for k, part in rows.each_class():
        places = None if part_of is None else part_of[part.index]
        rates[k] = _rates_of_rows(part, classes.means[k], eps_squared, places, g)
    if not g:
        return rates[:, 0], None, reason
    without = [
        _whole(rest, eps_squared) - _class_rate(rest, rates[:, 1 + place]) for place, rest in enumerate(rests.without)
    ]
    shares = np.array([1.0 - rest.n / classes.n for rest in rests.without])
    value = _reduction(_whole(classes, eps_squared), _class_rate(classes, rates[:, 0]))
    corrected, error = resampling.jackknife(value, np.array(without), shares)
    # Every class has a covariance of its own, so it takes that many rows in each to reach the population.
    population = int(classes.counts.min()) >= resampling.POPULATION_ROWS_PER_FEATURE * d
    interval = resampling.symmetric(
        corrected if population else value,
        error,
        groups=g,
        method="jackknife, bias-corrected" if population else "jackknife",
        estimand="population" if population else f"expected at n={classes.n}, d={d}",
    )
    return rates[:, 0], interval, ""


def rate_reduction(
    x: Any,
    labels: Any = None,
    *,
    eps_squared: float = 0.5,
    normalize: str | None = None,
    ignore: int | str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    interval: str | None = None,
    groups: Any = None,
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
        interval: None for no interval; ``"auto"`` for a 95 % jackknife interval where it costs less than a fifth of the
            pass; ``"jackknife"`` for one at any cost, or an error that says why there is none. For rows only.
        groups: (n,) group ids (video, patient, document): the jackknife leaves whole groups out; for rows only.
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
    jackknife.check("rate_reduction", interval)
    limit = budget_bytes(memory, function="rate_reduction")
    if isinstance(x, ClassMoments):
        resolved = resolve_classes(
            x,
            labels,
            function="rate_reduction",
            normalize=normalize,
            ignore=ignore,
            per_class=True,
            interval=interval,
            groups=groups,
        )
        classes, provenance = resolved.statistic, resolved.provenance
        _require_classes(classes)
        return _score(classes, _rates(classes, eps_squared), provenance, eps_squared, rests=resolved.rests)
    with opened(x, labels, function="rate_reduction", groups=groups) as source:
        classes, rests = read_parts(
            source,
            function="rate_reduction",
            interval=interval,
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
            return _demanded(
                _score(classes, _rates(classes, eps_squared), provenance, eps_squared, rests=rests), interval
            )
        score = of_source(
            source,
            classes,
            rests,
            provenance,
            eps_squared=eps_squared,
            ignore=ignore,
            normalize=normalize,
            memory=limit,
        )
    return _demanded(score, interval)


def of_source(
    source: io.Embeddings,
    classes: ClassMoments,
    rests: jackknife.Rests,
    provenance: Provenance,
    *,
    eps_squared: float = 0.5,
    ignore: int | str | None = None,
    normalize: str | None = None,
    memory: int,
) -> Score:
    """Returns the score of rows whose class moments are known, in one more pass.

    Args:
        source: labelled rows.
        classes: their class moments.
        rests: those without each part of the rows, for the interval.
        provenance: how they were made.
        eps_squared, ignore, normalize: as in `rate_reduction`.
        memory: budget in bytes.

    Raises:
        NotEnoughData: if there is one class.
        BudgetExceeded: if the matrix of a class does not fit.
    """
    _require_classes(classes)
    rates, interval, reason = _rates_of_source(
        source, classes, rests, eps_squared=eps_squared, ignore=ignore, normalize=normalize, memory=memory
    )
    rests = dataclasses.replace(rests, reason=reason)
    provenance = dataclasses.replace(provenance, passes=2)
    return _score(classes, rates, provenance, eps_squared, rests=rests, interval=interval)


def _demanded(score: Score, interval: str | None) -> Score:
    if interval == "jackknife" and score.interval is None:
        raise partition.refused("rate_reduction", score.provenance.notes[-1].removeprefix("no interval: "))
    return score


def _score(
    classes: ClassMoments,
    rates: Float64Array,
    provenance: Provenance,
    eps_squared: float,
    *,
    rests: jackknife.Rests,
    interval: Interval | None = None,
) -> Score:
    whole, class_rate = _whole(classes, eps_squared), _class_rate(classes, rates)
    arguments: dict[str, Any] = {"eps_squared": eps_squared}
    notes: tuple[str, ...] = ()
    if rests.asked is not None:
        arguments["interval"] = rests.asked
        notes = () if interval is not None else (f"no interval: {rests.reason}",)
    return Score(
        name="rate_reduction",
        scores={"rate_reduction": _reduction(whole, class_rate)},
        intervals={"rate_reduction": interval} if interval is not None else {},
        details={"rate": whole, "class_rate": class_rate, "classes": classes.c},
        provenance=dataclasses.replace(
            provenance,
            arguments={**provenance.arguments, **arguments},
            notes=(*provenance.notes, *notes),
        ),
    )


def _require_classes(classes: ClassMoments) -> None:
    try:
        require_classes(classes)
    except NotEnoughData as error:
        raise NotEnoughData(f"rate_reduction: {error}") from None
