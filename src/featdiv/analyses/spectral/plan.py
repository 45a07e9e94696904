"""Decides, before any row is read, how a spectrum will be computed: method, buckets of the jackknife, memory.

The costs are counted in operations, not measured, so that the same call takes the same path everywhere.
"""

from __future__ import annotations

import dataclasses

from featdiv.errors import InputError
from featdiv.stats import budget

METHODS = ("auto", "gram", "svd", "tsqr", "dual", "randomized")

SMALL_ENTRIES = 1 << 18
"""Rows of no more entries than this are decomposed directly in float64."""

WIDE = 4096
"""From this many features on, fewer rows than features are worked on through the n x n matrix."""

GRAM_LIMIT = 16384
"""Above this many features only the leading part of the spectrum is computed."""

BUCKETS = 20
FEWER_BUCKETS = 10
MIN_BUCKETS = 5
MIN_SLAB, MAX_SLAB = 256, 8192
_UNKNOWN_SLAB = 2048
_SLABS_PER_BUCKET = 2
_EXACT_COST, _FIRST_ORDER_COST = 38, 11
_VECTORS_AND_HALVES_COST = 210
_NEGLIGIBLE = 1e10
"""About a fifth of a second of work on two cores."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How a spectrum will be computed.

    Attributes:
        method: one of `METHODS` but ``auto``.
        buckets: parts that the rows are dealt to for the jackknife; 1 for no intervals.
        slab: consecutive rows that go to the same part.
        no_interval: why there are no intervals, or empty.
    """

    method: str
    buckets: int
    slab: int
    no_interval: str


def choose_method(method: str, *, n: int | None, d: int, one_pass: bool, function: str) -> str:
    """Returns the method for rows of this shape.

    Raises:
        InputError: if the method asked for is unknown or cannot work on a one-pass source.
    """
    if method not in METHODS:
        raise InputError(f"{function}: method: expected one of {', '.join(METHODS)}; got {method!r}")
    if method == "auto":
        if n is not None and not one_pass:
            if n * d <= SMALL_ENTRIES:
                return "svd"
            if d >= WIDE and n < d:
                return "dual"
        return "gram" if d <= GRAM_LIMIT else "randomized"
    if one_pass and method in ("svd", "dual", "randomized"):
        raise InputError(
            f"{function}: method: {method!r} needs rows that can be read more than once; a generator or DataLoader "
            "gives them once. Use method='gram' or 'tsqr', or convert the rows to a file first."
        )
    return method


def make(
    *,
    method: str,
    n: int | None,
    d: int,
    one_pass: bool,
    interval: str | None,
    groups: int | None,
    memory: int,
    chunk_bytes: int,
    function: str,
) -> Plan:
    """Returns the plan.

    Args:
        method: as the user asked.
        n: rows, where known.
        d: features.
        one_pass: whether the rows can be read only once.
        interval: ``"auto"``, ``"jackknife"`` or None.
        groups: number of the user's groups, where there are some.
        memory: budget in bytes.
        chunk_bytes: size of one chunk of rows.
        function: public name for error messages.

    Raises:
        InputError: if the arguments do not fit together.
        BudgetExceeded: if no plan fits the budget.
    """
    if interval not in ("auto", "jackknife", None):
        raise InputError(f"{function}: interval: expected 'auto', 'jackknife' or None; got {interval!r}")
    chosen = choose_method(method, n=n, d=d, one_pass=one_pass, function=function)
    if chosen in ("svd", "dual"):
        entries = (n or 0) * d
        side = (n or 0) ** 2 if chosen == "dual" else 0
        budget.require(
            8 * (3 * entries + 3 * side),
            memory,
            function=function,
            what=f"method={chosen!r} on {n} x {d} rows",
            advice="Raise memory=, or use method='gram' (d x d) or 'randomized' (leading part only).",
        )
    matrix = 8 * d * d
    if chosen == "gram":
        budget.require(
            5 * matrix + 2 * chunk_bytes,
            memory,
            function=function,
            what=f"{d} x {d} second moments",
            advice="Raise memory=, or use method='randomized' for the leading part of the spectrum.",
        )
    if chosen not in ("gram", "svd"):
        reason = f"method={chosen!r} keeps no moments of parts of the rows"
        if interval == "jackknife":
            raise InputError(f"{function}: interval: 'jackknife' cannot be had here: {reason}")
        return Plan(method=chosen, buckets=1, slab=MAX_SLAB, no_interval=reason)
    buckets, slab, reason = _buckets(n, groups)
    room = int((memory - 5 * matrix - 2 * chunk_bytes) // matrix) if matrix else buckets
    if not reason and room < buckets:
        buckets = room
        if buckets < MIN_BUCKETS:
            reason = f"{MIN_BUCKETS} parts of {matrix / 1e6:.3g} MB each do not fit the memory budget"
    if not reason and n is not None:
        always = interval == "jackknife"
        reason = affordable(n, d, buckets, always=always)[1]
        if reason and buckets > FEWER_BUCKETS:
            buckets = FEWER_BUCKETS
            reason = affordable(n, d, buckets, always=always)[1]
    if interval is None:
        reason = "none were asked for"
    elif interval == "jackknife" and reason:
        raise InputError(f"{function}: interval: 'jackknife' cannot be had here: {reason}")
    if reason:
        buckets = 1
    return Plan(method=chosen, buckets=buckets, slab=slab, no_interval=reason)


def affordable(n: int, d: int, buckets: int, *, always: bool) -> tuple[bool, str]:
    """Returns (whether the jackknife should be the exact one, why there should be none).

    Args:
        n, d: rows and features.
        buckets: parts that would be left out in turn.
        always: whether intervals are wanted at any cost.
    """
    pass_cost = n * d * d
    exact_cost = _EXACT_COST * buckets * d**3
    first_order_cost = (_VECTORS_AND_HALVES_COST + _FIRST_ORDER_COST * buckets) * d**3
    exact = exact_cost <= max(pass_cost, _NEGLIGIBLE)
    cost = exact_cost if exact else first_order_cost
    if buckets < MIN_BUCKETS:
        return exact, f"a jackknife needs at least {MIN_BUCKETS} parts; the rows make {buckets}"
    if not always and cost > max(pass_cost / 5, _NEGLIGIBLE):
        return exact, "they would cost more than a fifth of the pass; ask with interval='jackknife'"
    return exact, ""


def _buckets(n: int | None, groups: int | None) -> tuple[int, int, str]:
    """Returns (buckets, slab, reason why not)."""
    if groups is not None:
        if groups < MIN_BUCKETS:
            return groups, MAX_SLAB, f"a jackknife needs at least {MIN_BUCKETS} groups; got {groups}"
        return min(groups, BUCKETS), MAX_SLAB, ""
    if n is None:
        return BUCKETS, _UNKNOWN_SLAB, ""
    slab = max(MIN_SLAB, min(MAX_SLAB, n // (BUCKETS * _SLABS_PER_BUCKET)))
    slabs = n // slab
    if slabs < MIN_BUCKETS:
        return slabs, slab, f"a jackknife needs at least {MIN_BUCKETS} slabs of {MIN_SLAB} rows; got {n} rows"
    return min(slabs, BUCKETS), slab, ""
