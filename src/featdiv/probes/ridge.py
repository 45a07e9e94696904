"""`ridge_probe`: a linear read-out by least squares, in closed form at every strength of the penalty."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import io
from featdiv.errors import InputError, NotEnoughData
from featdiv.io.caller import called_by
from featdiv.metrics.labelled.inputs import opened, provenance_of, read_classes, require_classes, speaking_for
from featdiv.metrics.transferability.labelled_blocks import require_two_readings
from featdiv.metrics.transferability.regression import LinearMoments, check_targets, read_targets
from featdiv.probes import ridge_evaluation as evaluation
from featdiv.probes.ridge_evaluation import Evaluation
from featdiv.probes.ridge_path import RidgePath
from featdiv.probes.ridge_result import RidgeProbe
from featdiv.results import Interval, Provenance
from featdiv.stats import ClassMoments, grouped
from featdiv.stats.moments import Float64Array

FUNCTION = "ridge_probe"


def ridge_probe(
    train: Any,
    labels: Any = None,
    *,
    targets: Any = None,
    val: Any = None,
    val_labels: Any = None,
    val_targets: Any = None,
    test: Any = None,
    test_labels: Any = None,
    test_targets: Any = None,
    groups: Any = None,
    val_groups: Any = None,
    test_groups: Any = None,
    lambdas: Any = None,
    leave_one_out: bool = True,
    normalize: str | None = None,
    ignore: int | str | None = None,
    precision: str = "float64",
    backend: str = "auto",
) -> RidgeProbe:
    """Ridge probe: minimises sum_i |y_i - b - W^T x_i|^2 + lambda |W|^2 for every lambda, y one-hot or numbers.

    One pass makes the moments, one eigendecomposition of the scatter gives the whole path with its generalised
    cross-validation, and one more reading the exact leave-one-out predictions of every strength, by the diagonal
    of the hat matrix. The label predicted is that of the largest output; ties go to the first class. It is
    `sklearn.linear_model.RidgeClassifier(alpha=lambda)`, or `Ridge` with targets.

    The strength is chosen by accuracy (R^2) on ``val``, else by leaving one out, else by generalised
    cross-validation; among equals, the strongest. The model is fitted to ``train`` alone.

    Args:
        train: `ClassMoments`, or rows (array, path, source; an iterable without leave-one-out).
        labels: one integer or string for each row of ``train``; None where it carries them, or with ``targets``.
        targets: (n,) or (n, t) numbers to predict in the place of classes.
        val: rows on which to choose the strength.
        val_labels: their labels.
        val_targets: their targets.
        test: rows to judge the chosen strength on.
        test_labels: their labels. A class that ``train`` lacks is an error.
        test_targets: their targets.
        groups: (n,) group of each row of ``train`` (video, patient, document), integers or strings: the intervals of
            accuracies take the rows of a group for alike; see `featdiv.probes.proportion.of_groups`.
        val_groups: the same of ``val``.
        test_groups: the same of ``test``.
        lambdas: strengths, positive; None for 19 from 1e-6 to 1e3 times the mean eigenvalue of the scatter.
        leave_one_out: whether to read ``train`` again for the leave-one-out scores.
        normalize: ``"l2"`` to divide each row by its norm first.
        ignore: rows with this label are left out; -1, which marks a missing label, is refused otherwise.
        precision: arithmetic of the second moments, for labels; targets are read in float64.
        backend: backend of the second moments.

    Returns:
        A frozen `RidgeProbe`. Accuracies have Wilson intervals. The ``loo_accuracy`` is optimistic by the
        choice of the strength on the same rows, which a note says.

    Raises:
        NotEnoughData: if there is one class, or all rows are equal.
        InputError: if an argument cannot be used, or labels or targets are missing.

    Complexity:
        O(n d^2) for the moments, O(d^3), then O(n d^2 + l n d t) for leaving one out; memory O(d^2 + d t).

    Source:
        Hoerl & Kennard 1970; Golub, Heath & Wahba 1979 for generalised cross-validation; Allen 1974 for leaving
        one out by the hat matrix.

    Example:
        >>> import featdiv, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> labels = np.repeat(["cat", "dog"], 50)
        >>> x = rng.normal(size=(100, 5)) + 6.0 * (labels == "dog")[:, None]
        >>> probe = featdiv.ridge_probe(x, labels)
        >>> probe.scores["loo_accuracy"], probe.predict(x[:2]).tolist()
        (1.0, ['cat', 'cat'])
    """
    strengths = check_strengths(lambdas)
    regression = targets is not None
    _check_pairs(
        regression,
        labels=labels,
        val=(val, val_labels, val_targets, val_groups),
        test=(test, test_labels, test_targets, test_groups),
    )
    options = {"normalize": normalize, "ignore": ignore}
    reading = {"precision": precision, "backend": backend}
    sides = {
        name: (rows, numbers if regression else known, alike)
        for name, rows, known, numbers, alike in (
            ("val", val, val_labels, val_targets, val_groups),
            ("test", test, test_labels, test_targets, test_groups),
        )
        if rows is not None
    }
    if isinstance(train, ClassMoments):
        if groups is not None:
            raise InputError(f"{FUNCTION}: groups: expected None with ClassMoments, which no longer hold the rows")
        fitted = _fitted(train, labels, targets, strengths, options, reading)
        return _probe(fitted, None, sides, options)
    with grouped.opened(train, function=FUNCTION, argument="train") as rows:
        source = _annotated(rows, groups, name="groups")
        if leave_one_out:
            require_two_readings(source, function=FUNCTION, what="leave_one_out=True")
        fitted = _fitted(source, labels, targets, strengths, options, reading)
        loo = _left_out(source, labels, targets, fitted, options) if leave_one_out else None
    return _probe(fitted, loo, sides, options)


def check_strengths(lambdas: Any) -> Float64Array | None:
    """Returns strengths sorted, or None.

    Raises:
        InputError: if they are not positive, finite numbers.
    """
    if lambdas is None:
        return None
    try:
        strengths = np.atleast_1d(np.asarray(lambdas, dtype=np.float64))
    except (TypeError, ValueError):
        strengths = np.empty(0)
    if strengths.ndim != 1 or not len(strengths) or not (np.isfinite(strengths) & (strengths > 0.0)).all():
        raise InputError(f"{FUNCTION}: lambdas: expected positive numbers; got {lambdas!r}")
    return np.unique(strengths)


def _annotated(source: io.Embeddings, groups: Any, *, name: str) -> io.Embeddings:
    """Returns a source with groups, where they are given."""
    if groups is None:
        return source
    with called_by(FUNCTION, groups=name):
        return io.open(source, groups=groups)


def _check_pairs(regression: bool, *, labels: Any, **sides: tuple[Any, Any, Any, Any]) -> None:
    if regression and labels is not None:
        raise InputError(f"{FUNCTION}: labels: expected None with targets; got {type(labels).__name__}")
    for name, (rows, known, numbers, alike) in sides.items():
        if rows is None and alike is not None:
            raise InputError(f"{FUNCTION}: {name}_groups: expected the rows in {name}= too; got None")
        wanted, other = ("targets", known) if regression else ("labels", numbers)
        if other is not None:
            given = "labels" if regression else "targets"
            raise InputError(f"{FUNCTION}: {name}_{given}: expected {name}_{wanted}, as train has {wanted}")
        value = numbers if regression else known
        if rows is None and value is not None:
            raise InputError(f"{FUNCTION}: {name}_{wanted}: expected the rows in {name}= too; got None")
        if rows is not None and value is None and (regression or not isinstance(rows, io.Embeddings)):
            raise InputError(f"{FUNCTION}: {name}_{wanted}: expected {wanted} of the rows in {name}; got None")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Fit:
    """A path, the classes it tells apart (None with targets), and how it was made."""

    path: RidgePath
    classes: npt.NDArray[Any] | None
    provenance: Provenance


def _fitted(
    train: Any,
    labels: Any,
    targets: Any,
    strengths: Float64Array | None,
    options: Mapping[str, Any],
    reading: Mapping[str, Any],
) -> _Fit:
    try:
        if targets is None:
            return _fit_classes(train, labels, strengths, **options, **reading)
        return _fit_targets(train, targets, strengths, **options)
    except NotEnoughData as error:
        raise NotEnoughData(f"{FUNCTION}: {str(error).removeprefix(FUNCTION + ': ')}") from None


def _fit_classes(train: Any, labels: Any, strengths: Float64Array | None, **options: Any) -> _Fit:
    if isinstance(train, ClassMoments):
        if labels is not None:
            raise InputError(f"{FUNCTION}: labels: expected None with ClassMoments, which were made with their labels")
        classes, provenance = train, provenance_of(train, function=FUNCTION)
    else:
        with opened(train, labels, function=FUNCTION, names={"source": "train"}) as source:
            classes = read_classes(source, function=FUNCTION, **options)
            provenance = provenance_of(classes, function=FUNCTION, source=source, precision=options["precision"])
    require_classes(classes)
    path = RidgePath.of(LinearMoments.of_classes(classes), strengths)
    return _Fit(path=path, classes=classes.classes, provenance=provenance)


def _fit_targets(
    train: Any, targets: Any, strengths: Float64Array | None, *, normalize: str | None, ignore: Any
) -> _Fit:
    if ignore is not None:
        raise InputError(f"{FUNCTION}: ignore: expected None with targets; got {ignore!r}")
    moments, provenance = read_targets(train, targets, function=FUNCTION, normalize=normalize)
    return _Fit(path=RidgePath.of(moments, strengths), classes=None, provenance=provenance)


def _left_out(source: io.Embeddings, labels: Any, targets: Any, fit: _Fit, options: Mapping[str, Any]) -> Evaluation:
    known = labels if targets is None else check_targets(targets, source.n, function=FUNCTION)
    with _opened_side(source, known, fit.classes, "train") as rows, speaking_for(FUNCTION):
        return evaluation.leave_one_out(rows, fit.path, fit.classes, known, function=FUNCTION, **options)


def _held_out(
    name: str, rows: Any, known: Any, groups: Any, fit: _Fit, options: Mapping[str, Any], at: int | None = None
) -> Evaluation:
    function = f"{FUNCTION}: {name}"
    if fit.classes is None:
        known = check_targets(known, None, function=function)
        if known.shape[1] != fit.path.moments.t:
            raise InputError(f"{FUNCTION}: {name}_targets: expected {fit.path.moments.t} columns; got {known.shape[1]}")
    with _opened_side(rows, known, fit.classes, name) as opened_rows:
        source = _annotated(opened_rows, groups, name=f"{name}_groups")
        if source.d != fit.path.moments.d:
            raise InputError(f"{function}: expected {fit.path.moments.d} features, like train; got {source.d}")
        if fit.classes is not None and source.labels is not None:
            evaluation.check_classes(source.labels, fit.classes, function=FUNCTION, name=name, ignore=options["ignore"])
        return evaluation.held_out(source, fit.path, fit.classes, known, function=function, **options, at=at)


def _probe(
    fit: _Fit, loo: Evaluation | None, sides: Mapping[str, tuple[Any, Any, Any]], options: Mapping[str, Any]
) -> RidgeProbe:
    path = fit.path
    on_val = _held_out("val", *sides["val"], fit, options) if "val" in sides else None
    chosen, chosen_by = _choice(path, loo, on_val)
    on_test = _held_out("test", *sides["test"], fit, options, at=chosen) if "test" in sides else None
    weights, intercept = path.coefficients(chosen)
    scores, intervals = _scores(loo, on_val, on_test, chosen, regression=fit.classes is None)
    notes = list(fit.provenance.notes)
    if chosen_by == "leave-one-out":
        notes.append("the strength was chosen on the rows that the leave-one-out score is of: slightly optimistic")
    return RidgeProbe(
        scores=scores,
        intervals=intervals,
        provenance=dataclasses.replace(
            fit.provenance,
            function=f"featdiv.{FUNCTION}",
            method="eigendecomposition of the scatter",
            passes=(fit.provenance.passes or 0) + (loo is not None),
            notes=tuple(notes),
        ),
        lambdas=path.lambdas,
        degrees_of_freedom=path.degrees,
        gcv=path.generalised_cross_validation(),
        loo=None if loo is None else loo.values,
        val=None if on_val is None else on_val.values,
        chosen=chosen,
        chosen_by=chosen_by,
        classes=fit.classes,
        coefficients=weights,
        intercept=intercept,
        per_class=None if on_test is None else on_test.per_class,
    )


def _opened_side(rows: Any, known: Any, classes: npt.NDArray[Any] | None, name: str) -> Any:
    if classes is None:
        return grouped.opened(rows, function=FUNCTION, argument=name)
    names = {"source": name, "labels": "labels" if name == "train" else f"{name}_labels"}
    return opened(rows, known, function=FUNCTION, names=names)


def _choice(path: RidgePath, loo: Evaluation | None, on_val: Evaluation | None) -> tuple[int, str]:
    for found, by in ((on_val, "validation"), (loo, "leave-one-out")):
        if found is not None:
            return int(np.flatnonzero(found.values == found.values.max())[-1]), by
    errors = path.generalised_cross_validation()
    return int(np.flatnonzero(errors == errors.min())[-1]), "gcv"


def _scores(
    loo: Evaluation | None,
    on_val: Evaluation | None,
    on_test: Evaluation | None,
    chosen: int,
    *,
    regression: bool,
) -> tuple[dict[str, float], dict[str, Interval]]:
    scores: dict[str, float] = {}
    intervals: dict[str, Interval] = {}
    kind = "r2" if regression else "accuracy"
    for name, found, place in (("loo", loo, chosen), ("val", on_val, chosen), ("test", on_test, 0)):
        if found is None:
            continue
        scores[f"{name}_{kind}"] = float(found.values[place])
        interval = None if regression else found.interval(place)
        if interval is not None:
            intervals[f"{name}_{kind}"] = interval
    if on_test is not None and on_test.per_class is not None:
        scores["test_mean_per_class"] = float(np.nanmean(on_test.per_class))
    return scores, intervals
