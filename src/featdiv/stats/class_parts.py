"""Reads labelled rows once into the class moments of a few parts, and gives the moments without each part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import io
from featdiv.errors import BudgetExceeded, InputError, RowError
from featdiv.io.progress import Progress
from featdiv.stats import grouped
from featdiv.stats.class_moments import ClassMoments
from featdiv.stats.grouped import DROP_THEM, LEAVE_THEM_OUT

_READER = "ClassMoments.from_source"


def read(
    source: io.Embeddings,
    *,
    function: str,
    parts: int,
    normalize: str | None = None,
    ignore: int | str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    per_class: bool = False,
    memory: int | float | str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[ClassMoments]:
    """Returns the class moments of each part of a source whose labels are known; see `dealt`.

    Args:
        source: where the rows come from.
        function: public name for error messages.
        parts: number of parts.
        ignore: rows with this label are left out.
        normalize, precision, backend, per_class, memory, seed: as in `ClassMoments.from_source`.
        progress: called with (rows done, rows in all) after every part.

    Raises:
        RowError: with ``first_row`` counted in the source.
    """
    assert source.labels is not None
    found: list[ClassMoments] = []
    for index in rows_of(source, parts, ignore=ignore):
        try:
            found.append(
                ClassMoments.from_source(
                    _some(source, index),
                    normalize=normalize,
                    precision=precision,
                    backend=backend,
                    per_class=per_class,
                    memory=memory,
                    seed=seed,
                )
            )
        except RowError as error:
            first = int(index[error.first_row])
            message = str(error).replace(_READER, function).replace(f"row {error.first_row}", f"row {first}")
            message = message.replace(DROP_THEM, LEAVE_THEM_OUT)
            raise type(error)(message, count=error.count, first_row=first) from None
        except (InputError, BudgetExceeded) as error:
            raise type(error)(str(error).replace(_READER, function)) from None
        if progress is not None:
            progress(sum(part.n for part in found), source.n)
    return found


def rows_of(source: io.Embeddings, parts: int, *, ignore: int | str | None = None) -> list[npt.NDArray[np.int64]]:
    """Returns where in a source the rows of each part are; see `dealt`."""
    assert source.labels is not None
    labels, groups = source.labels, source.groups
    kept = np.arange(len(labels)) if ignore is None else np.flatnonzero(labels != ignore)
    return [kept[part] for part in dealt(labels[kept], None if groups is None else groups[kept], parts)]


def part_of_rows(source: io.Embeddings, parts: int, *, ignore: int | str | None = None) -> npt.NDArray[np.int64]:
    """Returns the (n,) part of each row of a source, -1 for a row that is left out; see `dealt`."""
    assert source.labels is not None
    part_of = np.full(len(source.labels), -1, dtype=np.int64)
    for part, index in enumerate(rows_of(source, parts, ignore=ignore)):
        part_of[index] = part
    return part_of


def alone(source: io.Embeddings, parts: int, *, ignore: int | str | None = None) -> bool:
    """Returns whether a part would hold all rows of some class, which would be gone without it."""
    assert source.labels is not None
    part_of = part_of_rows(source, parts, ignore=ignore)
    kept = part_of >= 0
    classes, codes = np.unique(source.labels[kept], return_inverse=True)
    held = np.unique(codes.reshape(-1) * parts + part_of[kept]) // parts
    return bool((np.bincount(held, minlength=len(classes)) < 2).any())


def dealt(labels: npt.NDArray[Any], groups: npt.NDArray[Any] | None, buckets: int) -> list[npt.NDArray[np.int64]]:
    """Returns the rows of each part: whole groups, or a contiguous slab of every class."""
    n = len(labels)
    if buckets == 1:
        return [np.arange(n)]
    if groups is not None:
        bucket = grouped.numbered(groups) % buckets
    else:
        codes = np.unique(labels, return_inverse=True)[1].reshape(-1)
        order = np.argsort(codes, kind="stable")
        counts = np.bincount(codes)
        starts = np.cumsum(counts) - counts
        rank = np.empty(n, dtype=np.int64)
        rank[order] = np.arange(n) - starts[codes[order]]
        bucket = rank * buckets // counts[codes]
        # Each class begins with another part than the one before, so that small classes do not all fill the same parts.
        bucket = (bucket + codes) % buckets
    found = [np.flatnonzero(bucket == part) for part in range(buckets)]
    return [part for part in found if len(part)]


def _some(source: io.Embeddings, index: npt.NDArray[np.int64]) -> Iterator[tuple[Any, Any]]:
    """Yields (rows, labels) of some rows, a chunk at a time."""
    assert source.labels is not None
    step = source.chunk_rows()
    for start in range(0, len(index), step):
        part = index[start : start + step]
        yield source.take(part), source.labels[part]


def without_each(parts: Sequence[ClassMoments]) -> Iterator[ClassMoments]:
    """Yields the merge of all parts but one, for each part in turn: sums from both ends, nothing is subtracted."""
    after = [parts[-1]]
    for part in parts[-2:0:-1]:
        after.append(part.merge(after[-1]))
    before: ClassMoments | None = None
    for place, part in enumerate(parts):
        rest = after.pop() if place + 1 < len(parts) else None
        both = rest if before is None else before if rest is None else before.merge(rest)
        assert both is not None
        yield both
        before = part if before is None else before.merge(part)
