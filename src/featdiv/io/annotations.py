"""Labels, ids and groups: one value for each row, from an array, a file or several, or a column beside the rows."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import FormatError, InputError, SourceNotFound
from featdiv.io import files
from featdiv.io.embeddings import Embeddings
from featdiv.io.npy import check_size, read_header

NAMES = ("labels", "ids", "groups")
SUFFIXES = (".npy", ".txt", ".csv", ".parquet")


def attach(source: Embeddings, **given: Any) -> Embeddings:
    """Returns ``source`` with labels, ids and groups; what it already carries may be given again only if equal.

    Raises:
        InputError: for a wrong length, a wrong shape, or a conflict with what the source carries.
    """
    found = {}
    for what, value in given.items():
        if value is None:
            continue
        values = _resolve(value, source, what)
        if source.n is not None and values.size != source.n:
            raise InputError(
                f"featdiv.open: {what}: expected {source.n} entries, one for each row; got {values.size}. "
                f"Check that they belong to {source.description}"
            )
        carried = getattr(source, what)
        if carried is not None and not (carried.shape == values.shape and bool((carried == values).all())):
            raise InputError(
                f"featdiv.open: {what}: the source carries other {what} already; give them once, "
                f"or change them with source.replaced({what}=...)"
            )
        found[what] = values
    return source.replaced(**found) if found else source


def attach_beside(source: Embeddings, folder: str, given: Mapping[str, Any]) -> Embeddings:
    """Returns features that `featdiv.extract` wrote, with the labels and ids that it wrote into the same directory.

    Nothing is attached for labels or ids that the caller gives. Labels of images with several classes each are
    skipped too: they are a matrix, and a source holds one label for each row.

    Raises:
        InputError: if they do not fit the rows.
    """
    for what in ("labels", "ids"):
        path = os.path.join(folder, f"{what}.npy")
        if given[what] is not None or not os.path.isfile(path):
            continue
        try:
            if _dimensions(path) == 1:
                source = attach(source, **{what: path})
        except InputError as error:
            raise type(error)(f"{error}. They were found in {path}; pass {what}= to use others") from None
    found = [what for what in ("labels", "ids") if getattr(source, what) is not None]
    return source.replaced(description=f"{source.description} with its {' and '.join(found)}") if found else source


def _dimensions(path: str) -> int:
    with files.LocalFile(path).open() as handle:
        return len(read_header(handle, path).shape)


def _resolve(value: Any, source: Embeddings, what: str) -> npt.NDArray[Any]:
    if isinstance(value, str) and value in source.column_names():
        return as_values(source.read_column(value), what)
    if isinstance(value, (str, os.PathLike)):
        return _from_path(os.fspath(value), source, what, as_name=isinstance(value, str))
    return as_values(value, what)


def as_values(values: Any, what: str) -> npt.NDArray[Any]:
    """Returns ``values`` as a 1-D array of integers, floats, booleans or strings.

    Raises:
        InputError: for other shapes, missing values, or Python objects.
    """
    where = f"featdiv.open: {what}"
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    elif type(values).__module__.startswith("cupy"):
        values = values.get()
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise InputError(f"{where}: expected one value for each row; got what is not an array: {error}") from None
    if array.ndim != 1:
        raise InputError(
            f"{where}: expected a 1-D array, one value for each row; got shape {array.shape}{_flattened(array, what)}"
        )
    if array.dtype.kind == "O":
        kinds = {type(value) for value in array.tolist()}
        if not (kinds <= {str} or kinds <= {int} or kinds <= {bytes}):
            names = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise InputError(f"{where}: expected all strings or all integers, none missing; got values of type {names}")
        array = np.array(array.tolist())
    if array.dtype.kind == "T":
        array = array.astype(str)
    if array.dtype.kind not in "biufUS":
        raise InputError(f"{where}: expected integers, floats or strings; got {array.dtype.name}")
    return array


def _flattened(array: npt.NDArray[Any], what: str) -> str:
    """Returns what to pass in the place of a 2-D array, or an empty text."""
    if array.ndim != 2:
        return ""
    if array.shape[1] == 1:
        return f". Pass np.ravel({what})"
    if what == "labels":
        return ". Where each row is the one-hot code of its class, pass np.argmax(labels, axis=1)"
    return ""


def _from_path(path: str, source: Embeddings, what: str, *, as_name: bool) -> npt.NDArray[Any]:
    where = f"featdiv.open: {what}"
    path, _, column = path.partition("::") if not os.path.exists(path) else (path, "", "")
    path = os.path.expanduser(path)
    if "://" not in path and files.is_glob(path):
        return _from_shards(path, column, source, what)
    suffix = os.path.splitext(path)[1].lower()
    if "://" in path:
        from featdiv.io.remote import open_remote

        file: files.File = open_remote(path)
    elif os.path.isfile(path):
        file = files.LocalFile(path)
    else:
        names = source.column_names()
        known = f"; it has {', '.join(map(repr, names))}" if names else ""
        message = f"{where}: no such file: {path}"
        if as_name and not suffix:
            message = f"{where}: no such file, and {source.description} has no column {path!r}{known}"
        raise files.not_found(path, message, kinds=SUFFIXES)
    if suffix not in SUFFIXES:
        raise InputError(
            f"{where}: {path}: expected a file of type {', '.join(SUFFIXES)}; got {suffix or 'no extension'}"
        )
    if suffix == ".parquet":
        from featdiv.io.arrow import open_columns

        return as_values(open_columns(file, column or None, what), what)
    if suffix == ".csv":
        return _from_csv(file, column or None, what)
    if column:
        raise InputError(f"{where}: {path}: only .csv and .parquet files have columns; leave ::{column} out")
    return _from_npy(file, where, what) if suffix == ".npy" else _from_lines(file, where)


def _from_shards(pattern: str, column: str, source: Embeddings, what: str) -> npt.NDArray[Any]:
    """Returns the values of all files that match a pattern, in natural order, as the shards of rows are read."""
    where = f"featdiv.open: {what}"
    try:
        names = files.expand_glob(pattern, kinds=SUFFIXES)
    except SourceNotFound as error:
        raise SourceNotFound(f"{where}: {str(error).removeprefix(f'{files.WHERE}: ')}") from None
    parts = [_from_path(f"{name}::{column}" if column else name, source, what, as_name=False) for name in names]
    kinds = {"text" if part.dtype.kind in "US" else "numbers" for part in parts}
    if len(kinds) > 1:
        raise InputError(f"{where}: {pattern}: expected numbers in all files, or text in all; got both")
    shards = source.rows_of_shards
    if len(shards) == len(parts):
        # As many rows in all would pass for the labels of others.
        for name, part, (shard, count) in zip(names, parts, shards, strict=True):
            if part.size != count:
                raise InputError(
                    f"{where}: {name}: expected {count} entries, one for each row of {shard}; got {part.size}"
                )
    return np.concatenate(parts)


def _from_npy(file: files.File, where: str, what: str) -> npt.NDArray[Any]:
    with file.open() as handle:
        header = read_header(handle, f"{where}: {file.name}")
        shape = "x".join(map(str, header.shape))
        check_size(header.bytes, file.size() - header.offset, f"{shape} {header.dtype.name}", f"{where}: {file.name}")
    raw = files.read_head(file, header.bytes, header.offset)
    array = np.frombuffer(raw, dtype=header.dtype)
    return as_values(array.reshape(header.shape, order="F" if header.fortran else "C"), what)


def _text(file: files.File, where: str) -> str:
    try:
        return files.read_head(file, file.size()).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise FormatError(f"{where}: {file.name}: expected UTF-8 text; it is not") from None


def _from_lines(file: files.File, where: str) -> npt.NDArray[Any]:
    lines = _text(file, where).splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    return _numbers_or_text(lines)


def _numbers_or_text(values: list[str]) -> npt.NDArray[Any]:
    try:
        return np.array([int(value) for value in values], dtype=np.int64)
    except (ValueError, OverflowError):
        return np.array(values, dtype=str)


def _from_csv(file: files.File, column: str | None, what: str) -> npt.NDArray[Any]:
    where = f"featdiv.open: {what}: {file.name}"
    try:
        rows = [row for row in csv.reader(io.StringIO(_text(file, f"featdiv.open: {what}"), newline="")) if row]
    except csv.Error as error:
        raise FormatError(f"{where}: not a CSV file: {error}") from None
    if not rows:
        raise FormatError(f"{where}: the file is empty")
    header = rows[0]
    if column is None and len(header) == 1 and _numbers_or_text([row[0] for row in rows]).dtype.kind == "i":
        return _numbers_or_text([row[0] for row in rows])
    at = header.index(pick_column(header, column, what, where))
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise FormatError(f"{where}: line {line} has {len(row)} fields, but the header has {len(header)}")
    return _numbers_or_text([row[at] for row in rows[1:]])


def pick_column(columns: list[str], column: str | None, what: str, where: str) -> str:
    """Returns the name of the column to read: the one asked for, or the only one, or the one named after ``what``.

    Raises:
        InputError: if the choice is not clear; the message lists the columns.
    """
    if column is not None:
        if column not in columns:
            raise InputError(f"{where}: no column {column!r}; it has {', '.join(map(repr, columns))}")
        return column
    if len(columns) == 1:
        return columns[0]
    matches = [name for name in columns if name.lower() in (what, what.removesuffix("s"))]
    if len(matches) == 1:
        return matches[0]
    raise InputError(
        f"{where}: it has the columns {', '.join(map(repr, columns))}; "
        f"say which, as in {Path(where.rpartition(': ')[2]).name}::{columns[0]}"
    )
