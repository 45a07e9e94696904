"""Sums over all pairs of rows, whole or by blocks of rows, whose resampling gives an interval."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError
from featdiv.io.progress import Progress
from featdiv.metrics.geometric.rows import Rows, speaking_for
from featdiv.ops._dispatch import PRECISIONS
from featdiv.ops.pair_sums import PairSums, pair_sums
from featdiv.results import Interval
from featdiv.stats import arguments, resampling
from featdiv.stats.resampling import Float64Array

BLOCKS = 24
LEAST_BLOCK_ROWS = 128
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


def reduce(
    rows: Rows,
    *,
    interval: str | None,
    precision: str,
    backend: str,
    seed: int = 0,
    progress: Progress | None = None,
    **task: Any,
) -> Pairs:
    """Runs the pair op over all pairs, block against block where an interval is wanted.

    Args:
        rows: what to compare.
        interval: ``"auto"`` (where there are enough blocks or groups), ``"bootstrap"`` (or an error that says why
            not), None.
        precision, backend: of the op.
        seed: of the resampling.
        progress: called with (rows done, rows in all), where the pairs done count as a share of the rows.
        **task: further arguments of `featdiv.ops.pair_sums.pair_sums`.

    Raises:
        InputError: if an interval is demanded that cannot be had.
    """
    arguments.one_of(rows.function, "precision", precision, tuple(PRECISIONS))
    rows.require(2)
    blocks, reason = _blocks(rows)
    if interval is None:
        blocks, reason = None, ""
    elif interval == "bootstrap" and blocks is None:
        raise InputError(f"{rows.function}: interval: 'bootstrap' cannot be had here: {reason}")
    task |= {"precision": precision, "backend": backend, "progress": _by_rows(progress, rows.n)}
    with speaking_for(rows):
        if blocks is None:
            return Pairs(total=pair_sums(rows.values, **task), no_interval=reason, seed=seed)
        return _of_blocks(pair_sums(rows.values, blocks=blocks, **task), seed)


def _by_rows(progress: Progress | None, n: int) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(n * done // total, n)


def _of_blocks(total: PairSums, seed: int) -> Pairs:
    found = total.by_block
    assert found is not None
    histogram = None if found.histogram is None else found.histogram.astype(np.float64)
    return Pairs(
        total=total,
        exp_sums=found.exp_sums,
        histogram=histogram,
        pairs=found.pairs.astype(np.float64),
        seed=seed,
    )


def _blocks(rows: Rows) -> tuple[npt.NDArray[np.int64] | None, str]:
    """Returns (number of each row's block, why there are none)."""
    if rows.groups is not None:
        names, codes = np.unique(rows.groups, return_inverse=True)
        if len(names) < resampling.LEAST_GROUPS:
            return None, f"a bootstrap needs at least {resampling.LEAST_GROUPS} groups; got {len(names)}"
        return codes.reshape(-1) % min(BLOCKS, len(names)), ""
    count = min(BLOCKS, rows.n // LEAST_BLOCK_ROWS)
    if count < resampling.LEAST_GROUPS:
        least = resampling.LEAST_GROUPS * LEAST_BLOCK_ROWS
        return None, f"a block bootstrap needs at least {least} rows; got {rows.n}"
    edges = np.linspace(0, rows.n, count + 1).astype(int)
    return np.repeat(np.arange(count), np.diff(edges)), ""
