"""What a column of labels says: one class an image, or several."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.backbones.image_folders import WHERE
from featdiv.errors import InputError


def present_in(labels: npt.NDArray[np.int64]) -> list[int]:
    """Returns the numbers of the classes that some image has.

    Example:
        >>> import numpy as np
        >>> from featdiv.backbones.image_labels import present_in
        >>> present_in(np.array([2, 0, -1, 2])), present_in(np.array([[0, 1], [0, 0]]))
        ([0, 2], [1])
    """
    if labels.ndim == 2:
        return [int(label) for label in np.flatnonzero(labels.any(axis=0))]
    return [int(label) for label in np.unique(labels) if label >= 0]


def numbered(
    columns: Sequence[Any], classes: tuple[str, ...] | None, where: str
) -> tuple[npt.NDArray[np.int64] | None, tuple[str, ...]]:
    """Returns labels as numbers, and the names of the classes.

    Args:
        columns: of each part: (n,) numbers or names; a (n, c) table of 0 and 1; or for each image a list of numbers or
            names, where it may have several classes; None where a part has none.
        classes: names of the classes, where they are known.
        where: the source, for messages.

    Returns:
        (n,) numbers, -1 where an image has no class, or a (n, c) table of 0 and 1; and the names.

    Raises:
        InputError: for other labels, and for classes without a name.
    """
    if any(column is None for column in columns):
        return None, ()
    parts = [_column(column) for column in columns]
    if all(_lists(part) for part in parts):
        return _table([part.tolist() for part in parts], classes, where)
    if any(part.ndim == 2 for part in parts):
        return _checked(parts, classes, where)
    values = np.concatenate(parts)
    if values.dtype.kind in "biu":
        numbers = values.astype(np.int64)
        if numbers.size and numbers.min() < -1:
            raise InputError(f"{WHERE}: {where}: expected labels from 0 on, or -1 for unknown; got {numbers.min()}")
        names = classes or tuple(map(str, range(int(numbers.max(initial=-1)) + 1)))
        if numbers.size and numbers.max() >= len(names):
            raise InputError(f"{WHERE}: {where}: label {numbers.max()} has no name; there are {len(names)} class names")
        return (None, ()) if (numbers < 0).all() else (numbers, names)
    if values.dtype.kind not in "OUST" or not all(isinstance(value, str) for value in values.tolist()):
        raise InputError(f"{WHERE}: {where}: expected labels that are integers or names; got {values.dtype.name}")
    text = np.array(values.tolist(), dtype=str)
    names = classes or tuple(np.unique(text).tolist())
    number = {name: index for index, name in enumerate(names)}
    unknown = sorted(set(text.tolist()) - number.keys())
    if unknown:
        raise InputError(f"{WHERE}: {where}: labels {', '.join(map(repr, unknown[:5]))} are not among the class names")
    return np.array([number[name] for name in text.tolist()], dtype=np.int64), names


def _column(given: Any) -> npt.NDArray[Any]:
    """Returns labels as an array; lists of different lengths as an array of lists."""
    if hasattr(given, "shape"):
        return np.asarray(given)
    values = list(given)
    if values and all(isinstance(value, (list, tuple, set, frozenset)) for value in values):
        column = np.empty(len(values), dtype=object)
        column[:] = [list(value) for value in values]
        return column
    return np.asarray([np.asarray(value) if hasattr(value, "shape") else value for value in values])


def _lists(column: npt.NDArray[Any]) -> bool:
    return (
        column.dtype == object and column.ndim == 1 and bool(len(column)) and isinstance(column[0], (list, np.ndarray))
    )


def _checked(
    parts: Sequence[npt.NDArray[Any]], classes: tuple[str, ...] | None, where: str
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Returns tables of 0 and 1 as one."""
    shapes = {part.shape[1:] for part in parts}
    if len(shapes) > 1:
        raise InputError(f"{WHERE}: {where}: expected labels of one shape; got {sorted(shapes)} an image")
    table = np.concatenate(parts)
    if table.dtype.kind not in "biuf" or not np.isin(table, (0, 1)).all():
        raise InputError(
            f"{WHERE}: {where}: expected (n,) labels, or a (n, c) table of 0 and 1 for images with several classes; "
            f"got {table.dtype.name} of shape {table.shape} with other values"
        )
    names = classes or tuple(map(str, range(table.shape[1])))
    if len(names) != table.shape[1]:
        raise InputError(
            f"{WHERE}: {where}: the table of labels has {table.shape[1]} columns; there are {len(names)} class names"
        )
    return table.astype(np.int64), names


def _table(
    parts: Sequence[list[list[Any]]], classes: tuple[str, ...] | None, where: str
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Returns lists of numbers or names of classes as a table of 0 and 1."""
    lists = list(itertools.chain.from_iterable(parts))
    every = list(itertools.chain.from_iterable(lists))
    named = all(isinstance(value, str) for value in every)
    if not (named or all(map(_is_number, every))):
        odd = next((value for value in every if not isinstance(value, str) and not _is_number(value)), every[0])
        raise InputError(
            f"{WHERE}: {where}: expected for each image a list of names, or of numbers from 0 on; got {odd!r}"
        )
    names = classes or (tuple(sorted(set(every))) if named else tuple(map(str, range(max(every, default=-1) + 1))))
    number: dict[Any, int] = {name: index for index, name in enumerate(names if named else range(len(names)))}
    unknown = sorted(set(every) - number.keys())
    if unknown:
        raise InputError(f"{WHERE}: {where}: labels {', '.join(map(repr, unknown[:5]))} are not among the class names")
    table = np.zeros((len(lists), len(names)), dtype=np.int64)
    for row, values in enumerate(lists):
        if len(set(values)) < len(values):
            raise InputError(
                f"{WHERE}: {where}: image {row} names a class twice ({list(values)}); a list holds the classes of an "
                "image. Pass a table of 0 and 1 as an array"
            )
        table[row, [number[value] for value in values]] = 1
    return table, names


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) >= 0
