"""Jackknife intervals for the scores of class moments, from their values without each part of the rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from featdiv.errors import NotEnoughData
from featdiv.ops._blas import one_thread
from featdiv.results import Interval
from featdiv.stats import ClassMoments, class_parts, partition, resampling

PARTS = 10
SLAB = partition.MIN_SLAB
MATRICES = 4
"""(d, d) matrices that a part needs while parts are merged, beside its own."""


def needed_bytes(d: int, c: int, *, parts: int, per_class: bool) -> int:
    """Returns the bytes that the moments of ``parts`` parts take, together with the merges that leave one out."""
    one = 8 * d * ((c if per_class else 0) * d + d + c)
    return (3 * parts + MATRICES if parts > 1 else MATRICES) * one


@dataclasses.dataclass(frozen=True, kw_only=True)
class Jackknife:
    """Values without each part, and what they say."""

    values: dict[str, npt.NDArray[np.float64]]
    shares: npt.NDArray[np.float64]

    @classmethod
    def of(
        cls, parts: list[ClassMoments], total: ClassMoments, cores: dict[str, Callable[[ClassMoments], float]]
    ) -> Jackknife:
        """Runs every core without each part; a core that is undefined once gets no interval."""
        values: dict[str, list[float]] = {name: [] for name in cores}
        # Many small matrices: threads of BLAS would wait longer than they work.
        with one_thread(total.d):
            for rest in class_parts.without_each(parts):
                for name in list(values):
                    try:
                        values[name].append(cores[name](rest))
                    except NotEnoughData:
                        del values[name]
        shares = np.array([part.n / total.n for part in parts])
        return cls(values={name: np.array(list_) for name, list_ in values.items()}, shares=shares)

    def interval(self, name: str, value: float, *, n: int, d: int) -> Interval | None:
        """Returns the interval of a score, or None where it has none."""
        if name not in self.values or not np.isfinite(self.values[name]).all():
            return None
        # Scores depend on n by definition, so what is covered is their expected value at this n: no correction.
        _, error = resampling.jackknife(value, self.values[name], self.shares)
        return resampling.symmetric(
            value, error, groups=len(self.shares), method="jackknife", estimand=f"expected at n={n}, d={d}"
        )
