"""`Comparison`: what `featdiv.compare` returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from featdiv.errors import InputError, NotEnoughData
from featdiv.results import Interval, Result
from featdiv.stats.moments import Float64Array

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Comparison(Result):
    """A named matrix of similarities (or distances) between representations of the same rows.

    ``scores`` hold each pair once, as ``"a ~ b"``, or as ``"a -> b"`` where the two ways differ.

    Attributes:
        metric: catalogue name.
        rows: names of the models along the rows.
        columns: names of the models along the columns; the same as ``rows`` for a square comparison.
        values: (r, c) float64; NaN where a value is undefined, for the reason in ``undefined``.
        biased: (r, c) biased CKA beside the debiased one, which most published figures show; else None.
        biased_noise: (r, c) biased CKA to expect of independent isotropic noise; else None.
        low: (r, c) lower ends of the intervals, NaN where there is none; None without intervals.
        high: (r, c) upper ends.
        distance: whether small values mean alike.
        symmetric: whether the two ways of a pair are the same number.
    """

    metric: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: Float64Array
    biased: Float64Array | None = None
    biased_noise: Float64Array | None = None
    low: Float64Array | None = None
    high: Float64Array | None = None
    distance: bool = False
    symmetric: bool = True

    _array_fields: ClassVar[tuple[str, ...]] = (
        "metric",
        "rows",
        "columns",
        "values",
        "biased",
        "biased_noise",
        "low",
        "high",
        "distance",
        "symmetric",
    )

    def __post_init__(self) -> None:
        for array in (self.values, self.biased, self.biased_noise, self.low, self.high):
            if array is not None:
                array.setflags(write=False)

    @property
    def square(self) -> bool:
        """Whether rows and columns are the same models."""
        return self.rows == self.columns

    def __getitem__(self, pair: tuple[str, str]) -> float:
        """Returns the value of a row and a column, by name.

        Raises:
            InputError: if there is no such row or column.
            NotEnoughData: if the value is undefined; the message gives the reason.
        """
        place = self._place(pair)
        value = float(self.values[place])
        if np.isnan(value):
            reason = self.undefined.get(self.label(*pair)) or self.undefined.get(self.label(*pair[::-1]), "")
            raise NotEnoughData(f"Comparison: {self.metric} of {pair[0]} and {pair[1]} is undefined: {reason}")
        return value

    def interval(self, row: str, column: str) -> Interval | None:
        """Returns the interval of a pair, or None where there is none.

        Raises:
            InputError: if there is no such row or column.
        """
        self._place((row, column))
        return self.intervals.get(self.label(row, column)) or (
            self.intervals.get(self.label(column, row)) if self.symmetric else None
        )

    def label(self, row: str, column: str) -> str:
        """Returns the name under which ``scores`` hold a pair."""
        return f"{row} ~ {column}" if self.symmetric else f"{row} -> {column}"

    def _place(self, pair: tuple[str, str]) -> tuple[int, int]:
        for name, names, what in zip(pair, (self.rows, self.columns), ("row", "column"), strict=True):
            if name not in names:
                raise InputError(f"Comparison: no {what} is named {name!r}; there are {', '.join(names)}")
        return self.rows.index(pair[0]), self.columns.index(pair[1])

    @property
    def value(self) -> float:
        """The number, where two representations were compared.

        Raises:
            InputError: if there are more pairs than one.
            NotEnoughData: if it is undefined.
        """
        names = list(self.names())
        if len(names) != 1:
            raise InputError(
                f"Comparison.value: expected one pair; this comparison has {len(names)}. Index it by names"
            )
        return self.read(names[0])

    def to_pandas(self) -> pd.DataFrame:
        """Returns the matrix as a data frame, models as index and columns.

        Raises:
            MissingDependency: if pandas is not installed.
        """
        from featdiv._optional import require

        pandas = require("pandas", extra="pandas", needed_by="Comparison.to_pandas")
        return pandas.DataFrame(self.values.copy(), index=list(self.rows), columns=list(self.columns))

    def cite(self) -> str:
        """Returns the sources of the metric, one a line, and of featdiv itself."""
        from featdiv.metrics import catalogue

        return catalogue.citations([self.metric], definition=self.provenance.definition)

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draws the matrix as a heat map, with its numbers where there is room for them.

        Args:
            ax: axes to draw on; None for a new figure.

        Returns:
            The figure that was drawn on.
        """
        from featdiv.analyses.comparison import plot

        return plot.heat_map(self, ax)

    def dendrogram(self, ax: Axes | None = None) -> Figure:
        """Draws the models as a tree: average linkage of the distances, or of 1 - similarity.

        Args:
            ax: axes to draw on; None for a new figure.

        Returns:
            The figure that was drawn on.

        Raises:
            InputError: if the comparison is rectangular, or its two ways differ.
            NotEnoughData: if a value is undefined.
        """
        from featdiv.analyses.comparison import plot

        return plot.dendrogram(self, ax)

    def linkage(self) -> Float64Array:
        """Returns the (m - 1, 4) average linkage of the models, as `scipy.cluster.hierarchy.linkage` gives it.

        Raises:
            InputError: if the comparison is rectangular, or its two ways differ.
            NotEnoughData: if a value is undefined.
        """
        from scipy.cluster.hierarchy import linkage
        from scipy.spatial.distance import squareform

        if not (self.square and self.symmetric):
            raise InputError("Comparison.linkage: expected a square comparison by a symmetric metric")
        if np.isnan(self.values).any():
            raise NotEnoughData("Comparison.linkage: some values are undefined, so that there is no tree")
        apart = self.values if self.distance else np.maximum(0.0, 1.0 - self.values)
        apart = apart - np.diag(apart.diagonal())
        tree: Float64Array = linkage(squareform(apart, checks=False), method="average")
        return tree

    def _sheet(self) -> tuple[str, Sequence[str], list[list[str]]]:
        lines = [
            [name, *("undefined" if np.isnan(value) else f"{value:.4g}" for value in line)]
            for name, line in zip(self.rows, self.values, strict=True)
        ]
        return f"{self._title()} over {self.provenance.n} rows", ("", *self.columns), lines

    def _title(self) -> str:
        definition = self.provenance.definition
        return f"{self.metric} ({definition})" if definition else self.metric

    def __repr__(self) -> str:
        names = list(self.names())
        if len(names) > 1:
            return (
                f"Comparison({self._title()}, {len(self.rows)} x {len(self.columns)} models, {self.provenance.n} rows)"
            )
        name = names[0]
        shown = f"{self.scores[name]:.6g}" if name in self.scores else "undefined"
        interval = f" {self.intervals[name]}" if name in self.intervals else ""
        row, column = (0, 1) if self.square else (0, 0)
        biased = "" if self.biased is None else f", biased {self.biased[row, column]:.6g}"
        return f"Comparison({self._title()}: {name} = {shown}{interval}{biased})"

    def table(self) -> list[dict[str, Any]]:
        """Returns one dictionary for each pair: row, column, value, low, high, biased (None where there is none)."""
        lines = []
        for i, row in enumerate(self.rows):
            for j, column in enumerate(self.columns):
                if self.square and (i >= j if self.symmetric else i == j):
                    continue
                interval = self.interval(row, column)
                value = float(self.values[i, j])
                lines.append(
                    {
                        "row": row,
                        "column": column,
                        "value": None if np.isnan(value) else value,
                        "low": interval.low if interval else None,
                        "high": interval.high if interval else None,
                        "biased": None if self.biased is None or np.isnan(value) else float(self.biased[i, j]),
                        "undefined": self.undefined.get(self.label(row, column), ""),
                    }
                )
        return lines
