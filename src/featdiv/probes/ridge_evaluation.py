"""How well ridge solutions predict rows: those left out in turn, and those held out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import io
from featdiv.errors import InputError, NotEnoughData
from featdiv.metrics.transferability.labelled_blocks import labelled_blocks
from featdiv.metrics.transferability.regression import blocks_with_targets
from featdiv.probes.proportion import of_groups, wilson
from featdiv.probes.ridge_path import RidgePath
from featdiv.results import Interval
from featdiv.stats.class_labels import as_labels
from featdiv.stats.group_means import GroupSums, Int64Array
from featdiv.stats.moments import Float64Array


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """How well each strength did.

    Attributes:
        values: (l,) accuracy, or R^2 averaged over targets.
        n: rows.
        per_class: (c,) accuracy of each class where one strength was judged; NaN for a class without rows.
        alike: of each strength, how many rows of each group were right; None without groups, and with targets.
    """

    values: Float64Array
    n: int
    per_class: Float64Array | None = None
    alike: GroupSums | None = None

    def correct(self, place: int) -> int:
        """Returns how many rows a strength got right."""
        return round(float(self.values[place]) * self.n)

    def interval(self, place: int) -> Interval | None:
        """Returns the interval of the accuracy of a strength; None where rows are of one group."""
        if self.alike is None:
            return wilson(self.correct(place), self.n)
        return of_groups(*self.alike.seen(place))


class LeaveOneOut:
    """Judges strengths on each row by the fit without it; fed block by block."""

    def __init__(
        self, path: RidgePath, classes: npt.NDArray[Any] | None, at: int | None = None, groups: Any = None
    ) -> None:
        self._path = path
        self._classes = classes
        self._tally = _Tally(path, classes, at, groups)

    def add(self, rows: Float64Array, truth: npt.NDArray[Any], index: Int64Array) -> None:
        """Takes rows, the index of each row's class or its targets, and its place in the source."""
        turned = self._path.rotated(rows)
        leverage = self._path.leverage(turned)
        targets = truth if self._classes is None else np.eye(len(self._classes))[truth]
        for place, strength in enumerate(self._tally.strengths):
            predicted = self._path.predicted(turned, strength)
            self._tally.add(place, self._path.without_own(predicted, targets, leverage[:, strength]), truth, index)
        self._tally.count(truth, index)

    def result(self) -> Evaluation:
        """Returns how well each strength did."""
        return self._tally.result()


def leave_one_out(
    source: io.Embeddings,
    path: RidgePath,
    classes: npt.NDArray[Any] | None,
    known: Any,
    *,
    function: str,
    normalize: str | None,
    ignore: Any = None,
) -> Evaluation:
    """Judges every strength on each row by the fit without it."""
    judge = LeaveOneOut(path, classes, groups=source.groups)
    for rows, truth, index in _blocks(source, classes, known, function=function, normalize=normalize, ignore=ignore):
        judge.add(rows, truth, index)
    return judge.result()


def held_out(
    source: io.Embeddings,
    path: RidgePath,
    classes: npt.NDArray[Any] | None,
    known: Any,
    *,
    function: str,
    normalize: str | None,
    ignore: Any = None,
    at: int | None = None,
) -> Evaluation:
    """Judges every strength (or the one ``at``) on rows that were not fitted to."""
    tally = _Tally(path, classes, at, source.groups)
    for rows, truth, index in _blocks(source, classes, known, function=function, normalize=normalize, ignore=ignore):
        turned = path.rotated(rows)
        for place, strength in enumerate(tally.strengths):
            tally.add(place, path.predicted(turned, strength), truth, index)
        tally.count(truth, index)
    return tally.result()


def check_classes(labels: Any, classes: npt.NDArray[Any], *, function: str, name: str, ignore: Any) -> None:
    """Raises InputError if the labels of a held-out set have classes that train lacks."""
    labels = as_labels(labels, function=f"{function}: {name}")
    strange = ~np.isin(labels, classes)
    if ignore is not None:
        strange &= labels != ignore
    if strange.any():
        raise InputError(
            f"{function}: {name}_labels: expected classes that train has; got {labels[strange][0].item()!r} in "
            f"{int(strange.sum())} rows. Leave these rows out, or add the class to train"
        )


def _blocks(
    source: io.Embeddings,
    classes: npt.NDArray[Any] | None,
    known: Any,
    *,
    function: str,
    normalize: str | None,
    ignore: Any,
) -> Iterator[tuple[Float64Array, npt.NDArray[Any], Int64Array]]:
    """Yields (rows, index of their class or their targets, their places in the source)."""
    if classes is not None:
        yield from labelled_blocks(source, classes, function=function, normalize=normalize, ignore=ignore)
        return
    start = 0
    for rows, targets in blocks_with_targets(source, known, function=function, normalize=normalize):
        yield rows, targets, np.arange(start, start + len(rows))
        start += len(rows)


class _Tally:
    """Counts what was right, or sums squared errors, for each strength."""

    def __init__(self, path: RidgePath, classes: npt.NDArray[Any] | None, at: int | None, groups: Any) -> None:
        self.strengths = list(range(len(path.lambdas))) if at is None else [at]
        self._classes = classes
        width = path.moments.t
        self._sums = np.zeros((len(self.strengths), width))
        self._rows = np.zeros(width)
        self._first: Float64Array | None = None
        self._linear = np.zeros(width)
        self._square = np.zeros(width)
        self._n = 0
        self._alike = None
        if groups is not None and classes is not None:
            self._alike = GroupSums.of(groups, len(self.strengths))

    def add(self, place: int, predicted: Float64Array, truth: npt.NDArray[Any], index: Int64Array) -> None:
        """Takes the predictions of one strength for a block."""
        if self._classes is None:
            self._sums[place] += np.square(predicted - truth).sum(axis=0)
        else:
            right = predicted.argmax(axis=1) == truth
            self._sums[place] += np.bincount(truth[right], minlength=len(self._classes))
            if self._alike is not None:
                self._alike.add(index, right, place)

    def count(self, truth: npt.NDArray[Any], index: Int64Array) -> None:
        """Takes a block's labels or targets, once."""
        self._n += len(truth)
        if self._alike is not None:
            self._alike.count(index)
        if self._classes is not None:
            self._rows += np.bincount(truth, minlength=len(self._classes))
            return
        if self._first is None:
            self._first = truth[0].copy()
        self._linear += (truth - self._first).sum(axis=0)
        self._square += np.square(truth - self._first).sum(axis=0)

    def result(self) -> Evaluation:
        """Returns accuracies, or R^2 about the mean of these rows' own targets."""
        if not self._n:
            raise NotEnoughData("there are no labelled rows to judge the probe on")
        if self._classes is None:
            spread = self._square - self._linear**2 / self._n
            return Evaluation(values=(1.0 - self._sums / spread).mean(axis=1), n=self._n)
        per_class = None
        if len(self.strengths) == 1:
            per_class = np.divide(self._sums[0], self._rows, out=np.full(len(self._rows), np.nan), where=self._rows > 0)
        return Evaluation(values=self._sums.sum(axis=1) / self._n, n=self._n, per_class=per_class, alike=self._alike)
