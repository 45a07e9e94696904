"""The rows at both ends of directions, found in one reading."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.stats.moments import Float64Array

if TYPE_CHECKING:
    from featdiv.io import Embeddings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extremes:
    """The rows with the least projections, ascending, and their projections; of equal ones the lower row first.

    Attributes:
        rows: (k, m) int64.
        values: (k, m) float64.
    """

    rows: npt.NDArray[np.int64]
    values: Float64Array

    def joined(self, rows: npt.NDArray[np.int64], values: Float64Array, *, most: int) -> Extremes:
        """Returns the extremes of these and of further rows (m',) with values (k, m')."""
        all_rows = np.concatenate([self.rows, np.broadcast_to(rows, values.shape)], axis=1)
        all_values = np.concatenate([self.values, values], axis=1)
        order = np.lexsort((all_rows, all_values), axis=1)[:, :most]
        return Extremes(
            rows=np.take_along_axis(all_rows, order, axis=1), values=np.take_along_axis(all_values, order, axis=1)
        )


def find(
    source: Embeddings,
    about: Float64Array,
    components: Float64Array,
    *,
    most: int,
    normalize: str | None,
    progress: Any,
) -> tuple[Extremes, Extremes]:
    """Reads the rows once more and returns (low end, high end), ``most`` rows each, projections ``about`` a point."""
    k = len(components)
    none = Extremes(rows=np.empty((k, 0), dtype=np.int64), values=np.empty((k, 0)))
    low, negated = none, none
    offset = components @ about
    for chunk in source.chunks():
        rows = as_float64(chunk.rows)
        along = components @ rows.T
        if normalize == "l2":
            along /= np.linalg.norm(rows, axis=1)
        along -= offset[:, None]
        index = np.arange(chunk.start, chunk.start + len(rows), dtype=np.int64)
        low, negated = low.joined(index, along, most=most), negated.joined(index, -along, most=most)
        if progress is not None:
            progress(chunk.start + len(rows), source.n)
    return low, Extremes(rows=negated.rows, values=-negated.values)


def as_float64(rows: Any) -> Float64Array:
    """Returns rows of any kind as a NumPy array of float64."""
    if not isinstance(rows, np.ndarray):
        rows = rows.detach().to("cpu").double().numpy()
    return np.asarray(rows, dtype=np.float64)
