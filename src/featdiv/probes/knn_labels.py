"""Rows and their labels, as a kNN probe takes them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import io
from featdiv.errors import InputError, NotEnoughData, RowError
from featdiv.io.caller import called_by
from featdiv.probes import labelled_rows
from featdiv.probes.knn_result import joined
from featdiv.probes.knn_vote import Int64Array
from featdiv.stats import neighbours_rows
from featdiv.stats.class_labels import as_labels

FUNCTION = "knn_probe"

_SIDES = {
    "Neighbours.of: gallery": f"{FUNCTION}: train",
    "Neighbours.of: queries": f"{FUNCTION}: test",
    "like the gallery": "like train",
}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """Rows with the class of each.

    Attributes:
        source: the rows, which can be read again.
        labels: (n,) labels.
        classes: (c,) the labels, sorted.
        codes: (n,) place of each label in ``classes``.
        groups: (n,) group of each row, or None for rows that are independent.
    """

    source: io.Embeddings
    labels: npt.NDArray[Any]
    classes: npt.NDArray[Any]
    codes: Int64Array
    groups: npt.NDArray[Any] | None = None

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.labels)

    def coded_as(self, train: Labelled) -> Labelled:
        """Returns these rows with the classes of the training rows.

        Raises:
            InputError: if a class is not among them.
        """
        if train.labels.dtype.kind != self.labels.dtype.kind:
            raise InputError(
                f"{FUNCTION}: test_labels: expected {_kind(train.labels)}, as the training labels are; got "
                f"{_kind(self.labels)}"
            )
        unknown = self.classes[~np.isin(self.classes, train.classes)]
        if len(unknown):
            rows = int(np.isin(self.labels, unknown).sum())
            raise InputError(
                f"{FUNCTION}: test_labels: expected classes that train has; {joined(unknown.tolist())} (of {rows} "
                "rows) are not among them, so no neighbour can vote for them. Leave them out, or add training rows"
            )
        codes = np.searchsorted(train.classes, self.labels).astype(np.int64)
        return dataclasses.replace(self, classes=train.classes, codes=codes)

    def subset(self, index: Int64Array) -> Labelled:
        """Returns some of the rows, in memory, with the same classes."""
        rows = self.source.take(index)
        return dataclasses.replace(
            self,
            source=io.open(rows),
            labels=self.labels[index],
            codes=self.codes[index],
            groups=None if self.groups is None else self.groups[index],
        )


def labelled(
    rows: Any,
    labels: Any,
    groups: Any,
    *,
    name: str,
    labels_name: str,
    memory: int,
    ignore: int | str | None = None,
) -> Labelled:
    """Returns rows with their labels and groups, checked, without those whose label is to be ignored.

    Raises:
        InputError: if labels are missing, or cannot be used.
        NotEnoughData: for ``train``, if there is one class.
    """
    given = {key: value for key, value in (("labels", labels), ("groups", groups)) if value is not None}
    groups_name = "groups" if name == "train" else f"{name}_groups"
    with called_by(FUNCTION, source=name, labels=labels_name, groups=groups_name):
        opened = io.open(rows, **given)
    source = neighbours_rows.opened(opened, function=FUNCTION, name=name, memory=memory)
    if source.labels is None:
        raise InputError(
            f"{FUNCTION}: {labels_name}: expected one label for each row of {name}; got none. Pass {labels_name}=, "
            "or a source that carries them"
        )
    values = as_labels(source.labels, function=f"{FUNCTION}: {name}")
    source, values = labelled_rows.without(source, values, ignore=ignore, memory=memory, function=f"{FUNCTION}: {name}")
    classes, codes = np.unique(values, return_inverse=True)
    if name == "train" and len(classes) < 2:
        raise NotEnoughData(f"{FUNCTION}: {labels_name}: expected at least two classes; got only {classes[0]!s}")
    return Labelled(
        source=source,
        labels=values,
        classes=classes,
        codes=codes.reshape(-1).astype(np.int64),
        groups=source.groups,
    )


def _kind(labels: npt.NDArray[Any]) -> str:
    return "integers" if labels.dtype.kind == "i" else "strings"


@contextlib.contextmanager
def speaking_for_probe() -> Iterator[None]:
    """Puts the arguments of the probe into errors of the search about rows."""

    def renamed(error: Exception) -> str:
        message = str(error)
        for name, own in _SIDES.items():
            message = message.replace(name, own)
        return message

    try:
        yield
    except RowError as error:
        raise type(error)(renamed(error), count=error.count, first_row=error.first_row) from None
    except InputError as error:
        raise type(error)(renamed(error)) from None
