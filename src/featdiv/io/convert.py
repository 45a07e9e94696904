"""`convert`: any source to a file or a directory of shards, as a stream and never half-written."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError, SourceNotFound
from featdiv.io.annotations import NAMES
from featdiv.io.casting import cast, largest
from featdiv.io.dtypes import named
from featdiv.io.embeddings import Embeddings, positive
from featdiv.io.progress import Progress, check_progress
from featdiv.io.sources import open as open_source
from featdiv.io.writers import FORMATS, Writer, replacing, sync_directory

Emit = Callable[[npt.NDArray[Any]], None]


def convert(
    src: Any,
    dst: str | os.PathLike[str],
    *,
    key: str | Sequence[str] | None = None,
    dtype: Any = None,
    shard_rows: int | None = None,
    format: str | None = None,
    chunk_rows: int | None = None,
    progress: Progress | None = None,
) -> Embeddings:
    """Writes the rows of any source to one file, or to a directory of shards with a manifest.

    Rows are streamed: a chunk is in memory, never the whole. The result appears under its name only when it
    is complete; an interruption leaves what was there before.

    Args:
        src: whatever `featdiv.open` takes, or an opened source (with its labels, ids and groups).
        dst: ``.npy .safetensors .fbin .f16bin .u8bin .i8bin .ibin .fvecs .bvecs .ivecs``; with ``shard_rows``
            a directory that does not exist yet or is empty.
        key: entry or column of ``src``; see `featdiv.open`.
        dtype: element type to write (``"float16"``, ``"bf16"``, ...). Default: that of ``src``, or the only
            one that the format holds.
        shard_rows: rows per shard.
        format: format of the shards, ``"npy"`` by default.
        chunk_rows: rows in memory at once. Default: about 64 MiB of them.
        progress: called with (rows done, rows in all or None) after every chunk.

    Returns:
        The opened result, with the labels, ids and groups of ``src``. These are also written beside it, as
        ``<dst stem>-labels.npy``, ``-ids.npy`` and ``-groups.npy``.

    Raises:
        InputError: before anything is written for a wrong destination or type; after a full pass, with their
            number and the first row, if values do not fit the type: floats that overflow, or integers that
            do not survive exactly. Nothing is written then.

    Example:
        >>> import tempfile, pathlib, numpy as np, featdiv
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     half = featdiv.convert(np.eye(4), pathlib.Path(folder) / "eye.npy", dtype="float16")
        ...     half.n, half.d, half.dtype
        (4, 4, 'float16')
    """
    path = os.path.expanduser(os.fspath(dst))
    if shard_rows is not None:
        shard_rows = positive(shard_rows, "featdiv.convert: shard_rows")
    kind = _format(path, format, shard_rows)
    check_progress(progress, function="featdiv.convert")
    wanted = None if dtype is None else named(dtype, "featdiv.convert: dtype")
    source = open_source(src, key=key, chunk_rows=chunk_rows)
    target = _target(source.dtype, wanted, kind)
    _check_destination(path, source, shard_rows)
    beside: dict[str, npt.NDArray[Any]] = {}
    with ExitStack() as stack:
        if shard_rows is None:
            emit = stack.enter_context(_one_file(path, kind, source.d, target))
        else:
            emit = stack.enter_context(_shard_directory(path, kind, source.d, target, shard_rows))
        beside = _pump(source, target, emit, progress)
        for what, values in beside.items():
            with replacing(_beside(path, what, shard_rows)) as handle:
                np.lib.format.write_array(handle, values, allow_pickle=False)
    return open_source(path, labels=beside.get("labels"), ids=beside.get("ids"), groups=beside.get("groups"))


def _format(path: str, format: str | None, shard_rows: int | None) -> str:
    if "://" in path:
        raise InputError(
            f"featdiv.convert: dst: expected a path on this machine, got {path}; copy the result afterwards"
        )
    suffix = os.path.splitext(path)[1].lower().removeprefix(".")
    if format is not None and format.lower().removeprefix(".") not in FORMATS:
        raise InputError(f"featdiv.convert: format: expected one of {', '.join(FORMATS)}; got {format!r}")
    chosen = None if format is None else format.lower().removeprefix(".")
    if shard_rows is not None:
        if suffix in FORMATS:
            raise InputError(
                f"featdiv.convert: dst: with shard_rows= it is a directory; got the file name {path!r}. "
                f"Use a name without extension and format={suffix!r}"
            )
        return chosen or "npy"
    if suffix not in FORMATS:
        raise InputError(
            "featdiv.convert: dst: expected a file with one of the extensions "
            f"{' '.join('.' + name for name in FORMATS)} (or shard_rows= for a directory of shards); got {path!r}"
        )
    if chosen not in (None, suffix):
        raise InputError(f"featdiv.convert: format: {chosen!r} contradicts the extension of {path!r}")
    return suffix


def _target(source: str, wanted: str | None, kind: str) -> str:
    _, held = FORMATS[kind]
    if wanted is None:
        wanted = held[0] if len(held) == 1 else source
    if wanted not in held:
        advice = "choose .safetensors for bfloat16, or dtype='float32'" if wanted == "bfloat16" else "choose another"
        raise InputError(f"featdiv.convert: dtype: .{kind} holds {', '.join(held)}, not {wanted}; {advice}")
    return wanted


def _check_destination(path: str, source: Embeddings, shard_rows: int | None) -> None:
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise SourceNotFound(f"featdiv.convert: dst: the directory {folder} does not exist; make it first")
    if shard_rows is not None:
        if os.path.lexists(path) and (not os.path.isdir(path) or os.listdir(path)):
            raise InputError(f"featdiv.convert: dst: {path} exists and is not an empty directory; choose another")
    elif os.path.isdir(path):
        raise InputError(f"featdiv.convert: dst: {path} is a directory; give a file name, or shard_rows=")
    elif (
        source.path is not None
        and all(map(os.path.exists, (path, source.path)))
        and os.path.samefile(path, source.path)
    ):
        raise InputError(f"featdiv.convert: dst: {path} is the source itself; choose another name")


def _beside(path: str, what: str, shard_rows: int | None) -> str:
    stem = path.rstrip(os.sep) if shard_rows is not None else os.path.splitext(path)[0]
    return f"{stem}-{what}.npy"


@contextmanager
def _one_file(path: str, kind: str, d: int, dtype: str) -> Iterator[Emit]:
    with replacing(path) as handle:
        writer = FORMATS[kind][0](handle, d, dtype)
        yield writer.write
        writer.finish()


@contextmanager
def _shard_directory(path: str, kind: str, d: int, dtype: str, shard_rows: int) -> Iterator[Emit]:
    path = path.rstrip(os.sep)
    folder = os.path.dirname(path) or "."
    temporary = os.path.join(folder, f".{os.path.basename(path)}.{secrets.token_hex(6)}.tmp")
    names: list[str] = []
    writer: Writer | None = None
    try:
        os.mkdir(temporary)
        with ExitStack() as shard:

            def emit(bits: npt.NDArray[Any]) -> None:
                nonlocal writer
                while bits.shape[0]:
                    if writer is None:
                        names.append(f"part-{len(names):05d}.{kind}")
                        handle = shard.enter_context(replacing(os.path.join(temporary, names[-1])))
                        writer = FORMATS[kind][0](handle, d, dtype)
                    count = min(shard_rows - writer.n, bits.shape[0])
                    writer.write(bits[:count])
                    bits = bits[count:]
                    if writer.n == shard_rows:
                        writer.finish()
                        writer = None
                        shard.close()

            yield emit
            if writer is not None:
                writer.finish()
        with replacing(os.path.join(temporary, "manifest.txt")) as handle:
            handle.write("".join(f"{name}\n" for name in names).encode())
        os.replace(temporary, path)
        sync_directory(folder)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError) and str(error.filename).startswith(temporary):
            error.filename = path + str(error.filename).removeprefix(temporary)
        raise


def _pump(source: Embeddings, target: str, emit: Emit, progress: Progress | None) -> dict[str, npt.NDArray[Any]]:
    """Sends all rows to ``emit``; returns the annotations, gathered where only the chunks have them."""
    lost = done = 0
    first = -1
    example: Any = None
    gathered: dict[str, list[npt.NDArray[Any]]] = {"labels": [], "groups": []}
    for chunk in source.chunks():
        rows = chunk.rows if isinstance(chunk.rows, np.ndarray) else chunk.rows.cpu()
        result = cast(rows, target)
        if result.lost:
            if not lost:
                first, example = chunk.start + result.first, result.example
            lost += result.lost
        if not lost:
            emit(result.bits)
        for what, values in (("labels", chunk.labels), ("groups", chunk.groups)):
            if values is not None and getattr(source, what) is None:
                gathered[what].append(values)
        done = chunk.start + int(rows.shape[0])
        if progress is not None:
            progress(done, source.n)
    if lost:
        raise InputError(
            f"featdiv.convert: dtype: {lost} {'value does' if lost == 1 else 'values do'} not fit {target} "
            f"({largest(target)}{', whole numbers only' if 'int' in target else ''}), the first in row {first}: "
            f"{example!r}. Choose a wider type; nothing was written"
        )
    found = {what: getattr(source, what) for what in NAMES if getattr(source, what) is not None}
    found.update({what: np.concatenate(values) for what, values in gathered.items() if values})
    return found
