"""`KnnProbe`: what `featdiv.knn_probe` returns."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError
from featdiv.probes.knn_vote import TEMPERATURE, Int64Array, Rule, Tally, shares
from featdiv.results import Interval, Result
from featdiv.stats import budget
from featdiv.stats.neighbours import Neighbours

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """How well one number of neighbours with one weighting does.

    Attributes:
        k: neighbours that vote.
        vote: ``"exp"`` or ``"uniform"``.
        temperature: of ``"exp"``; None for ``"uniform"``.
        top1: share of rows whose class has most votes.
        top5: share of rows whose class is among the five of most votes.
        mean_per_class: mean over classes of the share of their rows that is right.
        interval: 95 % interval of ``top1``: Wilson's; that of `proportion.of_groups` with rows in groups, None with one
            group; Student's over the draws of a few-shot probe.
    """

    k: int
    vote: str
    temperature: float | None
    top1: float
    top5: float
    mean_per_class: float
    interval: Interval | None

    @property
    def rule(self) -> Rule:
        """How the neighbours vote."""
        return Rule(k=self.k, vote=self.vote, temperature=self.temperature)

    @property
    def name(self) -> str:
        """Name of the cell in ``scores``: ``"k=20 exp"``."""
        return rule_name(self.rule)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class KnnProbe(Result):
    """Result of `knn_probe`.

    ``scores`` hold the top-1 accuracy of every cell by its name, ``"k=20 exp"``; a k that the gallery is too small for
    is in ``undefined``.

    Attributes:
        cells: every k and weighting, k ascending.
        classes: (c,) the labels, sorted.
        counts: (c,) rows of each class that were classified.
        best_by: ``"train"`` if the best cell was chosen on the training rows, ``"evaluated"`` if on the very rows that
            the accuracy is of, which makes its accuracy optimistic.
        near_duplicates: rows that have an all but identical row among those that vote.
        per_class_limit: training rows of each class in a few-shot probe; None for all.
        draws: (s, cells) top-1 accuracies of the draws of a few-shot probe, else None.
        train_scores: leave-one-out accuracy of each cell on the training rows, if the best was chosen there.
        neighbours: the table that was read, to be reused; None for a few-shot probe, which has one for each draw.
    """

    cells: tuple[Cell, ...]
    classes: npt.NDArray[Any]
    counts: Int64Array
    best_by: str
    near_duplicates: int
    per_class_limit: int | None = None
    draws: npt.NDArray[np.float64] | None = None
    train_scores: Mapping[str, float] | None = None
    neighbours: Neighbours | None = dataclasses.field(default=None, repr=False)
    _tallies: tuple[Tally, ...] = dataclasses.field(default=(), repr=False)
    _codes: Int64Array | None = dataclasses.field(default=None, repr=False)
    _truth: Int64Array | None = dataclasses.field(default=None, repr=False)

    _array_fields: ClassVar[tuple[str, ...]] = (
        "cells",
        "classes",
        "counts",
        "best_by",
        "near_duplicates",
        "per_class_limit",
        "draws",
        "train_scores",
    )

    @property
    def best(self) -> Cell:
        """The cell of highest top-1 accuracy, that of fewer neighbours where two are equal.

        It was chosen on the rows that ``best_by`` says: an accuracy chosen on its own rows is optimistic.
        """
        scores = self.scores if self.train_scores is None else self.train_scores
        return max(self.cells, key=lambda cell: scores[cell.name])

    def cell(self, k: int, vote: str = "exp", temperature: float | None = None) -> Cell:
        """Returns a cell.

        Args:
            k: neighbours.
            vote: ``"exp"`` or ``"uniform"``.
            temperature: of ``"exp"``; None for the only one, or the first.

        Raises:
            InputError: if there is none such.
        """
        for cell in self.cells:
            if (cell.k, cell.vote) == (k, vote) and temperature in (None, cell.temperature):
                return cell
        known = ", ".join(cell.name for cell in self.cells)
        raise InputError(f"KnnProbe.cell: no cell k={k} {vote}; there are {known}")

    def predictions(self, cell: Cell | None = None) -> npt.NDArray[Any]:
        """Returns the (m,) labels that a cell predicts; by default the cell `best`."""
        return self.classes[self._tally(cell).predicted]

    def probabilities(self, cell: Cell | None = None) -> npt.NDArray[np.float32]:
        """Returns the (m, c) shares of the votes, which sum to one in each row; by default those of the cell `best`.

        Raises:
            BudgetExceeded: if the table does not fit a quarter of the machine's RAM.
        """
        tally = self._tally(cell)
        assert self.neighbours is not None
        assert self._codes is not None
        _require_room(4 * len(tally.predicted) * len(self.classes), "KnnProbe.probabilities")
        return shares(self.neighbours, self._codes, len(self.classes), tally.rule)

    def per_class(self, cell: Cell | None = None) -> npt.NDArray[np.float64]:
        """Returns the (c,) accuracies of the classes, NaN for one without rows; those of `best` by default."""
        tally = self._tally(cell)
        assert self._truth is not None
        return accuracies(tally, self._truth, self.counts)

    def confusion(self, cell: Cell | None = None) -> Int64Array:
        """Returns the (c, c) numbers of rows of a true class (row) given a class (column); of `best` by default.

        Raises:
            BudgetExceeded: if the table does not fit a quarter of the machine's RAM.
        """
        tally = self._tally(cell)
        c = len(self.classes)
        _require_room(8 * c * c, "KnnProbe.confusion")
        assert self._truth is not None
        return np.bincount(self._truth * c + tally.predicted, minlength=c * c).reshape(c, c).astype(np.int64)

    def to_pandas(self) -> pd.DataFrame:
        """Returns a data frame, one row a cell.

        Raises:
            MissingDependency: if pandas is not installed.
        """
        from featdiv._optional import require

        pandas = require("pandas", extra="pandas", needed_by="KnnProbe.to_pandas")
        rows = []
        for cell in self.cells:
            row = dataclasses.asdict(cell)
            interval = row.pop("interval")
            row["low"] = interval["low"] if interval else math.nan
            row["high"] = interval["high"] if interval else math.nan
            rows.append(row)
        return pandas.DataFrame(rows)

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draws accuracy against the number of neighbours, one line a weighting, with its interval.

        Args:
            ax: axes to draw on; None for a new figure.
        """
        from featdiv.probes.knn_plot import accuracy_by_k

        return accuracy_by_k(self, ax)

    def cite(self) -> str:
        """Returns the sources of the vote, one a line, and of featdiv itself."""
        from featdiv.metrics import catalogue

        own = "Wu, Xiong, Yu & Lin 2018, Unsupervised feature learning via non-parametric instance discrimination. CVPR"
        return "\n".join([own, catalogue.citations([])]).strip()

    def _tally(self, cell: Cell | None) -> Tally:
        if not self._tallies:
            raise InputError(
                "KnnProbe: a few-shot probe has predictions for each draw, and keeps only their accuracies; search all "
                "training rows (per_class=None) for predictions"
            )
        wanted = self.best if cell is None else cell
        for tally in self._tallies:
            if tally.rule == wanted.rule:
                return tally
        raise InputError(f"KnnProbe: cell: expected one of .cells; got {wanted.name}")

    def __repr__(self) -> str:
        best = self.best
        return f"KnnProbe({best.name}: top1={best.top1:.4f}, {len(self.cells)} cells, chosen on {self.best_by} rows)"


def rule_name(rule: Rule) -> str:
    """Returns the name of a rule in ``scores``; a temperature other than the usual one is a part of it."""
    if rule.temperature in (None, TEMPERATURE):
        return f"k={rule.k} {rule.vote}"
    return f"k={rule.k} {rule.vote} T={rule.temperature:g}"


def accuracies(tally: Tally, truth: Int64Array, counts: Int64Array) -> npt.NDArray[np.float64]:
    """Returns the (c,) accuracies of the classes, NaN for one without rows."""
    right = np.bincount(truth[tally.rank == 0], minlength=len(counts))
    shares_right: npt.NDArray[np.float64] = np.full(len(counts), np.nan)
    np.divide(right, counts, out=shares_right, where=counts > 0)
    return shares_right


def mean_accuracy(tally: Tally, truth: Int64Array, counts: Int64Array) -> float:
    """Returns the mean over the classes that have rows."""
    return float(np.nanmean(accuracies(tally, truth, counts)))


def joined(names: Sequence[Any], most: int = 5) -> str:
    """Returns the first few of many names for a message."""
    shown = ", ".join(str(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _require_room(needed: int, function: str) -> None:
    budget.require(
        needed,
        budget.budget_bytes(None, function=function),
        function=function,
        what="the table of classes",
        advice="Read .predictions() or .per_class(), which are small.",
    )
