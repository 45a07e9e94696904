"""One reading of a source into the moments of its parts, whose merge is the whole.

The parts exist for the jackknife: contiguous slabs of rows dealt round-robin to a few buckets, or the user's own
groups kept whole. With one bucket this is simply the reading of a source.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError, NonFiniteError, RowError
from featdiv.io.progress import Progress
from featdiv.ops.scatter import reference
from featdiv.stats.accumulate import Accumulator, Pilot, SpotCheck
from featdiv.stats.moments import Moments

if TYPE_CHECKING:
    import torch

    from featdiv.io import Embeddings

    Rows = npt.NDArray[Any] | torch.Tensor

DROP_THEM = "Use nonfinite='drop' to leave such rows out."
LEAVE_THEM_OUT = "Leave such rows out."


@dataclasses.dataclass(frozen=True, kw_only=True)
class GroupedMoments:
    """The moments of the parts of a source, and what was noticed while reading it.

    Attributes:
        parts: moments of each bucket that received rows.
        total: their merge.
        dropped: rows left out because they hold NaN or infinity.
        tiles: tiles multiplied.
        tiles_in_float64: tiles that were multiplied in float64 because float32 sums would have drifted.
    """

    parts: tuple[Moments, ...]
    total: Moments
    dropped: int
    tiles: int
    tiles_in_float64: int


@contextlib.contextmanager
def opened(source: Any, *, function: str, argument: str = "x", **annotations: Any) -> Iterator[Embeddings]:
    """Opens whatever `featdiv.open` takes, and closes it again unless it came open.

    Args:
        source: the rows.
        function: that was called, for errors.
        argument: what it calls the rows.
        annotations: labels, ids and groups.
    """
    from featdiv import io
    from featdiv.io.caller import called_by

    with called_by(function, source=argument):
        embeddings = io.open(source, **annotations)
    try:
        yield embeddings
    finally:
        if embeddings is not source:
            embeddings.close()


def check_device(device: str | None, *, function: str) -> str | None:
    """Returns a torch device name that exists here, or None for "where the rows are".

    Raises:
        InputError: if torch does not know the device or the machine does not have it.
    """
    if device is None:
        return None
    import torch

    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, TypeError) as error:
        detail = str(error).strip().splitlines()[0]
        raise InputError(
            f"{function}: device: expected a device of this machine, such as 'cpu'; got {device!r} ({detail})"
        ) from None
    return str(chosen)


def read(
    source: Embeddings,
    *,
    function: str,
    argument: str = "x",
    chunk_rows: int | None = None,
    buckets: int = 1,
    slab: int = 4096,
    use_groups: bool = False,
    normalize: str | None = None,
    norm_sums: bool | None = False,
    precision: str = "float32",
    backend: str = "auto",
    device: str | None = None,
    nonfinite: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> GroupedMoments:
    """Reads a source once.

    Args:
        source: where the rows come from.
        function: public name for error messages.
        argument: what it calls the rows.
        chunk_rows: rows to read at a time; None for the source's own size.
        buckets: number of parts.
        slab: consecutive rows that go to the same part.
        use_groups: deal the source's ``groups`` to the parts, each whole, instead of slabs.
        normalize, precision, backend: as in `Accumulator`.
        norm_sums: as in `Accumulator`; None keeps them where the rows of the first pilot have norm one, so that it
            can be told whether all rows do.
        device: torch device on which to work; None for where the rows are.
        nonfinite: ``"raise"``, or ``"drop"`` for leaving out rows with NaN or infinity; None raises too, in words for
            callers of a function that has no such argument.
        seed: seed of the spot checks.
        progress: called with (rows done, rows in all or None) after every chunk.

    Raises:
        RowError: with ``first_row`` counted in the source.
    """
    accumulators: list[Accumulator] = []
    scratch: dict[str, Any] = {}
    spot = SpotCheck(seed=seed, precision=precision, normalize=normalize, backend=backend)
    dealt: dict[Any, int] = {}
    dropped = 0
    # Whole slabs to a chunk keep the tiles of the op large.
    if buckets > 1 and not use_groups:
        chunk_rows = max(slab, source.chunk_rows(chunk_rows) // slab * slab)
    for chunk in source.chunks(chunk_rows):
        rows = on_device(chunk.rows, device)
        index = None
        if nonfinite == "drop":
            index = finite_rows(rows)
            if index is not None:
                dropped += int(rows.shape[0]) - len(index)
                rows = rows[index]
        try:
            pilot = Pilot.of(rows, normalize=normalize)
            if not accumulators:
                if norm_sums is None:
                    norm_sums = normalize is None and pilot.unit_rows
                accumulators = [
                    Accumulator(
                        source.d,
                        normalize=normalize,
                        norm_sums=norm_sums,
                        precision=precision,
                        backend=backend,
                        scratch=scratch,
                    )
                    for _ in range(buckets)
                ]
            spot.see(rows, pilot)
            kept = np.arange(int(rows.shape[0])) if index is None else index
            groups = chunk.groups[kept] if use_groups and chunk.groups is not None else None
            for bucket, part in deal(rows, chunk.start + kept, groups, buckets=buckets, slab=slab, dealt=dealt):
                accumulators[bucket].add(part, pilot)
        except RowError as error:
            droppable = nonfinite is not None
            raise located(
                error,
                rows,
                chunk.start,
                normalize,
                function,
                argument=argument,
                index=index,
                droppable=droppable,
                source=source,
            ) from None
        if progress is not None:
            progress(chunk.start + int(chunk.rows.shape[0]), source.n)
    parts = [moments for moments in (accumulator.moments() for accumulator in accumulators) if moments.n]
    nothing = Moments.empty(source.d, normalize=normalize, norm_sums=bool(norm_sums))
    total = functools.reduce(Moments.merge, parts, nothing)
    return GroupedMoments(
        parts=tuple(parts),
        total=dataclasses.replace(total, measured_error=spot.error, extraction=source.extraction),
        dropped=dropped,
        tiles=sum(accumulator.tiles for accumulator in accumulators),
        tiles_in_float64=sum(accumulator.tiles_in_float64 for accumulator in accumulators),
    )


def without(total: Moments, part: Moments) -> Moments:
    """Returns the moments of the rows of ``total`` that are not in ``part``: merging undone, for the jackknife."""
    n = total.n - part.n
    mean = total.mean + (total.mean - part.mean) * (part.n / n)
    delta = part.mean - mean
    scatter = total.scatter - part.scatter - np.outer(delta, delta * (part.n * n / total.n))
    return dataclasses.replace(total, n=n, mean=mean, scatter=scatter, norm_sums=None)


def on_device(rows: Rows, device: str | None) -> Rows:
    """Returns the rows on the device asked for; None leaves them where they are."""
    if device is None or (isinstance(rows, np.ndarray) and device == "cpu"):
        return rows
    from featdiv.ops.scatter.torch_ import as_tensor

    return as_tensor(rows).to(device)


def finite_rows(rows: Rows) -> npt.NDArray[np.int64] | None:
    """Returns the indices of the rows without NaN or infinity, or None if that is all of them."""
    if isinstance(rows, np.ndarray):
        good = np.isfinite(rows).all(axis=1)
    else:
        import torch

        good = torch.isfinite(rows).all(dim=1).cpu().numpy()
    return None if good.all() else np.flatnonzero(good)


def numbered(groups: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Returns the group of each row as a number, in the order in which groups appear, as `deal` numbers them."""
    _, first, codes = np.unique(groups, return_index=True, return_inverse=True)
    numbers: npt.NDArray[np.int64] = np.argsort(np.argsort(first))[codes.reshape(-1)]
    return numbers


def deal(
    rows: Rows,
    positions: npt.NDArray[np.int64],
    groups: npt.NDArray[Any] | None,
    *,
    buckets: int,
    slab: int,
    dealt: dict[Any, int],
) -> Iterator[tuple[int, Rows]]:
    """Yields (bucket, rows) for the parts of a chunk; its size changes nothing.

    Args:
        rows: of the chunk.
        positions: (m,) where they lie in the source.
        groups: (m,) groups of the rows, each of which goes whole to a bucket; None for slabs of the source.
        buckets: number of parts.
        slab: consecutive rows of the source that go to the same part.
        dealt: number of each group so far, in the order in which they appear; grows.
    """
    if buckets == 1:
        yield 0, rows
        return
    if groups is None:
        bucket_of = positions // slab % buckets
    else:
        names, first, codes = np.unique(groups, return_index=True, return_inverse=True)
        listed, number = names.tolist(), np.empty(len(names), dtype=np.int64)
        for code in np.argsort(first):
            number[code] = dealt.setdefault(listed[code], len(dealt))
        bucket_of = number[codes.reshape(-1)] % buckets
    edges = np.flatnonzero(np.diff(bucket_of)) + 1
    if groups is None or len(edges) < 2 * buckets:
        # Runs are views; gathering copies, but makes tiles of many short ones.
        for start, stop in zip([0, *edges.tolist()], [*edges.tolist(), len(bucket_of)], strict=True):
            if stop > start:
                yield int(bucket_of[start]), rows[start:stop]
        return
    for bucket in np.unique(bucket_of):
        yield int(bucket), rows[np.flatnonzero(bucket_of == bucket)]


def located(
    error: RowError,
    rows: Rows,
    start: int,
    normalize: str | None,
    function: str,
    *,
    argument: str = "x",
    index: npt.NDArray[np.int64] | None = None,
    droppable: bool = False,
    source: Embeddings | None = None,
) -> RowError:
    """Returns the error counted over the whole chunk and placed in the source.

    Args:
        error: what a part of ``rows`` raised.
        rows: the rows of the chunk that are in use.
        start: index in the source of the chunk's first row.
        normalize: as in `read`.
        function: public name for the message.
        argument: what it calls the rows.
        index: where in the chunk the rows lie, if some were left out.
        droppable: whether the function takes ``nonfinite="drop"``.
        source: where the rows come from; of several files, the one with the row is named.
    """
    try:
        reference.transformed(rows, normalize=normalize)
    except RowError as whole:
        error = whole
    first = start + (error.first_row if index is None else int(index[error.first_row]))
    place = f"row {first}" if source is None else source.place(first)
    if isinstance(error, NonFiniteError):
        advice = DROP_THEM if droppable else LEAVE_THEM_OUT
        message = (
            f"{function}: {argument}: expected finite rows; got {error.count} NaN or infinite entries by row "
            f"{start + int(rows.shape[0])}, the first in {place}. {advice}"
        )
    else:
        message = (
            f"{function}: {argument}: normalize='l2' expected rows of non-zero norm; got {error.count} zero rows by "
            f"row {start + int(rows.shape[0])}, the first is {place}. {LEAVE_THEM_OUT}"
        )
    return type(error)(message, count=error.count, first_row=first)
