"""Makes a `Comparison` of a matrix that has been filled."""

from __future__ import annotations

import dataclasses

import numpy as np

from featdiv.analyses.comparison.matrix import Matrix
from featdiv.analyses.comparison.models import FUNCTION
from featdiv.analyses.comparison.result import Comparison
from featdiv.errors import NotEnoughData
from featdiv.results import Provenance
from featdiv.stats.moments import Float64Array


def assembled(matrix: Matrix, provenance: Provenance) -> Comparison:
    """Returns the result.

    Raises:
        NotEnoughData: if no pair has a value.
    """
    found, chosen = matrix.found, matrix.measure
    scores, undefined, intervals = {}, {}, {}
    for place in found.pairs(symmetric=chosen.symmetric):
        row, column = found.rows[place[0]], found.columns[place[1]]
        label = f"{row} ~ {column}" if chosen.symmetric else f"{row} -> {column}"
        if place in matrix.undefined:
            undefined[label] = matrix.undefined[place]
        else:
            scores[label] = float(matrix.values[place])
        if place in matrix.intervals:
            intervals[label] = matrix.intervals[place]
    if not scores:
        raise NotEnoughData(f"{FUNCTION}: {next(iter(undefined.values()))}")
    low, high = _ends(matrix)
    return Comparison(
        scores=scores,
        undefined=undefined,
        intervals=intervals,
        provenance=dataclasses.replace(provenance, definition=chosen.definition),
        metric=chosen.metric.name,
        rows=found.rows,
        columns=found.columns,
        values=matrix.values,
        biased=matrix.beside,
        biased_noise=matrix.noise,
        low=low,
        high=high,
        distance=chosen.distance,
        symmetric=chosen.symmetric,
    )


def _ends(matrix: Matrix) -> tuple[Float64Array | None, Float64Array | None]:
    """Returns matrices of the lower and upper ends of the intervals, or None where there is none at all."""
    if not matrix.intervals:
        return None, None
    low, high = np.full_like(matrix.values, np.nan), np.full_like(matrix.values, np.nan)
    for place, interval in matrix.intervals.items():
        low[place], high[place] = interval.low, interval.high
    return low, high
