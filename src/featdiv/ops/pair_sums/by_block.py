"""Pairs of rows by pairs of blocks, for backends that know no blocks: one call for each pair of blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.ops.pair_sums import BlockSums, PairSums, PairTask
from featdiv.ops.scatter import reference

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

CHECKED_ROWS = 8192


def pair_sums(
    run: Callable[[Rows, Rows | None, PairTask], PairSums],
    x: Rows,
    blocks: Sequence[npt.NDArray[np.int64]],
    task: PairTask,
) -> PairSums:
    """Returns the reductions over all pairs, and by pairs of blocks.

    Args:
        run: the op of one backend.
        x: (n, d) rows.
        blocks: ascending numbers of the rows of each block.
        task: what is wanted.

    Raises:
        NonFiniteError, ZeroNormError: if a row is bad; the message counts over all rows.
    """
    _check_rows(x, task.normalize)
    g = len(blocks)
    parts = [_rows_of(x, block) for block in blocks]
    exp_sums = np.zeros((g, g, len(task.rates)))
    distance_sums = np.zeros((g, g))
    histogram = np.zeros((g, g, task.bins), dtype=np.int64)
    pairs = np.zeros((g, g), dtype=np.int64)
    found: dict[tuple[int, int], PairSums] = {}
    progress, task = task.progress, dataclasses.replace(task, progress=None)
    n = int(x.shape[0])
    for a in range(g):
        for b in range(a, g):
            pairs[a, b] = len(blocks[a]) * (len(blocks[a]) - 1) // 2 if a == b else len(blocks[a]) * len(blocks[b])
            if not pairs[a, b] and found:
                continue
            sums = run(parts[a], None if a == b else parts[b], task)
            if progress is not None:
                progress(int(pairs.sum()), n * (n - 1) // 2)
            exp_sums[a, b] = sums.exp_sums
            distance_sums[a, b] = sums.distance_sum or 0.0
            if sums.histogram is not None:
                histogram[a, b] = sums.histogram
            # Small arrays that outlive a call would lie between its large ones, whose memory could not be used again.
            kept = sums.close_pairs if len(sums.close_pairs) else np.zeros((0, 2), np.int64)
            found[a, b] = dataclasses.replace(sums, exp_sums=exp_sums[a, b], histogram=None, close_pairs=kept)
    counts = None if task.edges is None else histogram
    return dataclasses.replace(
        _joined(found, blocks, task),
        exp_sums=exp_sums.sum(axis=(0, 1)),
        histogram=None if counts is None else counts.sum(axis=(0, 1)),
        by_block=BlockSums(
            exp_sums=exp_sums,
            distance_sums=distance_sums if task.distances else None,
            histogram=counts,
            pairs=pairs,
        ),
    )


def _rows_of(x: Rows, block: npt.NDArray[np.int64]) -> Rows:
    """Returns the rows of a block, uncopied where they follow one another."""
    first, last = int(block[0]), int(block[-1])
    if last - first + 1 == len(block):
        return x[first : last + 1]
    return x[block]


def _check_rows(x: Rows, normalize: str | None) -> None:
    for start in range(0, int(x.shape[0]), CHECKED_ROWS):
        part = x[start : start + CHECKED_ROWS]
        whole = reference.to_float64(part).sum(axis=1)
        if not np.isfinite(whole).all() or (normalize == "l2" and not bool((part != 0).any(1).all())):
            reference.transformed(x, normalize=normalize)


def _joined(found: dict[tuple[int, int], PairSums], where: Sequence[npt.NDArray[np.int64]], task: PairTask) -> PairSums:
    """Returns what is no sum by blocks, rows counted as in the whole."""
    sums = list(found.values())
    listed, nearest = [], None
    for (a, b), part in found.items():
        ends = np.stack([where[a][part.close_pairs[:, 0]], where[b][part.close_pairs[:, 1]]], axis=1)
        listed.append(np.sort(ends, axis=1))
        closer = part.nearest and (nearest is None or task.closeness(part.nearest[2]) > task.closeness(nearest[2]))
        if part.nearest and closer:
            i, j = sorted((int(where[a][part.nearest[0]]), int(where[b][part.nearest[1]])))
            nearest = (i, j, part.nearest[2])
    pairs = np.concatenate(listed)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))][: task.examples]
    return dataclasses.replace(
        sums[0],
        distance_sum=None if sums[0].distance_sum is None else float(sum(part.distance_sum or 0.0 for part in sums)),
        below=sum(part.below for part in sums),
        above=sum(part.above for part in sums),
        close=None if sums[0].close is None else sum(part.close or 0 for part in sums),
        close_pairs=pairs.astype(np.int64),
        nearest=nearest,
    )
