"""One spectrum a class: the rows of each class taken together and treated like any others."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from featdiv import io
from featdiv.analyses.spectral import run
from featdiv.analyses.spectral.assemble import FUNCTION, Options
from featdiv.errors import InputError, NotEnoughData, SmallSampleWarning

if TYPE_CHECKING:
    from featdiv.analyses.spectral.result import Spectrum
    from featdiv.io import Embeddings

_SHARE_IN_MEMORY = 4


def spectra_by_class(source: Embeddings, options: Options) -> tuple[dict[Any, Spectrum], dict[Any, str]]:
    """Returns (label to spectrum, label to the reason why there is none), in sorted order of the labels.

    A class of fewer than two rows, or of constant features, is skipped with its reason. Rows that fit in a quarter
    of the budget are gathered; a larger class is streamed from the source.

    Raises:
        InputError: if the source can be read only once: every class would need a reading of its own.
    """
    if source.one_pass or source.n is None:
        raise InputError(
            f"{FUNCTION}: labels: one spectrum a class needs rows that can be read more than once; a generator or "
            "DataLoader gives them once. Convert the rows to a file first, or use ClassMoments.from_source(..., "
            "per_class=True) and pass its moments_of(label)."
        )
    assert source.labels is not None
    options = dataclasses.replace(options, progress=None)
    found: dict[Any, Spectrum] = {}
    skipped: dict[Any, str] = {}
    order = np.argsort(source.labels, kind="stable")
    names, starts = np.unique(source.labels[order], return_index=True)
    small: list[Any] = []
    for name, index in zip(names.tolist(), np.split(order, starts[1:]), strict=True):
        if len(index) < 2:
            skipped[name] = f"a spectrum needs at least 2 rows; the class has {len(index)}"
            continue
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", SmallSampleWarning)
                found[name] = run.of_source(_rows_of(source, index, options), options)
        except NotEnoughData as error:
            skipped[name] = str(error).removeprefix(f"{FUNCTION}: x: ")
            continue
        small += [name] * any(issubclass(warning.category, SmallSampleWarning) for warning in caught)
    if small:
        warnings.warn(
            f"{FUNCTION}: {len(small)} of {len(names)} classes have fewer than five rows for each feature: their "
            "dimensions are underestimated; compare only classes of the same size",
            SmallSampleWarning,
            stacklevel=3,
        )
    return found, skipped


def _rows_of(source: Embeddings, index: np.ndarray[Any, Any], options: Options) -> Embeddings:
    groups = None if source.groups is None else source.groups[index]
    if len(index) * source.row_bytes <= options.memory // _SHARE_IN_MEMORY:
        return io.open(source.take(index), groups=groups)
    return io.open(_stream(source, index), groups=groups)


def _stream(source: Embeddings, index: np.ndarray[Any, Any]) -> Iterator[Any]:
    wanted = np.zeros(source.n or 0, dtype=bool)
    wanted[index] = True
    for chunk in source.chunks():
        inside = np.flatnonzero(wanted[chunk.start : chunk.start + int(chunk.rows.shape[0])])
        if len(inside):
            yield chunk.rows[inside]
