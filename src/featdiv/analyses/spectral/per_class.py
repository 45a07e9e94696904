"""One spectrum for each class.

There may be thousands of classes, so what a class costs beside its products counts. Classes of moderate size are
gathered a block at a time and worked on directly in float64: the scatter, or the n x n kernel where a class has
fewer rows than features, and the eigenvalues of both about the mean and about zero. Large classes, and all where
intervals are asked for, go through the same path as any other rows.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv import io
from featdiv.analyses.spectral import run
from featdiv.analyses.spectral.assemble import FEW_ROWS_PER_FEATURE, FUNCTION, Options, assemble
from featdiv.analyses.spectral.methods import kernel_eigenvalues
from featdiv.errors import InputError, NotEnoughData, RowError, SmallSampleWarning
from featdiv.metrics.spectral.eigenvalues import UNIT_TOLERANCE, Eigenvalues
from featdiv.ops._dispatch import PRECISIONS
from featdiv.ops.scatter import reference
from featdiv.results import Provenance
from featdiv.stats.class_labels import MISSING
from featdiv.stats.grouped import located
from featdiv.stats.moments import Moments

if TYPE_CHECKING:
    from featdiv.analyses.spectral.result import Spectrum
    from featdiv.io import Embeddings

    Float64Array = npt.NDArray[np.float64]

_SHARE_IN_MEMORY = 8
"""Part of the budget, one in so many, that the rows of a large class may take to be read at once."""

_DIRECT_OPERATIONS = 4e9
"""Multiply-adds up to which a class is worked on directly."""


def spectra_by_class(
    source: Embeddings, options: Options, whole: Provenance
) -> tuple[dict[Any, Spectrum], dict[Any, str]]:
    """Returns (label to spectrum, label to the reason why there is none), in sorted order of the labels.

    A class of fewer than two rows, or of constant features, is skipped with its reason, and so is the label -1.

    Args:
        source: rows with labels.
        options: arguments of the call.
        whole: provenance of the spectrum of all rows, from which those of the classes differ in n and method.

    Raises:
        InputError: if the source can be read only once: the classes need a reading of their own.
    """
    if source.one_pass or source.n is None or source.labels is None:
        raise InputError(
            f"{FUNCTION}: labels: one spectrum a class needs rows that can be read more than once; a generator or "
            "DataLoader gives them once. Convert the rows to a file first, or use ClassMoments.from_source(..., "
            "per_class=True) and pass its moments_of(label)."
        )
    options = dataclasses.replace(options, progress=None)
    order = np.argsort(source.labels, kind="stable")
    names, starts = np.unique(source.labels[order], return_index=True)
    members = dict(zip(names.tolist(), np.split(order, starts[1:]), strict=True))
    found: dict[Any, Spectrum] = {}
    skipped: dict[Any, str] = {}
    if members.pop(MISSING, None) is not None:
        skipped[MISSING] = "-1 marks a missing label"
    for name, make in _each(source, members, options, whole):
        try:
            found[name] = make()
        except NotEnoughData as error:
            skipped[name] = str(error).removeprefix(f"{FUNCTION}: x: ")
    small = sum(spectrum.n < FEW_ROWS_PER_FEATURE * spectrum.d for spectrum in found.values())
    if small:
        warnings.warn(
            f"{FUNCTION}: {small} of {len(names)} classes have fewer than five rows for each feature: their "
            "dimensions are underestimated; compare only classes of the same size",
            SmallSampleWarning,
            stacklevel=3,
        )
    return found, skipped


def _each(
    source: Embeddings, members: dict[Any, npt.NDArray[np.int64]], options: Options, whole: Provenance
) -> Iterator[tuple[Any, Any]]:
    """Yields (label, function that makes its spectrum), reading the rows of many small classes at once."""
    budget = options.memory // _SHARE_IN_MEMORY
    block: dict[Any, npt.NDArray[np.int64]] = {}
    waiting = 0
    for name, index in members.items():
        direct = len(index) * source.d * min(len(index), source.d) <= _DIRECT_OPERATIONS
        if options.interval == "jackknife" or not direct or len(index) * source.d * 8 > budget:
            yield name, lambda index=index: _like_any_other(source, index, options)
            continue
        if block and (waiting + len(index)) * source.d * 8 > budget:
            yield from _block(source, block, options, whole)
            block, waiting = {}, 0
        block[name] = index
        waiting += len(index)
    if block:
        yield from _block(source, block, options, whole)


def _block(
    source: Embeddings, members: dict[Any, npt.NDArray[np.int64]], options: Options, whole: Provenance
) -> Iterator[tuple[Any, Any]]:
    rows = source.take(np.concatenate(list(members.values())))
    start = 0
    for name, index in members.items():
        part = rows[start : start + len(index)]
        start += len(index)
        yield name, lambda part=part, index=index: _direct(part, index, options, whole)


def _direct(rows: Any, index: npt.NDArray[np.int64], options: Options, whole: Provenance) -> Spectrum:
    """Returns the spectrum of a class whose rows are at hand, in float64."""
    rows = reference.to_float64(rows)
    if options.nonfinite == "drop":
        rows = rows[np.isfinite(rows).all(axis=1)]
    try:
        x = reference.transformed(rows, normalize=options.normalize)
    except RowError as error:
        found = located(error, rows, 0, options.normalize, FUNCTION, droppable=True)
        found.first_row = int(index[error.first_row])
        raise found from None
    n, d = x.shape
    if n < 2:
        raise NotEnoughData(f"a spectrum needs at least 2 rows; the class has {n}")
    mean = x.mean(axis=0)
    centred = x - mean
    norms = np.einsum("ij,ij->i", x, x)
    unit = options.normalize == "l2" or bool((np.abs(norms - 1.0) < UNIT_TOLERANCE).all())
    moments = _moments(n, mean, centred, options, whole) if n >= d or unit else None
    if moments is not None and n >= d:
        about_mean, about_zero = Eigenvalues.both_of_moments(moments)
    else:
        # Fewer rows than features: the n x n kernels are smaller than the scatter.
        about_mean = kernel_eigenvalues(centred, mean, centered=True)
        about_zero = kernel_eigenvalues(x, mean, centered=False)
    about_mean, about_zero = (dataclasses.replace(each, unit_rows=unit) for each in (about_mean, about_zero))
    provenance = dataclasses.replace(
        whole,
        n=n,
        method="gram" if n >= d else "dual",
        precision="float64",
        backends={"scatter": "numpy"},
        error_bound=PRECISIONS["float64"],
        measured_error=None,
        passes=1,
    )
    return assemble(
        eigen=about_mean if options.center else about_zero,
        uncentered=about_zero,
        mean=mean,
        moments=moments,
        intervals={},
        provenance=provenance,
        notes=[],
        warn=False,
    )


def _moments(n: int, mean: Float64Array, centred: Float64Array, options: Options, whole: Provenance) -> Moments:
    scatter = centred.T @ centred
    return Moments(
        n=n,
        mean=mean,
        scatter=(scatter + scatter.T) / 2.0,
        normalize=options.normalize,
        error_bound=PRECISIONS["float64"],
        dtype=whole.dtype or "",
        backend="numpy",
        extraction=whole.extraction,
    )


def _like_any_other(source: Embeddings, index: npt.NDArray[np.int64], options: Options) -> Spectrum:
    if len(index) < 2:
        raise NotEnoughData(f"a spectrum needs at least 2 rows; the class has {len(index)}")
    groups = None if source.groups is None else source.groups[index]
    in_memory = len(index) * source.row_bytes <= options.memory // _SHARE_IN_MEMORY
    rows = source.take(index) if in_memory else _stream(source, index)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SmallSampleWarning)
        return run.of_source(io.open(rows, groups=groups), options)


def _stream(source: Embeddings, index: npt.NDArray[np.int64]) -> Iterator[Any]:
    wanted = np.zeros(source.n or 0, dtype=bool)
    wanted[index] = True
    for chunk in source.chunks():
        inside = np.flatnonzero(wanted[chunk.start : chunk.start + int(chunk.rows.shape[0])])
        if len(inside):
            yield chunk.rows[inside]
