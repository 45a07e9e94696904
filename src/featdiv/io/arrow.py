"""Parquet and Arrow IPC files, Arrow tables and Hugging Face datasets, as rows.

Row groups are decoded by two threads a little ahead of the reader, never through ``pyarrow.dataset``, whose
look-ahead is as large as the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import FormatError, InputError
from featdiv.io.arrow_decode import Layout, column_values, layout_of, listing
from featdiv.io.arrow_files import Handle, Opener, TableHandle, arrow_errors, file_opener, pyarrow
from featdiv.io.dtypes import storage
from featdiv.io.embeddings import SAMPLE_BLOCKS, Embeddings, blocks_per_part, sample_blocks, start_digest
from featdiv.io.files import WHERE, File, read_exactly
from featdiv.io.lookahead import ordered

DECODE_BYTES = 16 << 20
"""Bytes of rows that are decoded at once."""

SLOW_OPENS = 8
"""Footers that are fetched at once from a remote file system, where each costs a round trip."""

THREADS = 2


class ArrowRows(Embeddings):
    """Rows of a list column, or of several numeric columns, of one or many tables or files."""

    n: int

    def __init__(
        self,
        openers: Sequence[Opener],
        layout: Layout,
        counts: Sequence[Sequence[int]],
        description: str,
        kind: str,
    ) -> None:
        per_file = [sum(groups) for groups in counts]
        super().__init__(n=sum(per_file), d=layout.d, dtype=layout.dtype, description=description, format=kind)
        self.openers = tuple(openers)
        self.layout = layout
        self.owner = np.repeat(np.arange(len(counts)), [len(groups) for groups in counts])
        self.group = np.concatenate([np.arange(len(groups)) for groups in counts]).astype(np.int64)
        sizes = np.array([count for groups in counts for count in groups], dtype=np.int64)
        self.starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    @property
    def shards(self) -> int:
        """Number of files."""
        return len(self.openers)

    @property
    def rows_of_shards(self) -> Sequence[tuple[str, int]]:
        """Those of the files, where there are several."""
        counts = np.bincount(self.owner, weights=np.diff(self.starts), minlength=self.shards).astype(np.int64)
        names = [opener.name for opener in self.openers]
        return list(zip(names, counts.tolist(), strict=True)) if len(names) > 1 else ()

    def _decode(self, piece: int, handles: dict[int, Handle]) -> Iterator[npt.NDArray[Any]]:
        """Yields the decoded rows of one row group; ``handles`` keeps the file of the last one open."""
        owner = int(self.owner[piece])
        if owner not in handles:
            for handle in handles.values():
                handle.close()
            handles.clear()
            handles[owner] = self.openers[owner]()
        handle = handles[owner]
        rows = max(1, DECODE_BYTES // max(1, self.row_bytes))
        expected = int(self.starts[piece + 1] - self.starts[piece])
        start = int(self.starts[piece])
        for batch in handle.batches(int(self.group[piece]), self.layout.columns, rows):
            expected -= batch.num_rows
            if batch.num_rows:
                yield self.layout.decode(batch, start, handle.name)
            start += batch.num_rows
        if expected:
            raise FormatError(f"{WHERE}: {handle.name}: it gives other rows than its metadata says; it is damaged")

    def _blocks(self, rows: int) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        buffer = np.empty((rows, self.d), dtype=storage(self.dtype))
        start = filled = 0
        with closing(ordered(range(self.group.size), self._decode, _close_all, threads=THREADS)) as decoded:
            for block in decoded:
                done = 0
                while done < block.shape[0]:
                    count = min(rows - filled, block.shape[0] - done)
                    buffer[filled : filled + count] = block[done : done + count]
                    filled += count
                    done += count
                    if filled == rows:
                        yield start, buffer
                        start += filled
                        filled = 0
        if filled:
            yield start, buffer[:filled]

    def _gather(self, index: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        out = np.empty((index.size, self.d), dtype=storage(self.dtype))
        order = np.argsort(index, kind="stable")
        wanted = index[order]
        handles: dict[int, Handle] = {}
        try:
            low = 0
            while low < wanted.size:
                piece = int(np.searchsorted(self.starts, wanted[low], side="right")) - 1
                high = int(np.searchsorted(wanted, self.starts[piece + 1]))
                first = int(self.starts[piece])
                for block in self._decode(piece, handles):
                    stop = int(np.searchsorted(wanted, first + block.shape[0]))
                    out[order[low:stop]] = block[wanted[low:stop] - first]
                    low, first = stop, first + block.shape[0]
                    if low == high:
                        break
        finally:
            _close_all(handles)
        return out

    def _digest(self, blocks: int = SAMPLE_BLOCKS) -> str:
        digest = start_digest(self.n, self.d, self.dtype)
        digest.update(repr(self.layout.columns).encode())
        for opener in self.openers:
            if opener.file is None:
                for start, stop in sample_blocks(self.n, self.row_bytes, blocks):
                    digest.update(self._gather(np.arange(start, stop)).tobytes())
                continue
            # Decoding row groups for a few rows would cost a pass; the bytes of the file say the same.
            size = opener.file.size()
            digest.update(f"{size};".encode())
            with opener.file.open(exact=True) as handle:
                for start, stop in sample_blocks(size, 1, blocks_per_part(len(self.openers))):
                    handle.seek(start)
                    block = np.empty(stop - start, dtype=np.uint8)
                    read_exactly(handle, block, opener.file.name)
                    digest.update(block.tobytes())
        return digest.hexdigest()

    def column_names(self) -> list[str]:
        """Names of the other columns."""
        with closing(self.openers[0]()) as handle:
            return [name for name in handle.schema.names if name not in self.layout.columns]

    def read_column(self, name: str) -> npt.NDArray[Any]:
        """One of the other columns, of all files."""
        return np.concatenate([_read_column(opener, name) for opener in self.openers])


def _read_column(opener: Opener, name: str) -> npt.NDArray[Any]:
    with closing(opener()) as handle:
        if name not in handle.schema.names:
            raise InputError(f"{WHERE}: {handle.name}: no column {name!r}; it has {listing(handle.schema)}")
        parts = [
            column_values(batch.column(0), f"{WHERE}: {handle.name}: column {name!r}")
            for group in range(len(handle.counts()))
            for batch in handle.batches(group, [name], 1 << 16)
        ]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def _close_all(handles: dict[int, Handle]) -> None:
    for handle in handles.values():
        handle.close()
    handles.clear()


def open_arrow(found: Sequence[File], key: Any, description: str) -> Embeddings:
    """Opens parquet and Arrow IPC (feather) files as one source: their footers are read, their rows are not.

    Args:
        found: the files, in order.
        key: the list column (fixed-size or variable, all of one length), or a list of numeric columns. Not
            needed where there is only one list column.
        description: name of the whole.

    Raises:
        FormatError: damaged file, missing values, lists of several lengths.
        InputError: no such column, or several that could be meant; files that disagree.
    """
    openers = [file_opener(file) for file in found]
    if len(found) > SLOW_OPENS and found[0].local() is None:
        with ThreadPoolExecutor(SLOW_OPENS) as pool:
            facts = list(pool.map(_facts, openers))
    else:
        facts = [_facts(opener) for opener in openers]
    return _assemble(openers, facts, key, description, found[0].suffix[1:])


def _facts(opener: Opener) -> tuple[Any, list[int]]:
    with closing(opener()) as handle:
        return handle.schema, handle.counts()


def _assemble(
    openers: Sequence[Opener], facts: Sequence[tuple[Any, list[int]]], key: Any, description: str, kind: str
) -> ArrowRows:
    layout: Layout | None = None
    first = 0
    for index, ((schema, counts), opener) in enumerate(zip(facts, openers, strict=True)):
        if sum(counts) == 0 and len(openers) > 1:
            continue
        found = layout_of(schema, key, f"{WHERE}: {opener.name}")
        if layout is None:
            layout, first = found, index
        elif found != layout:
            raise InputError(
                f"{WHERE}: {opener.name}: its rows are {found}, but those of {openers[first].name} are {layout}; all "
                "shards must agree"
            )
    if layout is None:
        layout = layout_of(facts[0][0], key, f"{WHERE}: {openers[0].name}")
    if layout.d < 0:
        layout = layout.with_d(_first_length(openers[first], layout.columns))
    groups = [counts for _, counts in facts]
    path = openers[0].name if len(openers) == 1 else description
    if len(openers) > 1:
        description = f"{description} ({len(openers)} shards)"
    rows = ArrowRows(openers, layout, groups, description, kind)
    rows.path = path if openers[0].file is not None else None
    return rows


def _first_length(opener: Opener, columns: Sequence[str]) -> int:
    with closing(opener()) as handle:
        for group, count in enumerate(handle.counts()):
            if count:
                batch = next(iter(handle.batches(group, columns, 1)))
                value = batch.column(0)[0]
                if not value.is_valid:
                    raise FormatError(f"{WHERE}: {handle.name}: column {columns[0]!r}: row 0 is missing (null)")
                return len(value.values)
    return 0


def open_columns(file: File, column: str | None, what: str) -> npt.NDArray[Any]:
    """Returns a column of a parquet file of labels, ids or groups."""
    from featdiv.io.annotations import pick_column

    opener = file_opener(file)
    with closing(opener()) as handle:
        names = list(handle.schema.names)
    return _read_column(opener, pick_column(names, column, what, f"featdiv.open: {what}: {file.name}"))


def open_table(source: Any, key: Any) -> Embeddings:
    """Opens an Arrow table or record batch, or a Hugging Face dataset, also a shuffled or selected one."""
    pa = pyarrow()
    if isinstance(source, pa.RecordBatch):
        source = pa.Table.from_batches([source])
    if isinstance(source, pa.Table):
        return _from_table(source, key, "Arrow table")
    indices = getattr(source, "_indices", None)
    table = getattr(getattr(source, "data", None), "table", None)
    if not isinstance(table, pa.Table):
        raise InputError(
            f"{WHERE}: expected an Arrow table or a datasets.Dataset; got {type(source).__module__}."
            f"{type(source).__name__}. Pass the table of a column, with key=; choose one split of a DatasetDict; "
            "wrap a streaming dataset in a generator of 2-D chunks"
        )
    rows = _from_table(table, key, "Hugging Face dataset")
    if indices is None:
        return rows
    return Selected(rows, np.asarray(indices.column(0).to_numpy(), dtype=np.int64))


def _from_table(table: Any, key: Any, what: str) -> ArrowRows:
    opener = Opener(f"{what} of {table.num_rows} rows", lambda: TableHandle(table, what), None)
    with arrow_errors(f"{WHERE}: {what}"):
        return _assemble([opener], [_facts(opener)], key, opener.name, "arrow")


class Selected(Embeddings):
    """Rows of another source by their indices, as a shuffled or filtered Hugging Face dataset keeps them."""

    n: int

    def __init__(self, base: ArrowRows, index: npt.NDArray[np.int64]) -> None:
        super().__init__(
            n=int(index.size),
            d=base.d,
            dtype=base.dtype,
            description=f"{index.size} rows of {base.description}",
            format=base.format,
        )
        self.base = base
        self.index = index

    def _blocks(self, rows: int) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        for start in range(0, self.n, rows):
            yield start, self.base._gather(self.index[start : start + rows])

    def _gather(self, index: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        return self.base._gather(self.index[index])

    def _digest(self, blocks: int = SAMPLE_BLOCKS) -> str:
        digest = start_digest(self.n, self.d, self.dtype)
        digest.update(self.base._digest(blocks).encode())
        digest.update(self.index.tobytes())
        return digest.hexdigest()

    def column_names(self) -> list[str]:
        """Names of the other columns."""
        return self.base.column_names()

    def read_column(self, name: str) -> npt.NDArray[Any]:
        """One of the other columns, at the chosen rows."""
        return self.base.read_column(name)[self.index]
