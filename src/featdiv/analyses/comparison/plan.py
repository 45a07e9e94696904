"""Decides, before any row is read, how the matrix will be computed: parts of the rows, blocks of models, passes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from featdiv.analyses.comparison.models import FUNCTION, Layout
from featdiv.errors import BudgetExceeded
from featdiv.metrics.similarity.inputs import LEAST_SLAB, PARTS
from featdiv.metrics.similarity.measures import Measure
from featdiv.stats import partition
from featdiv.stats.cross_moments_read import CHUNK_BYTES, MATRICES, MATRICES_A_PART, needed_bytes

_PART_COST = 6000
"""What a part costs to build, merge and leave out, in rows of the pass: both are proportional to D^2."""

_NEGLIGIBLE = 1e11
"""Multiply-adds that take a second or two on two cores."""


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
        slab = LEAST_SLAB if n is None else max(LEAST_SLAB, -(-n // (PARTS * 8)))
        parts, reason = min(groups, PARTS) if groups else PARTS, measure.metric.jackknife
    else:
        parts, slab, reason = partition.dealt(n, groups)
        reason = measure.metric.jackknife or reason
        affordable = int(max((n or 0) / 5, _NEGLIGIBLE / total**2) // _PART_COST)
        if not reason and interval == "auto" and n is not None and affordable < parts:
            parts = affordable
            if parts < partition.LEAST_PARTS:
                reason = "they would cost more than a fifth of the pass; ask with interval='jackknife'"
        room = _most_parts(total, memory)
        if not reason and interval == "auto" and room < parts:
            parts = room
            if parts < partition.LEAST_PARTS:
                size = 8 * MATRICES_A_PART * total * total
                reason = f"{partition.LEAST_PARTS} parts of {size / 1e9:.3g} GB each do not fit the memory budget"
    if interval == "jackknife" and reason:
        raise partition.refused(FUNCTION, reason)
    if interval is None:
        reason = "none were asked for"
    if reason and measure.takes != "parts":
        parts = 1
    return Plan(
        parts=parts,
        slab=slab,
        no_interval=reason,
        passes=_passes(found, sizes, parts=parts, memory=memory, one_pass=one_pass),
    )


def _most_parts(features: int, memory: int) -> int:
    """Returns how many parts of joint moments fit the budget beside the whole."""
    return int((memory - 3 * CHUNK_BYTES) // (8 * features * features) - MATRICES) // MATRICES_A_PART


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
            f"{needed_bytes(widest[0], parts) / 1e9:.3g} GB; the budget is {memory / 1e9:.3g} GB. Raise memory=, or "
            "reduce the features of both"
        )
    if one_pass:
        total = sum(sizes[key] for key in keys)
        raise BudgetExceeded(
            f"{FUNCTION}: memory: moments of {len(keys)} models of {total} features in all need "
            f"{needed_bytes(total, parts) / 1e9:.3g} GB; the budget is {memory / 1e9:.3g} GB. Fewer models at a time "
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
