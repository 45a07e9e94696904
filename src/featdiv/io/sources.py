"""`open`: from whatever holds embeddings to an `Embeddings` source."""

from __future__ import annotations

import importlib
import itertools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from featdiv.errors import FormatError, InputError, SourceNotFound
from featdiv.io import files
from featdiv.io.annotations import attach, attach_beside
from featdiv.io.arrays import is_array, open_array, open_frame, open_mapping
from featdiv.io.embeddings import Embeddings, positive
from featdiv.io.entries import refuse_key
from featdiv.io.files import WHERE, File, LocalFile
from featdiv.io.shards import Shards
from featdiv.io.stream import Stream

FORMATS = {
    ".npy": ("featdiv.io.npy", "open_npy"),
    ".npz": ("featdiv.io.npz", "open_npz"),
    ".fbin": ("featdiv.io.raw", "open_bin"),
    ".f16bin": ("featdiv.io.raw", "open_bin"),
    ".u8bin": ("featdiv.io.raw", "open_bin"),
    ".i8bin": ("featdiv.io.raw", "open_bin"),
    ".ibin": ("featdiv.io.raw", "open_bin"),
    ".fvecs": ("featdiv.io.raw", "open_vecs"),
    ".bvecs": ("featdiv.io.raw", "open_vecs"),
    ".ivecs": ("featdiv.io.raw", "open_vecs"),
    ".safetensors": ("featdiv.io.safetensors_", "open_safetensors"),
    ".pt": ("featdiv.io.pt", "open_pt"),
    ".pth": ("featdiv.io.pt", "open_pt"),
    ".h5": ("featdiv.io.hdf5", "open_hdf5"),
    ".hdf5": ("featdiv.io.hdf5", "open_hdf5"),
}
"""Extension to (module, function(file, key) -> Embeddings); modules are loaded when a file needs them."""

ARROW = (".parquet", ".arrow", ".feather", ".ipc")
"""Extensions read by `featdiv.io.arrow`, which takes all shards at once."""

MANIFESTS = (".txt", ".json")
SHARDS = (*FORMATS, *ARROW)
READABLE = (*SHARDS, *MANIFESTS, files.FOLDER)
LARGEST_MANIFEST = 64 << 20

_MAGIC = {
    b"\x93NUMPY": ".npy",
    b"PK\x03\x04": ".npz or .pt",
    b"PAR1": ".parquet",
    b"ARROW1": ".arrow",
    b"\x89HDF": ".h5",
}


def open(
    source: Any,
    *,
    key: str | Sequence[str] | None = None,
    labels: Any = None,
    ids: Any = None,
    groups: Any = None,
    chunk_rows: int | None = None,
) -> Embeddings:
    """Opens embeddings, wherever they are, without reading them.

    Args:
        source: one of

            * an (n, d) array: NumPy, torch (CPU or GPU), CuPy, anything with DLPack; a pandas frame; an Arrow
              table; a Hugging Face dataset; a mapping of names to arrays; an h5py or zarr array;
            * a path or URL: ``.npy .npz .fbin .f16bin .u8bin .i8bin .ibin .fvecs .bvecs .ivecs .safetensors
              .pt``, with extras ``.parquet .arrow .feather`` (featdiv[arrow]), ``.h5`` (featdiv[hdf5]) and
              URLs (featdiv[remote]);
            * several of them as shards: a directory, a glob, a manifest (``.txt`` with one path a line, or
              ``.json`` with a list, relative to the manifest), a list of paths or of arrays. Shards are read
              in natural order: shard2 before shard10;
            * a directory that `featdiv.extract` wrote: its rows, with the labels and ids that lie beside them,
              unless others are given;
            * an iterable of (m, d) chunks, of (rows, labels) pairs as a DataLoader gives, or of mappings; it
              is read once and its length is not known;
            * an `Embeddings`, which passes through.
        key: the entry (``.npz .safetensors .pt .h5``) or column (parquet, Arrow, mappings) that holds the
            rows; for tables, also a list of numeric columns. Not needed where only one entry can be meant.
        labels: (n,) labels: an array, a path (``.npy``, ``.txt`` with one a line, ``.csv`` or ``.parquet``,
            with ``::column`` where it has several), a pattern of such paths, read in natural order as the shards
            of rows are, or the name of a column or entry beside the rows.
        ids: (n,) ids, likewise.
        groups: (n,) groups, likewise.
        chunk_rows: rows per chunk. Default: so many that a chunk has about 64 MiB.

    Returns:
        The source. Float and integer types are read as they are; bool is read as uint8.

    Raises:
        SourceNotFound: nothing is there.
        FormatError: a file is not what its name or header says: truncated, damaged, or with a pickle inside.
        InputError: rows that are not 2-D numbers, no rows, shards that disagree, an unknown key, annotations
            of the wrong length.
        MissingDependency: the format needs an extra that is not installed.

    Example:
        >>> import numpy as np, featdiv
        >>> source = featdiv.open(np.ones((10, 3), dtype=np.float16), labels=["a", "b"] * 5)
        >>> source
        <Embeddings 10 x 3 float16 from array 10 x 3 float16>
        >>> featdiv.open((np.ones((4, 3)) for _ in range(5))).n is None
        True
    """
    if chunk_rows is not None:
        chunk_rows = positive(chunk_rows, "featdiv.open: chunk_rows")
    given = {"labels": labels, "ids": ids, "groups": groups}
    if isinstance(source, Embeddings):
        refuse_key(key, WHERE, "an opened source")
        found = source
    else:
        found = _open_any(source, key, given)
    if found.n == 0:
        raise InputError(f"{WHERE}: {found.description}: expected at least one row, got none (shape (0, {found.d}))")
    if found.d == 0:
        raise InputError(f"{WHERE}: {found.description}: expected at least one feature, got d = 0")
    found = attach(found, **given)
    return found if chunk_rows is None else found.replaced(default_rows=chunk_rows)


def _open_any(source: Any, key: Any, given: dict[str, Any]) -> Embeddings:
    if isinstance(source, (str, os.PathLike)):
        return open_path(os.fspath(source), key, given)
    module = type(source).__module__.partition(".")[0]
    if module in ("pyarrow", "datasets"):
        from featdiv.io.arrow import open_table

        return open_table(source, key)
    if module in ("h5py", "zarr") and hasattr(source, "shape"):
        from featdiv.io.hdf5 import open_sliceable

        refuse_key(key, WHERE, f"a {module} array")
        return open_sliceable(source)
    if hasattr(source, "columns") and hasattr(source, "to_numpy"):
        return open_frame(source, key)
    if isinstance(source, Mapping):
        return open_mapping(source, key)
    if is_array(source):
        refuse_key(key, WHERE, "an array")
        return open_array(source)
    if isinstance(source, (list, tuple)):
        return _open_sequence(source, key, given)
    if isinstance(source, (bytes, bytearray)) or not isinstance(source, Iterable):
        advice = ". Pass a DataLoader of it" if hasattr(source, "__getitem__") and hasattr(source, "__len__") else ""
        raise InputError(
            f"{WHERE}: expected an array, a path, or an iterable of 2-D chunks; got {type(source).__name__}{advice}"
        )
    return _open_iterable(source, key, given)


def _open_iterable(source: Iterable[Any], key: Any, given: dict[str, Any]) -> Embeddings:
    stream = Stream(source, key, {what: value for what, value in given.items() if isinstance(value, str)})
    if stream.mappings:
        for what in ("labels", "groups"):
            if isinstance(given[what], str):
                given[what] = None
        if isinstance(given["ids"], str):
            raise InputError(
                f"featdiv.open: ids: a one-pass source cannot keep the column {given['ids']!r}; pass ids= as an array"
            )
    return stream


def _open_sequence(source: Sequence[Any], key: Any, given: dict[str, Any]) -> Embeddings:
    if not source:
        raise InputError(f"{WHERE}: expected rows, got an empty {type(source).__name__}")
    if all(isinstance(item, (str, os.PathLike)) for item in source):
        paths = [os.fspath(item) for item in source]
        _refuse_other_order(paths, given)
        return open_files([_file(path) for path in paths], key, f"{len(source)} paths")
    if all(is_array(item) and getattr(item, "ndim", 2) != 0 for item in source):
        refuse_key(key, WHERE, "a list of arrays")
        if len(source) == 2 and getattr(source[0], "ndim", 0) == 2 and getattr(source[1], "ndim", 0) == 1:
            raise InputError(f"{WHERE}: got a pair of rows and a 1-D array; pass the second as labels=")
        if len(source) > 1 and all(getattr(item, "ndim", 2) == 1 for item in source):
            raise InputError(
                f"{WHERE}: got a {type(source).__name__} of 1-D arrays; a list is read as a list of paths or of 2-D "
                "chunks. Pass np.stack(x), or torch.stack(x), for a list of rows"
            )
        parts = [open_array(item, f"{WHERE}: chunk {index}") for index, item in enumerate(source)]
        return Shards(parts, description=f"{type(source).__name__} of arrays")
    if isinstance(source[0], (list, tuple, int, float, complex)) and not _is_pair(source[0]):
        raise InputError(
            f"{WHERE}: got a {type(source).__name__} of {type(source[0]).__name__}s; a list is read as a list of paths "
            "or of 2-D chunks. Pass np.asarray(x) for nested lists of numbers"
        )
    return _open_iterable(source, key, given)


def _refuse_other_order(paths: Sequence[str], given: Mapping[str, Any]) -> None:
    """Raises InputError if labels, ids or groups come by a pattern, in natural order, and the rows in another."""
    patterns = {what: os.fspath(value) for what, value in given.items() if isinstance(value, (str, os.PathLike))}
    for what, pattern in patterns.items():
        if not files.is_glob(pattern) or paths == sorted(paths, key=files.natural):
            continue
        first, second = next(
            pair for pair in itertools.pairwise(paths) if files.natural(pair[0]) > files.natural(pair[1])
        )
        raise InputError(
            f"featdiv.open: {what}: the files of {pattern!r} are read in natural order, but those of the rows were "
            f"given in another: {first} before {second}. Give the rows as a pattern, too (in the shell in quotes, so "
            "that it does not expand it by the alphabet)"
        )


def _is_pair(item: Any) -> bool:
    return isinstance(item, (list, tuple)) and len(item) == 2 and is_array(item[0])


def _file(path: str) -> File:
    if "://" in path:
        from featdiv.io.remote import open_remote

        return open_remote(path)
    path = os.path.expanduser(path)
    if not os.path.exists(path):
        raise files.not_found(path, kinds=SHARDS)
    if os.path.isdir(path):
        raise InputError(f"{WHERE}: {path}: expected a file in a list of shards, got a directory")
    return LocalFile(path)


def open_path(path: str, key: Any, given: Mapping[str, Any]) -> Embeddings:
    """Opens a file, a directory, a glob or a manifest; ``given`` are labels, ids and groups of the caller, by name."""
    if "://" in path:
        from featdiv.io.remote import expand

        found, single = expand(path)
        if single:
            return open_file(found[0], key)
        return open_files(found, key, path, path=path)
    path = os.path.expanduser(path)
    if files.is_glob(path):
        matches = [LocalFile(name) for name in files.expand_glob(path, kinds=READABLE)]
        return open_files(matches, key, path, path=path)
    if not os.path.exists(path):
        raise files.not_found(path, kinds=READABLE)
    if os.path.isdir(path):
        return _open_directory(path, key, given)
    return open_file(LocalFile(path), key)


def open_file(file: File, key: Any) -> Embeddings:
    """Opens one file by its extension."""
    suffix = file.suffix
    if suffix in MANIFESTS:
        return _open_manifest(file, key)
    if suffix in ARROW:
        from featdiv.io.arrow import open_arrow

        return open_arrow([file], key, file.name)
    if suffix not in FORMATS:
        raise _unknown(file)
    module, function = FORMATS[suffix]
    opened: Embeddings = getattr(importlib.import_module(module), function)(file, key)
    return opened


def _unknown(file: File) -> FormatError:
    head = files.read_head(file, 8)
    guess = next((suffix for magic, suffix in _MAGIC.items() if head.startswith(magic)), None)
    hint = f"; its content looks like {guess}, so rename it" if guess else ""
    if file.suffix in (".pkl", ".pickle", ".joblib"):
        hint = "; pickles are never loaded, because they can run code: save the array with np.save"
    elif file.suffix in (".csv", ".tsv"):
        hint = "; read it with pandas and pass the frame, or convert it to .parquet or .npy"
    return FormatError(
        f"{WHERE}: {file.name}: unknown extension {file.suffix or '(none)'!r}{hint}. "
        f"Known are {' '.join([*FORMATS, *ARROW, *MANIFESTS])}"
    )


def open_files(found: Sequence[File], key: Any, description: str, path: str | None = None) -> Embeddings:
    """Opens several files as shards of one source, in the order given."""
    suffixes = {file.suffix for file in found}
    if suffixes <= set(ARROW):
        from featdiv.io.arrow import open_arrow

        return open_arrow(found, key, description)
    if len(found) == 1:
        return open_file(found[0], key)
    _refuse_manifests(found)
    return Shards([open_file(file, key) for file in found], description=description, path=path)


def _refuse_manifests(found: Sequence[File]) -> None:
    for file in found:
        if file.suffix in MANIFESTS:
            raise InputError(f"{WHERE}: {file.name}: a manifest cannot be a shard; open it by itself")


def _open_directory(path: str, key: Any, given: Mapping[str, Any]) -> Embeddings:
    names = files.list_directory(path)
    manifests = (os.path.join(path, f"manifest{suffix}") for suffix in MANIFESTS)
    manifest = next((name for name in manifests if name in names), None)
    if manifest is None:
        found = shard_files([LocalFile(name) for name in names], path)
        try:
            return open_files(found, key, path, path=path)
        except InputError as error:
            if len(found) == 1 or type(error) is not InputError:
                raise
            example = os.path.join(path, f"features-*{found[0].suffix}")
            raise InputError(
                f"{error}. All {len(found)} files of the directory are taken for shards of the rows; if some hold "
                f"labels or something else, choose with a glob, for example {example!r}"
            ) from None
    opened = _open_manifest(LocalFile(manifest), key)
    opened.extraction = _extraction(os.path.join(path, "extraction.json"))
    return opened if opened.extraction is None else attach_beside(opened, path, given)


def _extraction(path: str) -> dict[str, Any] | None:
    """Returns what `featdiv.extract` recorded in this file about its features; None if another program wrote it."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        facts = content["facts"] if content["format"] == "featdiv.extraction" else {}
        return {name: value for name, value in facts.items() if name != "stored"} or None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def shard_files(found: Sequence[File], path: str) -> list[File]:
    """Returns the files of a directory that hold embeddings; they must all be of one format.

    Raises:
        InputError: if there are none, or several kinds.
    """
    known = [file for file in found if file.suffix in FORMATS or file.suffix in ARROW]
    if not known:
        what = f"{len(found)} files, none of them" if found else "no files; expected files"
        raise InputError(
            f"{WHERE}: {path}: the directory holds {what} of a known type ({' '.join([*FORMATS, *ARROW])})"
        )
    counts: dict[str, int] = {}
    for file in known:
        counts[file.suffix] = counts.get(file.suffix, 0) + 1
    if len(counts) > 1:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
        raise InputError(
            f"{WHERE}: {path}: the directory mixes kinds of files ({kinds}); "
            f"choose with a glob, for example {os.path.join(path, '*' + known[0].suffix)!r}"
        )
    return known


def _open_manifest(file: File, key: Any) -> Embeddings:
    where = f"{WHERE}: {file.name}"
    if file.size() > LARGEST_MANIFEST:
        raise FormatError(f"{where}: {file.size()} bytes are too many for a manifest, a list of paths")
    try:
        text = files.read_head(file, LARGEST_MANIFEST).decode("utf-8-sig")
        paths = json.loads(text) if file.suffix == ".json" else [line.strip() for line in text.splitlines()]
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise FormatError(f"{where}: expected a manifest: UTF-8 text with one path a line, or a JSON list") from None
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise FormatError(f"{where}: expected a JSON list of paths")
    paths = [path for path in paths if path and not path.startswith("#")]
    if not paths:
        raise FormatError(f"{where}: the manifest names no files")
    if "\0" in text or _is_number(paths[0].split()[0].rstrip(",;")):
        raise FormatError(f"{where}: expected one path a line; it looks like numbers. Use .npy or .parquet for rows")
    try:
        found = [_file(path if "://" in path else file.sibling(path)) for path in paths]
    except SourceNotFound as error:
        raise SourceNotFound(f"{where}, a list of paths: {str(error).removeprefix(f'{WHERE}: ')}") from None
    _refuse_manifests(found)
    return open_files(found, key, file.name, path=file.name)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
