"""A second reading of labelled rows, block by block in float64, for what their moments cannot tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import io
from featdiv.errors import InputError, RowError
from featdiv.ops.scatter import reference
from featdiv.stats import grouped
from featdiv.stats.class_labels import as_labels
from featdiv.stats.moments import Float64Array

BLOCK_ROWS = 4096


def labelled_blocks(
    source: io.Embeddings,
    classes: npt.NDArray[Any],
    *,
    function: str,
    normalize: str | None = None,
    ignore: int | str | None = None,
) -> Iterator[tuple[Float64Array, npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Yields (rows, index of each row's class, index of each row in the source), at most 4096 rows at a time.

    Args:
        source: labelled rows.
        classes: the labels that occur, sorted.
        function: public name, for messages.
        normalize: ``"l2"`` to divide each row by its norm.
        ignore: label of rows to leave out.

    Raises:
        InputError: if the source can be read only once and has been, or a label is none of ``classes``.
        RowError: for rows of no use, with their place in the source.
    """
    for chunk in source.chunks():
        labels = as_labels(chunk.labels, function=function)
        keep = np.arange(len(labels)) if ignore is None else np.flatnonzero(labels != ignore)
        codes = np.searchsorted(classes, labels[keep])
        unknown = classes[np.minimum(codes, len(classes) - 1)] != labels[keep]
        if unknown.any():
            label = labels[keep][unknown][0].item()
            raise InputError(f"{function}: labels: expected one of the {len(classes)} classes fitted; got {label!r}")
        for start in range(0, len(keep), BLOCK_ROWS):
            part = keep[start : start + BLOCK_ROWS]
            rows = chunk.rows[part] if len(keep) < len(labels) else chunk.rows[start : start + BLOCK_ROWS]
            try:
                block = reference.transformed(rows, normalize=normalize)
            except RowError as error:
                raise grouped.located(error, chunk.rows, chunk.start, normalize, function, source=source) from None
            yield block, codes[start : start + len(part)], chunk.start + part


def require_two_readings(source: io.Embeddings, *, function: str, what: str) -> None:
    """Raises InputError if the source can be read only once; ``what`` needs the second reading."""
    if source.one_pass:
        raise InputError(
            f"{function}: x: {what} takes a second reading of the rows; got an iterable, which is read once. Pass an "
            "array or a file; featdiv.convert writes one."
        )
