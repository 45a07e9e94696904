"""From Arrow columns to NumPy rows: which columns hold them, and how they are laid out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import FormatError, InputError
from featdiv.io.arrow_files import pyarrow
from featdiv.io.dtypes import ITEMSIZE
from featdiv.io.files import WHERE


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the rows are: one list column, or several numeric columns.

    Attributes:
        columns: names of the columns.
        flat: True for numeric columns, False for a list column.
        d: number of features; -1 for lists of variable length, until the first row is read.
        dtype: element type.
    """

    columns: tuple[str, ...]
    flat: bool
    d: int
    dtype: str

    def __str__(self) -> str:
        kind = "numeric columns" if self.flat else "lists"
        return f"{kind} of {'any length' if self.d < 0 else self.d} {self.dtype}"

    def with_d(self, d: int) -> Layout:
        """Returns the layout with the length of its lists filled in."""
        return dataclasses.replace(self, d=d)

    def decode(self, batch: Any, start: int, name: str) -> npt.NDArray[Any]:
        """Returns the rows of a record batch, which has just these columns, as (m, d).

        Raises:
            FormatError: for missing values, or lists of another length.
        """
        where = f"{WHERE}: {name}"
        if self.flat:
            out = np.empty((batch.num_rows, self.d), dtype=self.dtype)
            for j, column in enumerate(batch.columns):
                _refuse_nulls(column, start, f"{where}: column {self.columns[j]!r}")
                out[:, j] = column.to_numpy(zero_copy_only=False)
            return out
        column = _storage(batch.column(0))
        where = f"{where}: column {self.columns[0]!r}"
        _refuse_nulls(column, start, where)
        _check_lengths(column, self.d, start, where)
        # flatten() honours the offset of a slice, which .values does not.
        values = column.flatten()
        if values.null_count:
            first = int(np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))[0])
            raise FormatError(
                f"{where}: {values.null_count} values are missing (null), the first in row {start + first // self.d}; "
                "fill or drop them"
            )
        rows: npt.NDArray[Any] = values.to_numpy(zero_copy_only=False).reshape(batch.num_rows, self.d)
        return rows.view(np.uint8) if rows.dtype.kind == "b" else rows


def _storage(column: Any) -> Any:
    return column.storage if hasattr(column, "storage") else column


def _refuse_nulls(column: Any, start: int, where: str) -> None:
    if column.null_count:
        first = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise FormatError(
            f"{where}: {column.null_count} rows are missing (null), the first is row {start + first}; "
            "dropping them would misalign labels and ids, so drop them in the file"
        )


def _check_lengths(column: Any, d: int, start: int, where: str) -> None:
    pa = pyarrow()
    if pa.types.is_fixed_size_list(column.type):
        return
    lengths = np.diff(column.offsets.to_numpy())
    wrong = np.flatnonzero(lengths != d)
    if wrong.size:
        raise FormatError(
            f"{where}: row {start + int(wrong[0])} has {int(lengths[wrong[0]])} values, but the first row has {d}; "
            "every row must have the same length"
        )


def layout_of(schema: Any, key: Any, where: str) -> Layout:
    """Returns where the rows are: the columns that ``key`` names, or the only list column of numbers.

    Raises:
        InputError: if a column does not exist or cannot hold rows, or the choice is not clear.
    """
    names = list(schema.names)
    if key is None:
        candidates = [field.name for field in schema if _list_element(field.type) is not None]
        if len(candidates) != 1:
            what = f"{len(candidates)} list columns of numbers" if candidates else "no list column of numbers"
            advice = "key='name' for a list column, key=['a', 'b', ...] for numeric columns"
            raise InputError(f"{where}: it holds {what}; say which to read with {advice}. It has {listing(schema)}")
        key = candidates[0]
    single = isinstance(key, str)
    if not single and not (isinstance(key, Sequence) and key and all(isinstance(name, str) for name in key)):
        raise InputError(f"{where}: key: expected the name of a column or a list of names; got {key!r}")
    columns = (key,) if single else tuple(key)
    for name in columns:
        if names.count(name) != 1:
            problem = "no column" if name not in names else "more than one column"
            raise InputError(f"{where}: key: {problem} {name!r}; it has {listing(schema)}")
    if len(set(columns)) != len(columns):
        raise InputError(f"{where}: key: a column is named twice")
    if len(columns) == 1:
        found = schema.field(columns[0]).type
        element = _list_element(found)
        if element is not None:
            return Layout(columns, flat=False, d=_fixed_length(found), dtype=element)
        if single:
            raise InputError(f"{where}: key: expected a list column of numbers, {key!r} is {found}{_hint(found, key)}")
    types = {name: _element(schema.field(name).type) for name in columns}
    for name, dtype in types.items():
        if dtype is None:
            raise InputError(f"{where}: key: expected numeric columns, {name!r} is {schema.field(name).type}")
    if len(set(types.values())) > 1:
        first, second = list(dict.fromkeys(types.values()))[:2]
        raise InputError(f"{where}: key: expected columns of one type, got {first} and {second}; cast them first")
    return Layout(columns, flat=True, d=len(columns), dtype=str(types[columns[0]]))


def _hint(found: Any, key: str) -> str:
    pa = pyarrow()
    if _element(found) is not None:
        return f"; for a single feature write key=[{key!r}]"
    if pa.types.is_list(found) or pa.types.is_fixed_size_list(found) or pa.types.is_large_list(found):
        return "; flatten or pool nested lists first"
    return ""


def _element(found: Any) -> str | None:
    pa = pyarrow()
    if pa.types.is_boolean(found):
        return "uint8"
    if not (pa.types.is_integer(found) or pa.types.is_floating(found)):
        return None
    name = np.dtype(found.to_pandas_dtype()).name
    return name if name in ITEMSIZE else None


def _list_element(found: Any) -> str | None:
    pa = pyarrow()
    if isinstance(found, pa.BaseExtensionType):
        found = found.storage_type
    if pa.types.is_list(found) or pa.types.is_large_list(found) or pa.types.is_fixed_size_list(found):
        return _element(found.value_type)
    return None


def _fixed_length(found: Any) -> int:
    pa = pyarrow()
    if isinstance(found, pa.BaseExtensionType):
        found = found.storage_type
    return int(found.list_size) if pa.types.is_fixed_size_list(found) else -1


def column_values(column: Any, where: str) -> npt.NDArray[Any]:
    """Returns a column of labels, ids or groups as NumPy; dictionaries are decoded.

    Raises:
        FormatError: for missing values.
    """
    pa = pyarrow()
    if column.null_count:
        raise FormatError(f"{where}: {column.null_count} values are missing (null); fill them, for example with -1")
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    values: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return np.array(values.tolist()) if values.dtype.kind == "O" and pa.types.is_string(column.type) else values


def listing(schema: Any) -> str:
    """Returns names and types of the columns, cut short where there are many."""
    shown = [f"{field.name!r} {field.type}" for field in schema][:12]
    return ", ".join(shown) + (f", and {len(schema) - 12} more" if len(schema) > 12 else "")
