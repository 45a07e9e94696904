"""Decides, before any row is read, how a spectrum will be computed: method, buckets of the jackknife, memory.

The costs are counted in operations, not measured, so that the same call takes the same path everywhere.
"""

from __future__ import annotations

import dataclasses

from featdiv.errors import InputError
from featdiv.stats import arguments, budget, partition

METHODS = ("auto", "gram", "svd", "tsqr", "dual", "randomized")

SMALL_ENTRIES = 1 << 18
"""Rows of no more entries than this are decomposed directly in float64."""

WIDE = 4096
"""From this many features on, fewer rows than features are worked on through the n x n matrix."""

GRAM_LIMIT = 16384
"""Above this many features only the leading part of the spectrum is computed."""


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
    arguments.one_of(function, "method", method, METHODS)
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
    arguments.one_of(function, "interval", interval, partition.INTERVALS)
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
            raise partition.refused(function, reason)
        return Plan(method=chosen, buckets=1, slab=partition.MAX_SLAB, no_interval=reason)
    dealt = partition.make(
        n=n,
        d=d,
        groups=groups,
        interval=interval,
        memory=memory,
        kept=5 * matrix + 2 * chunk_bytes,
        function=function,
    )
    return Plan(method=chosen, buckets=dealt.parts, slab=dealt.slab, no_interval=dealt.no_interval)
