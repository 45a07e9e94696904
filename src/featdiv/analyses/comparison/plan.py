"""Decides, before any row is read, how the matrix will be computed: parts of the rows, blocks of models, passes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from featdiv.analyses.comparison.models import FUNCTION, Layout
from featdiv.errors import BudgetExceeded
from featdiv.metrics.similarity import left_out
from featdiv.metrics.similarity.inputs import LEAST_SLAB, PARTS
from featdiv.metrics.similarity.measures import Measure
from featdiv.stats import budget, partition
from featdiv.stats.cross_moments_read import CHUNK_BYTES, MATRICES, MATRICES_A_PART, needed_bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How a comparison will be computed.

    Attributes:
        parts: parts that the rows are dealt to; 1 for none.
        slab: consecutive rows that go to the same part.
        no_interval: why there are no intervals, or empty.
        passes: the models that are read together in each pass over the rows.
    """

    parts: int
    slab: int
    no_interval: str
    passes: tuple[tuple[str, ...], ...]


def make(
    measure: Measure,
    found: Layout,
    sizes: Mapping[str, int],
    *,
    n: int | None,
    groups: int | None,
    one_pass: bool,
    interval: str | None,
    memory: int,
) -> Plan:
    """Returns the plan for a measure of moments.

    Args:
        measure: what is to be computed.
        found: the models.
        sizes: features of each.
        n: rows, where known.
        groups: number of the user's groups, where there are some.
        one_pass: whether some source can be read only once.
        interval: ``"auto"``, ``"jackknife"`` or None.
        memory: budget in bytes.

    Raises:
        InputError: if an interval is asked for that cannot be had.
        BudgetExceeded: if no plan fits the budget.
    """
    total = sum(sizes[key] for key in found.keys)
    if measure.takes == "parts":
        parts = min(groups, PARTS) if groups else PARTS
        slab = LEAST_SLAB if n is None else max(LEAST_SLAB, -(-n // (PARTS * 8)))
        reason = measure.metric.jackknife
        if interval == "jackknife":
            raise partition.refused(FUNCTION, reason)
    else:
        dealt = left_out.plan(
            n=n,
            features=total,
            widest=max(sizes[key] for key in found.keys),
            groups=groups,
            interval=interval,
            memory=memory,
            estimate=measure.estimate,
            invalid=measure.metric.jackknife,
            function=FUNCTION,
        )
        parts, slab, reason = dealt.parts, dealt.slab, dealt.no_interval
    return Plan(
        parts=parts,
        slab=slab,
        no_interval=reason,
        passes=_passes(found, sizes, parts=parts, memory=memory, one_pass=one_pass),
    )


def _passes(
    found: Layout, sizes: Mapping[str, int], *, parts: int, memory: int, one_pass: bool
) -> tuple[tuple[str, ...], ...]:
    """Returns the models of each pass, so that every pair of a row and a column is together in one of them."""
    keys = found.keys
    if needed_bytes(sum(sizes[key] for key in keys), parts) <= memory:
        return (keys,)
    widest = max(
        (sizes[a] + sizes[b], a, b) for a in found.row_keys for b in found.column_keys if a != b or len(keys) == 1
    )
    if needed_bytes(widest[0], parts) > memory:
        raise BudgetExceeded(
            f"{FUNCTION}: memory: {widest[1]} and {widest[2]} have {widest[0]} features together, whose moments need "
            f"{budget.size(needed_bytes(widest[0], parts))}; the budget is {budget.size(memory)}. Raise memory=, or "
            "reduce the features of both"
        )
    if one_pass:
        total = sum(sizes[key] for key in keys)
        raise BudgetExceeded(
            f"{FUNCTION}: memory: moments of {len(keys)} models of {total} features in all need "
            f"{budget.size(needed_bytes(total, parts))}; the budget is {budget.size(memory)}. Fewer models at a time "
            "need more passes, and some source can be read only once: write it to a file first, or raise memory="
        )
    factor = 8 * (MATRICES + (MATRICES_A_PART * parts if parts > 1 else 0))
    limit = math.isqrt((memory - 3 * CHUNK_BYTES) // factor)
    # Half of the limit for each side; a model wider than that gets a block, and perhaps a pass, of its own.
    row_blocks = _blocks(found.row_keys, sizes, limit // 2)
    column_blocks = row_blocks if found.square else _blocks(found.column_keys, sizes, limit // 2)
    together: list[tuple[str, ...]] = []
    for i, left in enumerate(row_blocks):
        for j, right in enumerate(column_blocks):
            if found.square and j < i:
                continue
            both = tuple(dict.fromkeys([*left, *right]))
            if sum(sizes[key] for key in both) <= limit:
                together.append(both)
            else:
                together += [tuple(dict.fromkeys([a, b])) for a in left for b in right]
    different = list(dict.fromkeys(together))
    return tuple(names for names in different if not any(set(names) < set(more) for more in different))


def _blocks(keys: Sequence[str], sizes: Mapping[str, int], limit: int) -> list[tuple[str, ...]]:
    blocks: list[list[str]] = []
    filled = limit + 1
    for key in keys:
        if filled + sizes[key] > limit:
            blocks.append([])
            filled = 0
        blocks[-1].append(key)
        filled += sizes[key]
    return [tuple(block) for block in blocks]
