"""One reading of labelled rows into `ClassMoments`: labels to numbers, rows left out, memory planned."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError, RowError
from featdiv.stats import arguments, budget, grouped
from featdiv.stats.class_labels import LabelNumbers, as_labels, refuse_missing
from featdiv.stats.class_moments import ClassMoments
from featdiv.stats.class_states import Op, PerClass, Pooled

if TYPE_CHECKING:
    import torch

    from featdiv.io import Embeddings
    from featdiv.io.progress import Progress

    Rows = npt.NDArray[Any] | torch.Tensor
    Index = npt.NDArray[np.int64]

_FUNCTION = "ClassMoments.from_source"
_ROWS_PER_CLASS = 256
_CHUNK_BYTES = 1 << 26


def read(
    source: Any,
    *,
    labels: Any,
    per_class: bool,
    normalize: str | None,
    ignore: int | str | None,
    precision: str,
    backend: str,
    device: str | None,
    nonfinite: str,
    memory: int | float | str | None,
    seed: int,
    progress: Progress | None,
) -> ClassMoments:
    """Reads a source once; see `ClassMoments.from_source`."""
    arguments.check(
        _FUNCTION,
        normalize=normalize,
        precision=precision,
        backend=backend,
        nonfinite=nonfinite,
        seed=seed,
        progress=progress,
        ignore=ignore,
    )
    device = grouped.check_device(device, function=_FUNCTION)
    limit = budget.budget_bytes(memory, function=_FUNCTION)
    annotations = {} if labels is None else {"labels": labels}
    with grouped.opened(source, function=_FUNCTION, argument="source", **annotations) as embeddings:
        reader = _Reader(
            embeddings.d,
            per_class=per_class,
            normalize=normalize,
            ignore=ignore,
            precision=precision,
            backend=backend,
            limit=limit,
            seed=seed,
        )
        for chunk in embeddings.chunks(reader.prepare(embeddings)):
            rows = grouped.on_device(chunk.rows, device)
            reader.see(rows, chunk.labels, start=chunk.start, drop=nonfinite == "drop", source=embeddings)
            if progress is not None:
                progress(chunk.start + int(chunk.rows.shape[0]), embeddings.n)
        return dataclasses.replace(reader.moments(), extraction=embeddings.extraction)


class _Reader:
    """Prepares chunks (labels to numbers, rows left out) and feeds them to a pooled or a per-class state."""

    def __init__(
        self,
        d: int,
        *,
        per_class: bool,
        normalize: str | None,
        ignore: int | str | None,
        precision: str,
        backend: str,
        limit: int,
        seed: int,
    ) -> None:
        self._d = d
        self._per_class = per_class
        self._normalize = normalize
        self._ignore = ignore
        self._precision = precision
        self._limit = limit
        self._numbers = LabelNumbers()
        self._dropped = 0
        self._dtype = ""
        self._op = Op(precision=precision, backend=backend, seed=seed)
        kind = PerClass if per_class else Pooled
        self._state: Pooled | PerClass = kind(d, normalize=normalize, op=self._op)

    def prepare(self, source: Embeddings) -> int | None:
        """Learns labels that are known beforehand, plans the memory, returns the rows to read at a time."""
        if source.labels is None:
            return None
        unique = np.unique(as_labels(source.labels, function=_FUNCTION))
        self._number(unique)
        self._state.reserve(len(self._numbers))
        if not self._per_class:
            return None
        # With few rows of a class in a chunk, adding up (d, d) matrices would cost more than the products.
        spare = max(0, self._limit - self._needed(len(self._numbers))) // (2 * 8 * max(1, self._d))
        wanted = min(_ROWS_PER_CLASS * len(self._numbers), spare, source.n or 0)
        return wanted if wanted * 8 * self._d > _CHUNK_BYTES else None

    def see(self, rows: Rows, labels: Any, *, start: int, drop: bool, source: Embeddings) -> None:
        """Adds a chunk of a source."""
        if labels is None:
            raise InputError(
                f"{_FUNCTION}: labels: expected a label for every row; the source has none. "
                "Pass labels=, or open the source with featdiv.open(source, labels=...)."
            )
        values = as_labels(labels, function=_FUNCTION)
        if len(values) != rows.shape[0]:
            raise InputError(
                f"{_FUNCTION}: labels: expected {int(rows.shape[0])} labels for the rows from {start} on; "
                f"got {len(values)}"
            )
        keep: Index | None = None
        if self._ignore is not None:
            kept = values != self._ignore
            keep = None if kept.all() else np.flatnonzero(kept)
        if drop:
            finite = grouped.finite_rows(rows)
            if finite is not None:
                keep = finite if keep is None else np.intersect1d(keep, finite, assume_unique=True)
        if keep is not None:
            self._dropped += len(values) - len(keep)
            rows, values = rows[keep], values[keep]
        if not len(values):
            return
        unique, inverse = np.unique(values, return_inverse=True)
        numbers = self._number(unique)
        self._dtype = _combined(self._dtype, rows)
        try:
            self._state.add(rows, numbers, inverse.reshape(-1))
        except RowError as error:
            raise grouped.located(
                error, rows, start, self._normalize, _FUNCTION, index=keep, droppable=True, source=source
            ) from None

    def moments(self) -> ClassMoments:
        """Returns the moments of all rows seen."""
        labels, numbers = self._numbers.in_order()
        result = self._state.result(numbers)
        if not result.c:
            empty = ClassMoments.empty(self._d, normalize=self._normalize, per_class=self._per_class)
            return dataclasses.replace(empty, dropped=self._dropped)
        return dataclasses.replace(
            result,
            classes=labels[result.classes],
            normalize=self._normalize,
            dropped=self._dropped,
            measured_error=self._op.spot.error,
            dtype=self._dtype,
            backend=",".join(sorted(self._op.ran)),
        )

    def _number(self, unique: npt.NDArray[Any]) -> Index:
        if self._ignore is None:
            refuse_missing(unique, function=_FUNCTION)
        else:
            unique = unique[unique != self._ignore]
        numbers = self._numbers.of(unique, function=_FUNCTION)
        self._require(len(self._numbers))
        return numbers

    def _needed(self, c: int) -> int:
        matrices = c if self._per_class else 0
        return 8 * ((matrices + 3) * self._d**2 + 3 * c * self._d)

    def _require(self, c: int) -> None:
        what = f"the moments of {c} classes of {self._d} features"
        advice = "Raise memory=, or take fewer features or classes."
        if self._per_class:
            what = f"the scatters of {c} classes of {self._d} features"
            advice = "Raise memory=, or use per_class=False for one scatter of all classes, or read fewer classes."
        budget.require(self._needed(c), self._limit, function=_FUNCTION, what=what, advice=advice)


def _combined(dtype: str, rows: Rows) -> str:
    name = rows.dtype.name if isinstance(rows, np.ndarray) else str(rows.dtype).removeprefix("torch.")
    return name if dtype in ("", name) else "mixed"
