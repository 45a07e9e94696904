"""Jackknife intervals for scores that are called alone, from the statistic without each part of the rows in turn."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from featdiv import io
from featdiv.errors import InputError
from featdiv.results import Interval, outside
from featdiv.stats import arguments, budget, grouped, partition, resampling
from featdiv.stats.grouped import GroupedMoments
from featdiv.stats.partition import Partition

UNDEFINED = "it is undefined without one of the parts"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Rests:
    """What an interval is computed from, or why there is none.

    Attributes:
        asked: ``"auto"``, ``"jackknife"`` or None, as the user asked.
        without: the statistic without each part in turn.
        halves: the statistic of complementary halves, where ``without`` is of first order.
        reason: why there is nothing, or empty.
        parts: number of parts that labelled rows were dealt to; see `featdiv.stats.class_parts.dealt`.
    """

    asked: str | None = None
    without: Sequence[Any] = ()
    halves: Sequence[Any] | None = None
    reason: str = ""
    parts: int = 0

    def intervals(
        self,
        metric: str,
        statistic: Any,
        scores: Mapping[str, float],
        cores: Mapping[str, Callable[[Any], float]],
        *,
        reason: str | None = None,
    ) -> tuple[dict[str, Interval], tuple[str, ...]]:
        """Returns the intervals of the scores of a metric, and notes on those that have none.

        Args:
            metric: catalogue name, for what makes a jackknife invalid.
            statistic: of all rows, with its numbers of rows and features ``n`` and ``d``.
            scores: name to value.
            cores: name to the function of the statistic that gave the value.
            reason: why the parameters of this call make a jackknife invalid, or None.

        Raises:
            InputError: if an interval was demanded and no score has one.
        """
        from featdiv.metrics import catalogue

        if self.asked is None:
            return {}, ()
        reason = self.reason or reason or catalogue.get(metric).no_jackknife(statistic)
        found: dict[str, Interval] = {}
        if not reason:
            found = resampling.intervals(scores, cores, self.without, self.halves, n=statistic.n, d=statistic.d)
            found = {name: interval for name, interval in found.items() if math.isfinite(interval.standard_error)}
            reason = UNDEFINED
        if not found and self.asked == "jackknife":
            raise partition.refused(metric, reason)
        missing = [name for name in scores if name not in found]
        notes = [f"no interval{_of(missing, scores)}: {reason}"] if missing else []
        notes += filter(None, [outside(scores, found)])
        return found, tuple(notes)


def _of(names: Sequence[str], scores: Mapping[str, float]) -> str:
    """Names the scores meant, where a result has several."""
    return f" for {', '.join(names)}" if len(scores) > 1 else ""


def of_statistic(x: Any, *, function: str, interval: str | None, groups: Any) -> Rests:
    """Returns why a statistic cannot be divided; a `Spectrum` brings the intervals that it was made with.

    Raises:
        InputError: if there are groups, or an interval is demanded.
    """
    check(function, interval)
    kind = type(x).__name__
    if groups is not None:
        raise InputError(f"{function}: groups: expected None with {kind}, which has forgotten the rows")
    if interval == "jackknife":
        raise InputError(f"{function}: interval: 'jackknife' needs rows; x is {kind}, one part that cannot be divided")
    return Rests(asked=interval, reason=f"x is {kind}, one part that cannot be divided")


def check(function: str, interval: str | None) -> None:
    """Raises InputError unless ``interval`` is one that the scores of moments know."""
    arguments.one_of(function, "interval", interval, partition.INTERVALS)


def given(**annotations: Any) -> dict[str, Any]:
    """Returns the arguments for opening a source that are not None."""
    return {name: value for name, value in annotations.items() if value is not None}


def dealt(
    source: io.Embeddings, *, function: str, interval: str | None, decomposed: bool, n: int | None = None
) -> Partition:
    """Returns how the rows of a source (n of them, where not all) are dealt; see `featdiv.stats.partition.make`."""
    import numpy as np

    return partition.make(
        n=source.n if n is None else n,
        d=source.d,
        groups=None if source.groups is None else len(np.unique(source.groups)),
        interval=interval,
        memory=budget.budget_bytes(None, function=function),
        kept=5 * 8 * source.d**2 + 2 * source.chunk_rows() * source.row_bytes,
        function=function,
        decomposed=decomposed,
    )


def read(
    source: io.Embeddings,
    parts: Partition,
    *,
    function: str,
    argument: str = "x",
    normalize: str | None,
    precision: str,
    backend: str,
) -> GroupedMoments:
    """Reads a source once into the moments of its parts."""
    arguments.check(function, normalize=normalize, precision=precision, backend=backend)
    return grouped.read(
        source,
        function=function,
        argument=argument,
        buckets=parts.parts,
        slab=parts.slab,
        use_groups=source.groups is not None,
        normalize=normalize,
        precision=precision,
        backend=backend,
    )


def of_moments(found: GroupedMoments, parts: Partition, *, interval: str | None) -> Rests:
    """Returns the moments without each part."""
    reason = parts.no_interval or too_few(len(found.parts))
    if interval is None or reason:
        return Rests(asked=interval, reason=reason)
    return Rests(asked=interval, without=[grouped.without(found.total, part) for part in found.parts])


def too_few(parts: int) -> str:
    """Returns why that many parts do not make a jackknife, or an empty text."""
    if parts >= partition.LEAST_PARTS:
        return ""
    return f"a jackknife needs at least {partition.LEAST_PARTS} parts; the rows make {parts}"
