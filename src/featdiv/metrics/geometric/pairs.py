"""Sums over all pairs of rows, whole or by blocks of rows, whose resampling gives an interval."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError
from featdiv.metrics.geometric.rows import Rows, speaking_for
from featdiv.ops.pair_sums import PairSums, pair_sums
from featdiv.ops.scatter import reference
from featdiv.results import Interval
from featdiv.stats import arguments, resampling
from featdiv.stats.resampling import Float64Array

BLOCKS = 24
LEAST_BLOCK_ROWS = 128
CHECKED_ROWS = 8192
PACKED_AT_ONCE = 1 << 26
"""Bytes of rows in float32 above which blocks are compared in turn, so that not all of them are packed at once."""
INTERVALS = ("auto", "bootstrap", None)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """What one pass over the pairs of rows gave.

    Attributes:
        total: the reductions over all pairs.
        exp_sums: (g, g, rates) the first reduction by pairs of blocks, or None where there are no blocks.
        histogram: (g, g, bins) the histogram likewise, or None.
        pairs: (g, g) numbers of pairs, or None.
        no_interval: why there are no blocks, or empty.
        seed: of the resampling.
    """

    total: PairSums
    exp_sums: Float64Array | None = None
    histogram: Float64Array | None = None
    pairs: Float64Array | None = None
    no_interval: str = ""
    seed: int = 0

    def interval(
        self, sums: Float64Array | None, score: Callable[[Float64Array, Float64Array], Float64Array]
    ) -> Interval | None:
        """Returns the block bootstrap interval of a score of sums over pairs, or None where there are no blocks."""
        if sums is None or self.pairs is None:
            return None
        return resampling.of_pairs(sums, self.pairs, score, seed=self.seed)


def check_interval(function: str, interval: str | None) -> None:
    """Raises InputError unless ``interval`` is one that the scores of pairs know."""
    arguments.one_of(function, "interval", interval, INTERVALS)


def reduce(rows: Rows, *, interval: str | None, precision: str, backend: str, seed: int = 0, **task: Any) -> Pairs:
    """Runs the pair op over all pairs, block against block where an interval is wanted.

    Args:
        rows: what to compare.
        interval: ``"auto"`` (where there are enough blocks or groups), ``"bootstrap"`` (or an error that says why
            not), None.
        precision, backend: of the op.
        seed: of the resampling.
        **task: further arguments of `featdiv.ops.pair_sums.pair_sums`.

    Raises:
        InputError: if an interval is demanded that cannot be had.
    """
    rows.require(2)
    blocks, reason = _blocks(rows)
    if interval is None:
        if 4 * rows.n * int(rows.values.shape[1]) > PACKED_AT_ONCE:
            found = reduce(
                dataclasses.replace(rows, groups=None), interval="auto", precision=precision, backend=backend, **task
            )
            return Pairs(total=found.total, seed=seed)
        blocks, reason = None, ""
    elif interval == "bootstrap" and blocks is None:
        raise InputError(f"{rows.function}: interval: 'bootstrap' cannot be had here: {reason}")
    with speaking_for(rows):
        if blocks is None:
            total = pair_sums(rows.values, precision=precision, backend=backend, **task)
            return Pairs(total=total, no_interval=reason, seed=seed)
        # The message about a bad row should count over all rows, not over those of a block.
        _check_rows(rows, task)
        return _by_block(rows, blocks, precision=precision, backend=backend, seed=seed, **task)


def _check_rows(rows: Rows, task: dict[str, Any]) -> None:
    normalize = task.get("normalize", "l2")
    for start in range(0, rows.n, CHECKED_ROWS):
        part = rows.values[start : start + CHECKED_ROWS]
        whole = reference.to_float64(part).sum(axis=1)
        if not np.isfinite(whole).all() or (normalize == "l2" and not bool((part != 0).any(1).all())):
            reference.transformed(rows.values, normalize=normalize)


def _blocks(rows: Rows) -> tuple[list[Any] | None, str]:
    """Returns (slices or indices of the blocks, why there are none)."""
    if rows.groups is not None:
        names, codes = np.unique(rows.groups, return_inverse=True)
        if len(names) < resampling.LEAST_GROUPS:
            return None, f"a bootstrap needs at least {resampling.LEAST_GROUPS} groups; got {len(names)}"
        dealt = codes.reshape(-1) % min(BLOCKS, len(names))
        return [np.flatnonzero(dealt == block) for block in range(int(dealt.max()) + 1)], ""
    count = min(BLOCKS, rows.n // LEAST_BLOCK_ROWS)
    if count < resampling.LEAST_GROUPS:
        least = resampling.LEAST_GROUPS * LEAST_BLOCK_ROWS
        return None, f"a block bootstrap needs at least {least} rows; got {rows.n}"
    edges = np.linspace(0, rows.n, count + 1).astype(int)
    return [slice(start, stop) for start, stop in itertools.pairwise(edges.tolist())], ""


def _by_block(rows: Rows, blocks: Sequence[Any], *, seed: int, **task: Any) -> Pairs:
    g = len(blocks)
    parts = [rows.values[block] for block in blocks]
    where = [np.arange(block.start, block.stop) if isinstance(block, slice) else block for block in blocks]
    found: dict[tuple[int, int], PairSums] = {}
    exp_sums = np.zeros((g, g, len(task.get("rates", (2.0,)))))
    bins = int(task.get("bins", 0))
    histogram = np.zeros((g, g, bins), dtype=np.int64)
    pairs = np.zeros((g, g))
    none = np.zeros((0, 2), np.int64)
    for a in range(g):
        for b in range(a, g):
            if len(where[a]) <= (1 if a == b else 0):
                continue
            sums = pair_sums(parts[a], None if a == b else parts[b], **task)
            exp_sums[a, b], pairs[a, b] = sums.exp_sums, sums.pairs
            if sums.histogram is not None:
                histogram[a, b] = sums.histogram
            # Small arrays that outlive a call would lie between its large ones, whose memory could not be used again.
            found[a, b] = dataclasses.replace(
                sums,
                exp_sums=exp_sums[a, b],
                histogram=None if sums.histogram is None else histogram[a, b],
                close_pairs=sums.close_pairs if len(sums.close_pairs) else none,
            )
    return Pairs(
        total=_joined(found, where, task),
        exp_sums=exp_sums,
        histogram=histogram.astype(np.float64) if bins else None,
        pairs=pairs,
        seed=seed,
    )


def _joined(
    found: dict[tuple[int, int], PairSums], where: Sequence[npt.NDArray[Any]], task: dict[str, Any]
) -> PairSums:
    """Returns the reductions over all pairs, rows counted as in the whole."""
    sums = list(found.values())
    listed, nearest = [], None
    sign = -1.0 if task.get("measure") == "distance" else 1.0
    for (a, b), part in found.items():
        ends = np.stack([where[a][part.close_pairs[:, 0]], where[b][part.close_pairs[:, 1]]], axis=1)
        listed.append(np.sort(ends, axis=1))
        if part.nearest is not None and (nearest is None or sign * part.nearest[2] > sign * nearest[2]):
            i, j = sorted((int(where[a][part.nearest[0]]), int(where[b][part.nearest[1]])))
            nearest = (i, j, part.nearest[2])
    pairs = np.concatenate(listed)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))][: task.get("examples", 0)]
    histograms = [part.histogram for part in sums if part.histogram is not None]
    return dataclasses.replace(
        sums[0],
        pairs=sum(part.pairs for part in sums),
        exp_sums=np.sum([part.exp_sums for part in sums], axis=0),
        histogram=np.sum(histograms, axis=0) if histograms else None,
        below=sum(part.below for part in sums),
        above=sum(part.above for part in sums),
        close=None if sums[0].close is None else sum(part.close or 0 for part in sums),
        close_pairs=pairs.astype(np.int64),
        nearest=nearest,
    )
