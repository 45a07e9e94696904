"""What a labelled score may be given, and the class moments that it becomes.

Every public function takes rows with labels (an array, a path, an `Embeddings`, an iterable of chunks, with
``labels=`` unless they carry their own), and, where moments are enough, `ClassMoments`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from featdiv import __version__, io
from featdiv.errors import BudgetExceeded, InputError, NotEnoughData, RowError
from featdiv.io.caller import called_by
from featdiv.metrics import jackknife
from featdiv.metrics.spectral.eigenvalues import Eigenvalues
from featdiv.metrics.spectral.inputs import Resolved, is_spectrum
from featdiv.results import Provenance
from featdiv.stats import ClassMoments, Moments, arguments, class_parts
from featdiv.stats.class_labels import as_labels
from featdiv.stats.grouped import DROP_THEM, LEAVE_THEM_OUT
from featdiv.stats.moments import Float64Array

_ACCUMULATOR = "ClassMoments.from_source"
_NAMES: Mapping[str, str] = {"source": "x"}


def root_of(matrix: Float64Array, *, beside: str) -> Float64Array:
    """Returns the lower Cholesky factor of sums of products to whose diagonal something was added; overwrites them.

    Args:
        matrix: (d, d), positive definite but for rounding.
        beside: the argument that says what was added.

    Raises:
        NotEnoughData: if the rounding of large entries has swallowed it, in features without full rank.
    """
    import scipy.linalg

    try:
        root: Float64Array = scipy.linalg.cholesky(matrix, lower=True, overwrite_a=True, check_finite=False)
    except scipy.linalg.LinAlgError:
        raise NotEnoughData(
            f"the features are so large beside {beside} that float64 cannot hold both in one sum; divide the rows by "
            f"a constant, or raise {beside}"
        ) from None
    return root


def resolve_classes(
    x: Any,
    labels: Any,
    *,
    function: str,
    normalize: str | None = None,
    ignore: int | str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    per_class: bool = False,
    memory: int | float | str | None = None,
    unit_rows: bool = False,
    interval: str | None = None,
    groups: Any = None,
) -> Resolved[ClassMoments]:
    """Returns the class moments that ``x`` and its labels stand for.

    Args:
        x: `ClassMoments`, or rows.
        labels: one integer or string for each row; None for `ClassMoments`, and for a source that has them.
        function: name of the score.
        normalize: ``"l2"`` to divide rows by their norm first.
        ignore: label of rows to leave out.
        precision: arithmetic of the second moments, for rows.
        backend: scatter backend, for rows.
        per_class: whether the scatter of each class is needed.
        memory: budget in bytes, or as text.
        unit_rows: whether the score is defined for rows of norm one only.
        interval: ``"auto"``, ``"jackknife"`` or None.
        groups: group of each row, for rows.

    Raises:
        InputError: if ``x`` is of the wrong kind, or labels are missing or cannot be used.
    """
    if isinstance(x, ClassMoments):
        _refuse_annotations(labels, ignore, function)
        _check_made(x, function=function, normalize=normalize, per_class=per_class, unit_rows=unit_rows)
        rests = jackknife.of_statistic(x, function=function, interval=interval, groups=groups)
        provenance = provenance_of(x, function=function)
        return Resolved(function=function, statistic=x, provenance=provenance, rests=rests)
    jackknife.check(function, interval)
    with opened(x, labels, function=function, groups=groups) as source:
        classes, rests = read_parts(
            source,
            function=function,
            interval=interval,
            normalize="l2" if unit_rows else normalize,
            ignore=ignore,
            precision=precision,
            backend=backend,
            per_class=per_class,
            memory=memory,
        )
        provenance = provenance_of(classes, function=function, source=source, precision=precision)
    return Resolved(function=function, statistic=classes, provenance=provenance, rests=rests)


@contextlib.contextmanager
def opened(
    x: Any, labels: Any, *, function: str, groups: Any = None, names: Mapping[str, str] = _NAMES
) -> Iterator[io.Embeddings]:
    """Opens rows with their labels, and closes them again unless they came open.

    Args:
        x: the rows.
        labels: of each row.
        function: that was called, for errors.
        groups: of each row.
        names: what it calls the source and its annotations.

    Raises:
        InputError: if ``x`` is a statistic without classes, or there are no labels.
    """
    if isinstance(x, (Eigenvalues, Moments)) or is_spectrum(x):
        raise InputError(
            f"{function}: x: expected ClassMoments or labelled rows; got {type(x).__name__}, which no longer knows "
            "the classes. Pass the rows with labels=, or ClassMoments.from_source(rows, labels=...)."
        )
    with called_by(function, **names):
        source = io.open(x, **jackknife.given(labels=labels, groups=groups))
    try:
        # An iterable may hand out its labels with the rows.
        if source.labels is None and not source.one_pass:
            own = names.get("labels", "labels")
            raise InputError(
                f"{function}: {own}: expected one label for each row; got None, and the source has none. "
                f"Pass {own}=, or open the source with featdiv.open(source, labels=...)."
            )
        yield source
    finally:
        if source is not x:
            source.close()


def read_classes(
    source: io.Embeddings,
    *,
    function: str,
    normalize: str | None,
    ignore: int | str | None,
    precision: str,
    backend: str,
    per_class: bool = False,
    memory: int | float | str | None = None,
) -> ClassMoments:
    """Returns the class moments of an open source; errors speak of ``function``."""
    with speaking_for(function):
        return ClassMoments.from_source(
            source,
            normalize=normalize,
            ignore=ignore,
            precision=precision,
            backend=backend,
            per_class=per_class,
            memory=memory,
        )


def read_parts(
    source: io.Embeddings,
    *,
    function: str,
    interval: str | None,
    normalize: str | None,
    ignore: int | str | None,
    precision: str,
    backend: str,
    per_class: bool = False,
    memory: int | float | str | None = None,
) -> tuple[ClassMoments, jackknife.Rests]:
    """Returns the class moments of an open source, and those without each part of its rows where an interval is wanted.

    Raises:
        InputError: if an interval is demanded that cannot be had.
    """
    arguments.check_ignore(function, ignore)
    dealt, reason = 1, ""
    if source.one_pass and interval is not None:
        reason = "an iterable hands out labels with its rows, too late to deal every class to all parts"
    elif interval is not None:
        kept = source.n if ignore is None or source.labels is None else int((source.labels != ignore).sum())
        plan = jackknife.dealt(source, function=function, interval=interval, decomposed=False, n=kept)
        dealt, reason = plan.parts, plan.no_interval
    settings: dict[str, Any] = {"normalize": normalize, "precision": precision, "backend": backend}
    if dealt == 1:
        classes = read_classes(source, function=function, ignore=ignore, per_class=per_class, memory=memory, **settings)
        return classes, jackknife.Rests(asked=interval, reason=reason)
    labelled = source.replaced(labels=as_labels(source.labels, function=function))
    parts = class_parts.read(
        labelled, function=function, parts=dealt, ignore=ignore, per_class=per_class, memory=memory, **settings
    )
    classes = functools.reduce(ClassMoments.merge, parts)
    classes = dataclasses.replace(classes, dropped=(source.n or classes.n) - classes.n)
    return classes, dataclasses.replace(rests_of(parts, classes, interval=interval), parts=dealt)


def rests_of(parts: Sequence[ClassMoments], total: ClassMoments, *, interval: str | None) -> jackknife.Rests:
    """Returns the class moments without each part, or why they will not do."""
    reason = jackknife.too_few(len(parts))
    rests = [] if reason else list(class_parts.without_each(parts))
    if any(rest.c < total.c for rest in rests):
        rests, reason = [], "leaving out a part of the rows would leave out a class"
    return jackknife.Rests(asked=interval, without=rests, reason=reason)


@contextlib.contextmanager
def speaking_for(function: str) -> Iterator[None]:
    """Puts the name of the score into errors about its rows and labels."""
    try:
        yield
    except RowError as error:
        message = str(error).replace(_ACCUMULATOR, function).replace(DROP_THEM, LEAVE_THEM_OUT)
        raise type(error)(message, count=error.count, first_row=error.first_row) from None
    except (InputError, BudgetExceeded) as error:
        raise type(error)(str(error).replace(_ACCUMULATOR, function)) from None


def require_classes(classes: ClassMoments | Sequence[Any], least: int = 2) -> None:
    """Raises NotEnoughData unless there are that many classes."""
    labels = classes.classes.tolist() if isinstance(classes, ClassMoments) else list(classes)
    if len(labels) < least:
        found = f"1, labelled {labels[0]!r}" if labels else "no labelled rows"
        raise NotEnoughData(f"it compares classes and needs at least {least}; got {found}")


def provenance_of(
    classes: ClassMoments, *, function: str, source: io.Embeddings | None = None, precision: str | None = None
) -> Provenance:
    """Returns how class moments were made, for the score of them."""
    provenance = Provenance(
        function=f"featdiv.{function}",
        version=__version__,
        arguments={"normalize": classes.normalize, "classes": classes.c},
        backends={"scatter": classes.backend} if classes.backend else {},
        method="class moments",
        error_bound=classes.error_bound,
        measured_error=classes.measured_error,
        dtype=classes.dtype or None,
        n=classes.n,
        d=classes.d,
        extraction=classes.extraction,
        notes=dropped_note(classes.dropped),
    )
    if source is None:
        return provenance
    return dataclasses.replace(
        provenance,
        precision=precision,
        source=source.description,
        fingerprint=source.fingerprint,
        extraction=source.extraction,
        passes=1,
    )


def dropped_note(dropped: int) -> tuple[str, ...]:
    """Returns the remark that rows were left out, if any were."""
    return (f"{dropped} rows were left out by their label",) if dropped else ()


def _refuse_annotations(labels: Any, ignore: Any, function: str) -> None:
    for argument, value in (("labels", labels), ("ignore", ignore)):
        if value is not None:
            raise InputError(
                f"{function}: {argument}: expected None with ClassMoments, which were made with their labels; got "
                f"{type(value).__name__}. Pass the rows, or give {argument}= to ClassMoments.from_source."
            )


def _check_made(
    classes: ClassMoments, *, function: str, normalize: str | None, per_class: bool, unit_rows: bool
) -> None:
    wanted = "l2" if unit_rows else normalize
    if wanted not in (None, "l2"):
        raise InputError(f"{function}: normalize: expected None or 'l2'; got {normalize!r}")
    if wanted is not None and classes.normalize != wanted:
        raise InputError(
            f"{function}: x: expected class moments of rows with norm one; got those of rows as they are. Rows cannot "
            "be normalised after the fact: make them with ClassMoments.from_source(rows, normalize='l2'), or pass "
            "the rows."
        )
    if per_class and classes.scatters is None:
        raise InputError(
            f"{function}: x: expected class moments with the scatter of each class; got pooled ones. Make them with "
            "ClassMoments.from_source(rows, per_class=True), or pass the rows."
        )
