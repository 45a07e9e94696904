"""Class labels: what may be one, and their numbering while chunks arrive."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError

MISSING = -1
"""The label that data sets give to rows without one; refused unless it is to be ignored."""


def as_labels(labels: Any, *, function: str) -> npt.NDArray[Any]:
    """Returns labels as a 1-D int64 or string array.

    Args:
        labels: integers, booleans or strings, one for each row: array, tensor or sequence.
        function: public name for error messages.

    Raises:
        InputError: for labels of another type or shape.
    """
    if hasattr(labels, "detach"):
        labels = labels.detach().cpu().numpy()
    array = np.asarray(labels)
    if array.ndim != 1:
        raise InputError(
            f"{function}: labels: expected one label for each row, shape (n,); got shape {array.shape}. "
            "Turn one-hot or probability rows into labels with argmax(axis=1)."
        )
    if array.dtype.kind == "O":
        kinds = {type(label) for label in array.tolist()}
        if kinds <= {str}:
            array = array.astype(np.str_)
        elif kinds <= {int, bool}:
            array = np.array(array.tolist())
    if array.dtype.kind == "b":
        return array.astype(np.int64)
    if array.dtype.kind in "iu":
        if array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
            raise InputError(f"{function}: labels: expected integers that fit int64; got {int(array.max())}")
        return array.astype(np.int64, copy=False)
    if array.dtype.kind == "U":
        return array
    raise InputError(
        f"{function}: labels: expected integers or strings; got {_described(array)}. "
        "Convert them, for example with labels.astype(int), and leave out rows without a class."
    )


def check_same_kind(known: npt.NDArray[Any], other: npt.NDArray[Any], *, function: str) -> None:
    """Raises InputError if one array holds integers and the other strings; an empty one goes with both."""
    if known.size and other.size and known.dtype.kind != other.dtype.kind:
        raise InputError(
            f"{function}: labels: expected {_described(known)} as before; got {_described(other)}. "
            "The classes of a statistic are all integers or all strings."
        )


def refuse_missing(labels: npt.NDArray[Any], *, function: str, ignorable: bool = True) -> None:
    """Raises InputError if a label is -1; ``ignorable`` says whether the function takes ``ignore=``."""
    if labels.dtype.kind == "i" and (labels == MISSING).any():
        advice = "Use ignore=-1 to leave those rows out." if ignorable else "Leave those rows out."
        raise InputError(
            f"{function}: labels: expected a class for every row; got -1, which marks a missing label. {advice}"
        )


def _described(labels: npt.NDArray[Any]) -> str:
    if labels.dtype.kind == "O":
        return "objects of type " + ", ".join(sorted({type(label).__name__ for label in labels.tolist()}))
    return {"i": "integers", "U": "strings"}.get(labels.dtype.kind, f"dtype {labels.dtype}")


class LabelNumbers:
    """Numbers labels 0, 1, 2 … in the order in which they are learned."""

    def __init__(self) -> None:
        self._sorted: npt.NDArray[Any] = np.empty(0, dtype=np.int64)
        self._numbers: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._sorted)

    def of(self, unique: npt.NDArray[Any], *, function: str) -> npt.NDArray[np.int64]:
        """Returns the numbers of sorted unique labels, learning those that are new.

        Complexity:
            u log c comparisons, and c moves where a label is new.
        """
        check_same_kind(self._sorted, unique, function=function)
        if not len(self._sorted):
            self._sorted, self._numbers = unique.copy(), np.arange(len(unique))
            return self._numbers.copy()
        place = np.searchsorted(self._sorted, unique)
        new = self._sorted[np.minimum(place, len(self._sorted) - 1)] != unique
        if new.any():
            fresh = np.arange(len(self), len(self) + int(new.sum()))
            together = np.concatenate([self._sorted, unique[new]])
            order = np.argsort(together, kind="stable")
            self._numbers = np.concatenate([self._numbers, fresh])[order]
            self._sorted = together[order]
            place = np.searchsorted(self._sorted, unique)
        return self._numbers[place]

    def in_order(self) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
        """Returns the sorted labels and the number of each."""
        return self._sorted, self._numbers
