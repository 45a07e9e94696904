"""Similarities without each of a few parts of the rows in turn, for jackknife intervals."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence

from featdiv.errors import NotEnoughData
from featdiv.metrics.similarity.pairs import Models, Pair
from featdiv.results import Interval
from featdiv.stats import CrossMoments, budget, partition, resampling
from featdiv.stats.cross_moments_read import CHUNK_BYTES, MATRICES, MATRICES_A_PART
from featdiv.stats.partition import Partition

_PART_COST = 6000
"""What a part costs to build, merge and leave out, in rows of the pass: both are proportional to D^2."""

_DECOMPOSITION_COST = 30
"""What eigenvalues and singular values of a part add, in rows of the pass for each feature of the widest model."""

_NEGLIGIBLE = 1e11
"""Multiply-adds that take a second or two on two cores."""

Names = tuple[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """What the jackknife of a similarity estimates.

    Attributes:
        low, high: the values that it can have.
        smooth: whether it is a smooth function of the moments. A sum of singular values is none where some of those of
            the population are zero.
        biased: whether its bias grows with the features.
        decomposed: whether it needs eigenvalues or singular values of the moments that are left.
    """

    low: float = 0.0
    high: float = 1.0
    smooth: bool = True
    biased: bool = True
    decomposed: bool = True


def plan(
    *,
    n: int | None,
    features: int,
    widest: int,
    groups: int | None,
    interval: str | None,
    memory: int,
    estimate: Estimate | None,
    invalid: str,
    function: str,
) -> Partition:
    """Returns how rows of all models together are dealt to parts.

    Args:
        n: rows, where known.
        features: of all models together.
        widest: of the model that has most.
        groups: number of the user's groups, where there are some.
        interval: ``"auto"``, ``"jackknife"`` or None.
        memory: budget in bytes.
        estimate: what the jackknife estimates, or None where it is not valid.
        invalid: why the jackknife is not valid for the measure, or empty.
        function: public name for error messages.

    Raises:
        InputError: if an interval is demanded that cannot be had.
    """
    parts, slab, reason = partition.dealt(n, groups)
    reason = invalid or reason
    cost = _PART_COST + (_DECOMPOSITION_COST * widest if estimate is not None and estimate.decomposed else 0)
    affordable = int(max((n or 0) / 5, _NEGLIGIBLE / features**2) // cost)
    if not reason and interval == "auto" and n is not None and affordable < parts:
        parts = affordable
        if parts < partition.LEAST_PARTS:
            reason = "they would cost more than a fifth of the pass; ask with interval='jackknife'"
    room = int((memory - 3 * CHUNK_BYTES) // (8 * features * features) - MATRICES) // MATRICES_A_PART
    if not reason and interval == "auto" and room < parts:
        parts = room
        if parts < partition.LEAST_PARTS:
            size = 8 * MATRICES_A_PART * features * features
            reason = f"{partition.LEAST_PARTS} parts of {budget.size(size)} each do not fit the memory budget"
    if interval == "jackknife" and reason:
        raise partition.refused(function, reason)
    if interval is None:
        reason = "none were asked for"
    return Partition(parts=1 if reason else parts, slab=slab, no_interval=reason)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeftOut:
    """The values of some pairs of models without one part of the rows.

    Attributes:
        n: rows left.
        values: names of two models to the value, for those that have one.
    """

    n: int
    values: Mapping[Names, float]

    def value(self, names: Names) -> float:
        """Returns the value of a pair.

        Raises:
            NotEnoughData: if it is undefined without the part.
        """
        if names not in self.values:
            raise NotEnoughData("undefined without one of the parts")
        return self.values[names]


def leave_out(
    total: CrossMoments, parts: Sequence[CrossMoments], pairs: Iterable[Names], core: Callable[[Pair], float]
) -> list[LeftOut]:
    """Returns the values of pairs of models without each part in turn."""
    pairs = list(pairs)
    found = []
    for part in parts:
        # One rest at a time: each is as large as the whole.
        rest = Models(total.without(part))
        values = {}
        for names in pairs:
            try:
                values[names] = core(rest.pair(*names))
            except NotEnoughData:
                continue
        found.append(LeftOut(n=rest.n, values=values))
    return found


def interval(
    names: Names,
    value: float,
    left_out: Sequence[LeftOut],
    *,
    n: int,
    sizes: Mapping[str, int],
    estimate: Estimate,
) -> Interval | None:
    """Returns the interval of a similarity, or None if it is undefined without one of the parts.

    Args:
        names: of the two models.
        value: of all rows.
        left_out: values without each part.
        n: rows.
        sizes: name to features.
        estimate: what it estimates.
    """
    found = resampling.intervals(
        {"value": value},
        {"value": operator.methodcaller("value", names)},
        left_out,
        None,
        n=n,
        d=max(sizes[name] for name in names) if estimate.biased else 0,
        smooth=estimate.smooth,
    )
    if "value" not in found:
        return None
    low, high = max(estimate.low, found["value"].low), min(estimate.high, found["value"].high)
    return dataclasses.replace(found["value"], low=low, high=high)
