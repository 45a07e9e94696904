"""The rows of one class at a time, in float64, from a source of any size."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import io
from featdiv.errors import InputError, NonFiniteError, NotEnoughData, RowError
from featdiv.ops.scatter import reference
from featdiv.stats import arguments
from featdiv.stats.class_labels import as_labels, refuse_missing

Float64Array = npt.NDArray[np.float64]

GATHER_BYTES = 1 << 26
"""Classes are gathered together while their float64 rows fill no more than this: 64 MiB."""

BLOCK_ROWS = 2048


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LabelledRows:
    """A source that can be read by class.

    Attributes:
        function: name of the score, for messages.
        source: the rows.
        classes: (c,) labels, sorted.
        codes: (n,) index of each row's class, -1 for a row that is left out.
        normalize: ``"l2"`` if rows are divided by their norm.
    """

    function: str
    source: io.Embeddings
    classes: npt.NDArray[Any]
    codes: npt.NDArray[np.int64]
    normalize: str | None = None

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """(c,) rows of each class."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.classes)).astype(np.int64)

    @property
    def dropped(self) -> int:
        """Rows that are left out."""
        return int(np.count_nonzero(self.codes < 0))

    @classmethod
    def of(
        cls,
        source: io.Embeddings,
        *,
        function: str,
        ignore: int | str | None = None,
        normalize: str | None = None,
    ) -> LabelledRows:
        """Returns the source by class.

        Raises:
            InputError: if the labels cannot be used, or the source can be read only once.
            NotEnoughData: if every row is left out.
        """
        if normalize not in (None, "l2"):
            raise InputError(f"{function}: normalize: expected None or 'l2'; got {normalize!r}")
        arguments.check_ignore(function, ignore)
        if source.one_pass or source.n is None:
            raise InputError(
                f"{function}: x: expected rows that can be picked by index; got an iterable of chunks, which is read "
                "once. Pass an array or a file; featdiv.convert writes one."
            )
        labels = as_labels(source.labels, function=function)
        kept = np.ones(len(labels), dtype=bool) if ignore is None else labels != ignore
        if ignore is None:
            refuse_missing(labels, function=function)
        classes, inverse = np.unique(labels[kept], return_inverse=True)
        if not len(classes):
            raise NotEnoughData(f"{function}: expected labelled rows; all {len(labels)} have the label ignored")
        codes = np.full(len(labels), -1, dtype=np.int64)
        codes[kept] = inverse.reshape(-1)
        return cls(function=function, source=source, classes=classes, codes=codes, normalize=normalize)

    def take(self, index: npt.NDArray[np.int64]) -> Float64Array:
        """Returns rows as float64 on the host, divided by their norm where that is asked for.

        Raises:
            NonFiniteError: if an entry is NaN or infinite.
            ZeroNormError: if a row to be normalised is zero.
        """
        try:
            return reference.transformed(self.source.take(index), normalize=self.normalize)
        except RowError as error:
            first = int(index[error.first_row])
            what = "NaN or infinite entries" if isinstance(error, NonFiniteError) else "zero rows"
            wanted = "finite rows" if isinstance(error, NonFiniteError) else "rows of non-zero norm"
            message = f"{self.function}: x: expected {wanted}; got {error.count} {what}, the first in row {first}"
            raise type(error)(f"{message}. Leave such rows out.", count=error.count, first_row=first) from None

    def each_class(self) -> Iterator[tuple[int, ClassRows]]:
        """Yields (index of the class, its rows), reading the source about once for every 64 MiB of rows."""
        order = np.argsort(self.codes, kind="stable")[self.dropped :]
        parts = np.split(order, np.cumsum(self.counts)[:-1])
        together = max(1, GATHER_BYTES // (8 * self.source.d))
        batch: list[int] = []
        held = 0
        for k, part in enumerate(parts):
            if batch and held + len(part) > together:
                yield from self._gathered(batch, parts)
                batch, held = [], 0
            batch.append(k)
            held += len(part)
        yield from self._gathered(batch, parts)

    def _gathered(self, batch: list[int], parts: list[npt.NDArray[np.int64]]) -> Iterator[tuple[int, ClassRows]]:
        index = np.sort(np.concatenate([parts[k] for k in batch]))
        if 8 * self.source.d * len(index) > GATHER_BYTES and len(batch) == 1:
            yield batch[0], ClassRows(rows=self, index=index)
            return
        rows = self.take(index)
        codes = self.codes[index]
        order = np.argsort(codes, kind="stable")
        edges = np.searchsorted(codes[order], batch[1:])
        for k, place in zip(batch, np.split(order, edges), strict=True):
            yield k, ClassRows(rows=self, index=index[place], held=rows[place])


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ClassRows:
    """The rows of one class.

    Attributes:
        rows: the source.
        index: where in it they are.
        held: the rows themselves, or None for a class so large that its blocks are read when asked for.
    """

    rows: LabelledRows
    index: npt.NDArray[np.int64]
    held: Float64Array | None = None

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.index)

    def block(self, start: int) -> Float64Array:
        """Returns `BLOCK_ROWS` rows from ``start`` on, or what there is."""
        stop = start + BLOCK_ROWS
        if self.held is not None:
            return self.held[start:stop]
        return self.rows.take(self.index[start:stop])

    def some(self, chosen: npt.NDArray[np.bool_]) -> ClassRows:
        """Returns some of the rows, by a mask."""
        held = None if self.held is None else self.held[chosen]
        return dataclasses.replace(self, index=self.index[chosen], held=held)

    def starts(self) -> range:
        """Returns where blocks start."""
        return range(0, self.n, BLOCK_ROWS)
