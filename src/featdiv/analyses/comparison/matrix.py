"""Fills the matrix: pairs of moments, with their jackknife, or pairs of what was prepared of the rows."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from featdiv.analyses.comparison.models import Layout
from featdiv.errors import NotEnoughData
from featdiv.metrics.similarity import cka, cka_linear, left_out
from featdiv.metrics.similarity.measures import Measure
from featdiv.metrics.similarity.pairs import Models, taken
from featdiv.results import Interval
from featdiv.stats import CrossMoments
from featdiv.stats.moments import Float64Array


@dataclasses.dataclass(kw_only=True)
class Matrix:
    """The matrix while it is being filled; NaN where nothing is known yet, or the value is undefined.

    Attributes:
        found: the models.
        measure: what is computed.
        values: the numbers.
        beside: the biased CKA of each pair, where the measure is the debiased one.
        noise: the biased CKA to expect of independent isotropic noise.
        undefined: place to the reason why there is no value.
        intervals: place to the interval.
    """

    found: Layout
    measure: Measure
    values: Float64Array
    beside: Float64Array | None
    noise: Float64Array | None
    undefined: dict[tuple[int, int], str] = dataclasses.field(default_factory=dict)
    intervals: dict[tuple[int, int], Interval] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, found: Layout, measure: Measure) -> Matrix:
        """Returns a matrix of which nothing is known yet."""
        shape = (len(found.rows), len(found.columns))
        with_biased = measure.metric.name == "cka" and measure.definition == "debiased"
        return cls(
            found=found,
            measure=measure,
            values=np.full(shape, np.nan),
            beside=np.full(shape, np.nan) if with_biased else None,
            noise=np.full(shape, np.nan) if with_biased else None,
        )

    def pairs_among(self, keys: Iterable[str]) -> list[tuple[int, int]]:
        """Returns the places, the diagonal included, whose two models are among the keys and that are still empty."""
        inside = set(keys)
        diagonal = [(i, i) for i in range(len(self.found.rows))] if self.found.square else []
        return [
            (i, j)
            for i, j in [*diagonal, *self.found.pairs(symmetric=self.measure.symmetric)]
            if self.found.row_keys[i] in inside
            and self.found.column_keys[j] in inside
            and np.isnan(self.values[i, j])
            and (i, j) not in self.undefined
        ]

    def keys(self, place: tuple[int, int]) -> tuple[str, str]:
        """Returns the keys of the two models of a place."""
        return self.found.row_keys[place[0]], self.found.column_keys[place[1]]

    def _mirrored(self, place: tuple[int, int]) -> list[tuple[int, int]]:
        i, j = place
        return [(i, j), (j, i)] if self.found.square and self.measure.symmetric and i != j else [(i, j)]

    def set(self, place: tuple[int, int], compute: Any) -> None:
        """Computes the value of a place, and of the one across the diagonal where both are the same."""
        try:
            value = float(compute())
        except NotEnoughData as error:
            self.set_undefined(place, str(error))
            return
        if self.found.square and place[0] == place[1] and self.measure.identity is not None:
            value = self.measure.identity
        for where in self._mirrored(place):
            self.values[where] = value

    def set_undefined(self, place: tuple[int, int], reason: str) -> None:
        """Notes why a place has no value."""
        for where in self._mirrored(place):
            self.undefined[where] = reason

    def set_beside(self, place: tuple[int, int], biased: float, noise: float) -> None:
        """Notes the biased CKA of a place, and what noise would give."""
        if self.beside is None or self.noise is None:
            return
        for where in self._mirrored(place):
            self.beside[where] = biased
            self.noise[where] = noise

    def set_interval(self, place: tuple[int, int], interval: Interval) -> None:
        """Notes the interval of a place."""
        for where in self._mirrored(place):
            self.intervals[where] = interval


def fill_from_moments(
    matrix: Matrix,
    total: CrossMoments,
    parts: Sequence[CrossMoments],
    parameters: Mapping[str, Any],
    *,
    intervals: bool,
) -> None:
    """Fills every place whose two models are in the statistic.

    Args:
        matrix: what to fill.
        total: the statistic of all rows.
        parts: those of the parts of the rows, which the measure or the jackknife wants.
        parameters: of the core.
        intervals: whether to leave out each part in turn.
    """
    measure = matrix.measure
    named = {"definition": measure.definition} if measure.definition is not None else {}
    places = matrix.pairs_among(total.names)
    models = Models(total)
    for place in places:
        a, b = matrix.keys(place)
        if measure.takes == "parts":
            matrix.set(place, lambda a=a, b=b: measure.core(parts, x=a, other=b, **parameters))
            continue
        pair = models.pair(a, b)
        matrix.set(place, lambda pair=pair: measure.core(pair, **named, **parameters))
        if matrix.beside is not None and place not in matrix.undefined:
            biased = 1.0 if a == b else cka.core(pair, definition="biased")
            matrix.set_beside(place, biased, cka_linear.noise(pair.n, pair.x.moments.d, pair.other.moments.d))
    if intervals:
        wanted = [place for place in places if matrix.keys(place)[0] != matrix.keys(place)[1]]
        _jackknife(matrix, total, parts, wanted, {**named, **parameters})


def _jackknife(
    matrix: Matrix,
    total: CrossMoments,
    parts: Sequence[CrossMoments],
    places: Sequence[tuple[int, int]],
    given: Mapping[str, Any],
) -> None:
    found = left_out.leave_out(total, parts, map(matrix.keys, places), functools.partial(matrix.measure.core, **given))
    assert matrix.measure.estimate is not None
    for place in places:
        if place in matrix.undefined:
            continue
        names, value = matrix.keys(place), float(matrix.values[place])
        interval = left_out.interval(
            names, value, found, n=total.n, sizes=total.named_sizes, estimate=matrix.measure.estimate
        )
        if interval is not None:
            matrix.set_interval(place, interval)


def fill_from_rows(matrix: Matrix, rows: dict[str, Any], parameters: Mapping[str, Any]) -> None:
    """Fills every place from the rows; each model is prepared once, and its rows are then let go.

    Args:
        matrix: what to fill.
        rows: key to aligned rows; emptied.
        parameters: of prepare and core.
    """
    measure = matrix.measure
    assert measure.prepare is not None
    given = {**parameters, "definition": measure.definition}
    prepared: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for key in list(rows):
        try:
            prepared[key] = measure.prepare(rows.pop(key), name=key, **taken(measure.prepare, given))
        except NotEnoughData as error:
            reasons[key] = str(error)
    core_arguments = taken(measure.core, given)
    for place in matrix.pairs_among(matrix.found.keys):
        a, b = matrix.keys(place)
        if a in reasons or b in reasons:
            matrix.set_undefined(place, reasons[a if a in reasons else b])
        else:
            matrix.set(place, lambda a=a, b=b: measure.core(prepared[a], prepared[b], **core_arguments))
