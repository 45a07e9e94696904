"""How many parts rows are dealt to, so that leaving each out in turn tells how far a score may be off.

Costs are counted in operations, not measured, so that the same call takes the same path everywhere.
"""

from __future__ import annotations

import dataclasses

from featdiv.errors import InputError
from featdiv.stats import budget

PARTS = 20
FEWER_PARTS = 10
LEAST_PARTS = 5
MIN_SLAB, MAX_SLAB = 256, 8192
_UNKNOWN_SLAB = 2048
_SLABS_PER_PART = 2
_EXACT_COST, _FIRST_ORDER_COST = 38, 11
_VECTORS_AND_HALVES_COST = 210
_NEGLIGIBLE = 1e10
"""About a fifth of a second of work on two cores."""

INTERVALS = ("auto", "jackknife", None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Partition:
    """How rows are dealt.

    Attributes:
        parts: number of parts; 1 for no intervals.
        slab: consecutive rows that go to the same part.
        no_interval: why there are no intervals, or empty.
    """

    parts: int
    slab: int
    no_interval: str


def make(
    *,
    n: int | None,
    d: int,
    groups: int | None,
    interval: str | None,
    memory: int,
    kept: int,
    function: str,
    decomposed: bool = True,
) -> Partition:
    """Returns the parts for a jackknife over second moments.

    Args:
        n: rows, where known.
        d: features.
        groups: number of the user's groups, where there are some.
        interval: ``"auto"``, ``"jackknife"`` or None.
        memory: budget in bytes.
        kept: bytes of it that the reading takes beside the parts.
        function: public name for error messages.
        decomposed: whether the score needs the eigenvalues of what is left.

    Raises:
        InputError: if an interval is demanded that cannot be had.
    """
    if interval is None:
        return Partition(parts=1, slab=MAX_SLAB, no_interval="none were asked for")
    always = interval == "jackknife" or not decomposed
    parts, slab, reason = dealt(n, groups)
    matrix = 8 * d * d
    room = int((memory - kept) // matrix)
    if not reason and room < parts:
        parts = room
        if parts < LEAST_PARTS:
            reason = f"{LEAST_PARTS} parts of {budget.size(matrix)} each do not fit the memory budget"
    if not reason and n is not None:
        reason = affordable(n, d, parts, always=always)[1]
        if reason and parts > FEWER_PARTS:
            parts = FEWER_PARTS
            reason = affordable(n, d, parts, always=always)[1]
    if interval == "jackknife" and reason:
        raise refused(function, reason)
    return Partition(parts=1 if reason else parts, slab=slab, no_interval=reason)


def refused(function: str, reason: str) -> InputError:
    """Returns the error of a jackknife that was demanded and cannot be had."""
    return InputError(f"{function}: interval: 'jackknife' cannot be had here: {reason}")


def affordable(n: int, d: int, parts: int, *, always: bool) -> tuple[bool, str]:
    """Returns (whether the jackknife should be the exact one, why there should be none).

    Args:
        n, d: rows and features.
        parts: parts that would be left out in turn.
        always: whether intervals are wanted at any cost.
    """
    pass_cost = n * d * d
    exact_cost = _EXACT_COST * parts * d**3
    first_order_cost = (_VECTORS_AND_HALVES_COST + _FIRST_ORDER_COST * parts) * d**3
    exact = exact_cost <= max(pass_cost, _NEGLIGIBLE)
    cost = exact_cost if exact else first_order_cost
    if parts < LEAST_PARTS:
        return exact, f"a jackknife needs at least {LEAST_PARTS} parts; the rows make {parts}"
    if not always and cost > max(pass_cost / 5, _NEGLIGIBLE):
        return exact, "they would cost more than a fifth of the pass; ask with interval='jackknife'"
    return exact, ""


def few_rows(n: int) -> str:
    """Returns why so few rows make no jackknife, in the same words for all scores."""
    return f"a jackknife needs at least {LEAST_PARTS} slabs of {MIN_SLAB} rows; got {n} rows"


def few_groups(groups: int) -> str:
    """Returns why so few groups make no jackknife."""
    return f"a jackknife needs at least {LEAST_PARTS} groups; got {groups}"


def dealt(n: int | None, groups: int | None) -> tuple[int, int, str]:
    """Returns (parts, rows of a slab, why there can be no jackknife) for slabs of rows, or whole groups."""
    if groups is not None:
        if groups < LEAST_PARTS:
            return groups, MAX_SLAB, few_groups(groups)
        return min(groups, PARTS), MAX_SLAB, ""
    if n is None:
        return PARTS, _UNKNOWN_SLAB, ""
    slab = max(MIN_SLAB, min(MAX_SLAB, n // (PARTS * _SLABS_PER_PART)))
    slabs = n // slab
    if slabs < LEAST_PARTS:
        return slabs, slab, few_rows(n)
    return min(slabs, PARTS), slab, ""
