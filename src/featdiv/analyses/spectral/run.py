"""`featdiv.spectrum`: one call from rows to a `Spectrum`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from featdiv import __version__
from featdiv.analyses.spectral import methods, plan, scores
from featdiv.analyses.spectral.assemble import (
    FUNCTION,
    Options,
    assemble,
    dropped_note,
    floor_note,
    no_interval_note,
    provenance_of,
    recorded,
)
from featdiv.analyses.spectral.result import Spectrum
from featdiv.errors import InputError, NotEnoughData
from featdiv.metrics.spectral.eigenvalues import Eigenvalues
from featdiv.metrics.spectral.inputs import FLOOR_SHARE
from featdiv.metrics.spectral.left_out import leave_one_out
from featdiv.results import Interval, Provenance
from featdiv.stats import arguments, budget, grouped, partition, resampling
from featdiv.stats.class_labels import as_labels
from featdiv.stats.moments import Moments

if TYPE_CHECKING:
    from featdiv.io import Embeddings
    from featdiv.io.progress import Progress
    from featdiv.stats.grouped import GroupedMoments

_LEAST_CHUNK_ROWS = 256
_CHUNK_SHARE = 8


def spectrum(
    x: Any,
    *,
    center: bool = True,
    normalize: str | None = None,
    labels: Any = None,
    groups: Any = None,
    method: str = "auto",
    precision: str = "float32",
    backend: str = "auto",
    device: str | None = None,
    interval: str | None = "auto",
    memory: int | float | str | None = None,
    nonfinite: str = "raise",
    seed: int = 0,
    progress: Progress | None = None,
) -> Spectrum:
    """Returns the spectrum of rows: eigenvalues, effective dimensions, power law, noise edge, with intervals.

    S = Xc^T Xc / (n - 1) has eigenvalues lambda_1 >= lambda_2 >= …; the centred rows Xc have singular values
    sigma_i = sqrt((n - 1) lambda_i). With ``center=False`` it is X^T X / n and the singular values of X.

    Args:
        x: rows (n, d): a NumPy, torch or CuPy array, a path, an `Embeddings`, an iterable of chunks; or `Moments`
            made elsewhere.
        center: whether to subtract the mean. ``rankme`` is about zero in any case: that is its definition.
        normalize: ``"l2"`` divides each row by its Euclidean norm first.
        labels: (n,) class labels, as `featdiv.open` takes them: gives one spectrum a class, in ``per_class`` (with
            intervals only under ``interval="jackknife"``). -1 marks a missing label: there is none of those rows. None
            for the labels of a source that carries some; those beside the rows of a path are left alone.
        groups: (n,) group ids (video, patient, document): the jackknife leaves whole groups out.
        method: ``"gram"`` (second moments, one pass), ``"svd"`` (direct, for rows that fit in memory), ``"tsqr"``
            (QR chunk by chunk: small singular values of float64 rows), ``"dual"`` (n x n, for n < d),
            ``"randomized"`` (the 256 leading components). ``"auto"`` takes svd for small rows, dual for wide
            ones, randomized above 16,384 features, else gram; and repeats a float32 pass in float64 where more than
            1e-5 of the sum of singular values lies below the float32 floor of 1e-3 sigma_1.
        precision: ``"float32"``, ``"float64"``, ``"mixed"`` or ``"bfloat16"``: arithmetic of the second moments, with
            bounds 1e-6, 1e-14, 2^-14 and 5e-3 on their relative error.
        backend: backend of the second moments.
        device: torch device on which to accumulate; None for where the rows are.
        interval: ``"auto"`` (95 % jackknife intervals where they cost less than a fifth of the pass, or a
            fraction of a second), ``"jackknife"`` (always, or an error that says why there are none), or None for
            no intervals.
        memory: budget, in bytes or as text (``"2GB"``); None for a quarter of the RAM.
        nonfinite: ``"raise"``, or ``"drop"`` for leaving out rows with NaN or infinity (the count is in the notes).
        seed: seed of the spot checks and of the randomised method.
        progress: called with (rows done, rows in all or None) after every chunk.

    Returns:
        A frozen `Spectrum`.

    Raises:
        InputError: if an argument or the rows cannot be used; `NonFiniteError` and `ZeroNormError` name the row.
        NotEnoughData: if there are fewer than two rows, or the features are constant.
        BudgetExceeded: if no plan fits the memory budget.
        BackendUnavailable: if the backend asked for cannot run.

    Warns:
        SmallSampleWarning: once, if there are fewer than five rows for each feature.

    Complexity:
        n d^2 multiply-adds and O(d^3) for the eigenvalues; memory O(d^2) beside one chunk of rows, and twenty times
        that while intervals are wanted.

    Example:
        >>> import featdiv
        >>> from sklearn.datasets import load_digits
        >>> spectrum = featdiv.spectrum(load_digits().data)
        >>> round(spectrum.effective_rank, 1), round(spectrum.participation_ratio, 1)
        (39.7, 13.2)
    """
    arguments.check(
        FUNCTION,
        normalize=normalize,
        precision=precision,
        backend=backend,
        nonfinite=nonfinite,
        seed=seed,
        progress=progress,
        center=center,
    )
    options = Options(
        center=bool(center),
        normalize=normalize,
        method=method,
        precision=precision,
        backend=backend,
        device=grouped.check_device(device, function=FUNCTION),
        interval=interval,
        memory=budget.budget_bytes(memory, function=FUNCTION),
        nonfinite=nonfinite,
        seed=seed,
        progress=progress,
    )
    if isinstance(x, Moments):
        if labels is not None or groups is not None:
            raise InputError(f"{FUNCTION}: labels and groups go with rows; x is Moments, which have forgotten them")
        return of_moments(x, options)
    with grouped.opened(x, function=FUNCTION, labels=labels, groups=groups) as source:
        if labels is None and source is not x:
            # A spectrum a class costs more than the whole: labels that lie beside the rows of a path do not ask for it.
            source = source.replaced(labels=None)
        if source.labels is not None:
            source = source.replaced(labels=as_labels(source.labels, function=FUNCTION))
        whole = of_source(source, options)
        if source.labels is None:
            if labels is not None:
                raise InputError(f"{FUNCTION}: labels: a one-pass source gives labels with its chunks")
            return whole
        from featdiv.analyses.spectral import per_class

        found, skipped = per_class.spectra_by_class(source, options, whole.provenance)
    return dataclasses.replace(whole, per_class=found, per_class_skipped=skipped)


def of_moments(moments: Moments, options: Options) -> Spectrum:
    """Returns the spectrum of rows of which only the moments are left."""
    _require_rows(moments.n)
    if options.normalize is not None and moments.normalize != options.normalize:
        raise InputError(
            f"{FUNCTION}: normalize: expected None with Moments of rows as they are; got {options.normalize!r}. "
            "Make the Moments with normalize='l2'."
        )
    if options.method not in ("auto", "gram"):
        raise InputError(f"{FUNCTION}: method: expected 'auto' or 'gram' with Moments; got {options.method!r}")
    if options.interval == "jackknife":
        raise InputError(f"{FUNCTION}: interval: 'jackknife' needs rows; x is Moments, one part that cannot be divided")
    plan.make(
        method="gram",
        n=moments.n,
        d=moments.d,
        one_pass=False,
        interval=None,
        groups=None,
        memory=options.memory,
        chunk_bytes=0,
        function=FUNCTION,
    )
    eigen, uncentered = _both(moments, options.center)
    provenance = Provenance(
        function=FUNCTION,
        version=__version__,
        arguments=recorded(options) | {"normalize": moments.normalize},
        backends={"scatter": moments.backend} if moments.backend else {},
        method="gram",
        error_bound=moments.error_bound,
        measured_error=moments.measured_error,
        dtype=moments.dtype or None,
        n=moments.n,
        d=moments.d,
        seed=options.seed,
        source="Moments",
        extraction=moments.extraction,
        passes=0,
    )
    return assemble(
        eigen=eigen,
        uncentered=uncentered,
        mean=moments.mean,
        moments=moments,
        intervals={},
        provenance=provenance,
        notes=floor_note(eigen, "the rows are gone; make the Moments with precision='float64'"),
    )


def of_source(source: Embeddings, options: Options) -> Spectrum:
    """Returns the spectrum of the rows of an open source, without its classes."""
    if source.n is not None:
        _require_rows(source.n)
    chosen = plan.make(
        method=options.method,
        n=source.n,
        d=source.d,
        one_pass=source.one_pass,
        interval=options.interval,
        groups=None if source.groups is None else len(np.unique(source.groups)),
        memory=options.memory,
        chunk_bytes=_chunk_rows(source, options) * source.row_bytes,
        function=FUNCTION,
    )
    if chosen.method in ("gram", "svd"):
        return _by_moments(source, options, chosen)
    reader = methods.RowReader(
        source,
        function=FUNCTION,
        normalize=options.normalize,
        nonfinite=options.nonfinite,
        progress=options.progress,
    )
    if chosen.method == "tsqr":
        found = methods.tsqr(reader, center=options.center)
    elif chosen.method == "dual":
        found = methods.dual(reader, center=options.center)
    else:
        found = methods.randomized(reader, center=options.center, seed=options.seed)
    return assemble(
        eigen=_mark_unit_rows(found.wanted, options),
        uncentered=_mark_unit_rows(found.uncentered, options) if found.uncentered else None,
        mean=found.mean,
        moments=None if found.moments is None else dataclasses.replace(found.moments, normalize=options.normalize),
        intervals={},
        provenance=provenance_of(source, options, chosen.method, n=found.n, passes=found.passes, precision="float64"),
        notes=[*dropped_note(found.dropped), *no_interval_note(chosen, options)],
    )


def _by_moments(source: Embeddings, options: Options, chosen: plan.Plan) -> Spectrum:
    notes = []
    precision = "float64" if chosen.method == "svd" else options.precision
    read = _read(source, options, chosen, precision)
    _require_rows(read.total.n)
    passes = 1
    eigen, uncentered = _both(read.total, options.center)
    too_coarse = max(eigen.share_below_floor, uncentered.share_below_floor) > FLOOR_SHARE
    if chosen.method == "svd":
        direct = methods.in_memory(
            methods.RowReader(
                source,
                function=FUNCTION,
                normalize=options.normalize,
                nonfinite=options.nonfinite,
                progress=None,
            ),
            center=options.center,
        )
        eigen, passes = dataclasses.replace(direct.wanted, unit_rows=eigen.unit_rows), 2
        if direct.uncentered is not None:
            uncentered = dataclasses.replace(direct.uncentered, unit_rows=eigen.unit_rows)
    elif too_coarse and precision != "float64":
        if options.method != "auto":
            notes += floor_note(eigen, "method='auto' or precision='float64' resolves them")
        elif source.one_pass:
            notes += floor_note(eigen, "the source can be read only once; precision='float64' resolves them")
        else:
            notes.append(f"read again in float64: too much of the spectrum lay below the {precision} floor")
            precision, passes = "float64", 2
            read = _read(source, options, chosen, precision)
            eigen, uncentered = _both(read.total, options.center)
    notes += dropped_note(read.dropped)
    if read.tiles_in_float64 and precision != "float64":
        notes.append(
            f"{read.tiles_in_float64} of {read.tiles} tiles were multiplied in float64, where {precision} sums would "
            "have drifted"
        )
    found, why_not = _intervals(read, eigen, uncentered, chosen, options)
    if why_not:
        notes.append(f"no intervals: {why_not}")
    return assemble(
        eigen=eigen,
        uncentered=uncentered,
        mean=read.total.mean,
        moments=read.total,
        intervals=found,
        provenance=dataclasses.replace(
            provenance_of(source, options, chosen.method, n=read.total.n, passes=passes, precision=precision),
            backends={"scatter": read.total.backend},
            error_bound=read.total.error_bound,
            measured_error=read.total.measured_error,
        ),
        notes=notes,
    )


def _read(source: Embeddings, options: Options, chosen: plan.Plan, precision: str) -> GroupedMoments:
    return grouped.read(
        source,
        function=FUNCTION,
        chunk_rows=_chunk_rows(source, options),
        buckets=chosen.buckets,
        slab=chosen.slab,
        use_groups=source.groups is not None,
        normalize=options.normalize,
        norm_sums=None,
        precision=precision,
        backend=options.backend,
        device=options.device,
        nonfinite=options.nonfinite,
        seed=options.seed,
        progress=options.progress,
    )


def _chunk_rows(source: Embeddings, options: Options) -> int:
    """Returns the rows of a chunk: those of the source, fewer where the budget is small."""
    return min(source.chunk_rows(), max(_LEAST_CHUNK_ROWS, options.memory // _CHUNK_SHARE // source.row_bytes))


def _both(moments: Moments, center: bool) -> tuple[Eigenvalues, Eigenvalues]:
    """Returns (eigenvalues as asked for, eigenvalues about zero)."""
    if center:
        wanted, uncentered = _named(lambda: Eigenvalues.both_of_moments(moments))
        return wanted, uncentered
    wanted = _named(lambda: Eigenvalues.of_moments(moments, False))
    return wanted, wanted


def _named(make: Any) -> Any:
    try:
        return make()
    except NotEnoughData as error:
        raise NotEnoughData(f"{FUNCTION}: x: {error}") from None


def _intervals(
    read: GroupedMoments,
    eigen: Eigenvalues,
    uncentered: Eigenvalues,
    chosen: plan.Plan,
    options: Options,
) -> tuple[dict[str, Interval], str]:
    """Returns (intervals, why there are none)."""
    if chosen.no_interval:
        return {}, "" if options.interval is None else chosen.no_interval
    total = read.total
    exact, why_not = partition.affordable(total.n, total.d, len(read.parts), always=options.interval == "jackknife")
    if why_not:
        return {}, why_not
    values = scores.compute(eigen, uncentered, total).values
    about_zero = scores.OF_UNCENTERED | (scores.OF_UNIT_ROWS if uncentered.unit_rows else {})
    left_out = leave_one_out(total, read.parts, eigen, uncentered, exact=exact)
    found: dict[str, Interval] = {}
    halves = left_out.halves
    for whole, cores, without_each, of_halves in (
        (eigen, scores.OF_SPECTRUM, left_out.wanted, halves.wanted if halves else None),
        (uncentered, about_zero, left_out.uncentered, halves.uncentered if halves else None),
    ):
        valid = {name: core for name, core in cores.items() if scores.has_interval(name, whole)}
        found |= resampling.intervals(values, valid, without_each, of_halves, n=total.n, d=total.d)
    if uncentered.unit_rows:
        found |= resampling.intervals(values, scores.OF_UNIT_MOMENTS, left_out.moments, None, n=total.n, d=total.d)
    return found, ""


def _mark_unit_rows(eigen: Eigenvalues, options: Options) -> Eigenvalues:
    return dataclasses.replace(eigen, unit_rows=options.normalize == "l2")


def _require_rows(n: int) -> None:
    if n < 2:
        raise NotEnoughData(f"{FUNCTION}: x: expected at least 2 rows; got {n}")
