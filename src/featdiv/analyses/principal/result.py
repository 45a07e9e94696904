"""`Directions`: what `featdiv.directions` returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from featdiv.results import Result
from featdiv.stats.moments import Float64Array

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Directions(Result):
    """Directions of a representation, each with the rows at its two ends.

    ``scores`` hold the share of the variance that each direction has, or of the sum of squares with ``center=False``,
    as ``"direction_1"``, ``"direction_2"``, …

    Attributes:
        components: (k, d) float64 unit vectors, orthogonal to one another; the entry of largest magnitude is positive.
        mean: (d,) float64 mean of the rows.
        shares: (k,) those shares.
        explained: (k,) with ``other``: the share of a direction's variance that ridge regression from the other
            representation explains on rows left out of the fit; else None.
        low: (k, m) int64 rows at the low end, the most extreme first.
        high: (k, m) int64 rows at the high end, the most extreme first.
        low_values: (k, m) float64 projections of those rows, about the mean, or about zero with ``center=False``.
        high_values: (k, m) float64.
        other: what the directions were found missing from, or None for the leading ones of x.
        thumbnails: row to a small picture of it as a data URI; empty without images.
    """

    components: Float64Array
    mean: Float64Array
    shares: Float64Array
    explained: Float64Array | None = None
    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]
    low_values: Float64Array
    high_values: Float64Array
    other: str | None = None
    thumbnails: Mapping[int, str] = dataclasses.field(default_factory=dict)

    _array_fields: ClassVar[tuple[str, ...]] = (
        "shares",
        "explained",
        "low",
        "high",
        "low_values",
        "high_values",
        "other",
        "thumbnails",
    )

    def to_pandas(self) -> pd.DataFrame:
        """Returns a data frame, one row for each row at an end: direction, end, row, value.

        Raises:
            MissingDependency: if pandas is not installed.
        """
        from featdiv._optional import require

        pandas = require("pandas", extra="pandas", needed_by="Directions.to_pandas")
        lines = [
            {"direction": place + 1, "end": end, "row": int(row), "value": float(value)}
            for end, rows, values in (("low", self.low, self.low_values), ("high", self.high, self.high_values))
            for place in range(len(rows))
            for row, value in zip(rows[place], values[place], strict=True)
        ]
        return pandas.DataFrame(lines)

    def __repr__(self) -> str:
        shares = ", ".join(f"{share:.3g}" for share in self.shares)
        missing = f", missing from {self.other}" if self.other else ""
        return f"Directions({len(self.shares)} of {self.components.shape[1]} features, shares {shares}{missing})"
