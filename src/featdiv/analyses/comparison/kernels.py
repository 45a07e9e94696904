"""The matrix of linear CKA from kernels of the rows; see `featdiv.metrics.similarity.cka_kernels`."""

from __future__ import annotations

from collections.abc import Mapping

from featdiv.analyses.comparison.matrix import Matrix
from featdiv.metrics.similarity import cka_kernels, cka_linear, left_out
from featdiv.metrics.similarity.cka_kernels import Kernels
from featdiv.metrics.similarity.measures import Measure


def cheaper(measure: Measure, sizes: Mapping[str, int], n: int | None, *, memory: int) -> bool:
    """Returns whether a measure follows from kernels, and they are less work than moments and fit the budget."""
    linear = measure.metric.name == "cka" and measure.takes == "moments"
    return linear and cka_kernels.cheaper(sizes, n, memory=memory)


def fill(matrix: Matrix, kernels: Kernels, *, intervals: bool) -> None:
    """Fills the matrix.

    Args:
        matrix: what to fill.
        kernels: of all its models.
        intervals: whether to leave out each part in turn.
    """
    measure = matrix.measure
    assert measure.definition is not None
    definition = measure.definition
    whole = kernels.sums()
    places = matrix.pairs_among(kernels.sizes)
    for place in places:
        names = matrix.keys(place)
        matrix.set(place, lambda names=names: kernels.value(whole, names, definition))
        if matrix.beside is not None and place not in matrix.undefined:
            biased = 1.0 if names[0] == names[1] else kernels.value(whole, names, "biased")
            matrix.set_beside(place, biased, cka_linear.noise(kernels.n, *(kernels.sizes[name] for name in names)))
    if not intervals:
        return
    wanted = [place for place in places if len(set(matrix.keys(place))) == 2 and place not in matrix.undefined]
    found = kernels.without_each(whole, [matrix.keys(place) for place in wanted], definition)
    assert measure.estimate is not None
    for place in wanted:
        names, value = matrix.keys(place), float(matrix.values[place])
        interval = left_out.interval(names, value, found, n=kernels.n, sizes=kernels.sizes, estimate=measure.estimate)
        if interval is not None:
            matrix.set_interval(place, interval)
