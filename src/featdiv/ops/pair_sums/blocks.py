"""Pairs of rows on a GPU, block by block: kernels reduce, and what they are unsure of is computed again in float64.

Pairs near an edge or a threshold are listed by the kernel. A block with more of them than the list holds is cut in two.
Counts are integers, so that the order in which programs add them changes nothing.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from featdiv.errors import RowError
from featdiv.ops.pair_sums import PairSums, PairTask, of_set, out_of_range
from featdiv.ops.pair_sums.reference import bin_counts
from featdiv.ops.scatter import reference

LISTED = 1 << 20
"""Pairs that may wait to be computed again in float64."""

BLOCK = 1 << 14
"""Rows, and columns, whose pairs are counted before the list is looked at."""

NEAR_SHARE = 2.0**-10
"""Share of |x|^2 + |y|^2 below which a squared distance is computed again before its root is added."""

UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}
"""Type in which products are summed to its rounding."""

_EXACT_ROWS = 1 << 14


class PackedSet(Protocol):
    """A set of rows on the device."""

    rows: torch.Tensor
    n: int
    d: int
    squares: torch.Tensor

    def take(self, index: torch.Tensor) -> torch.Tensor:
        """Returns rows in float64, as they are compared."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """Which pairs to reduce: rows [row, row_stop) of one set with rows [column, column_stop) of the other.

    Attributes:
        within: whether both sets are the same, and only pairs i < j count.
        listed: room for pairs that the kernel is unsure of.
        limits: (5,) float64 on the device: first edge, bins per unit, rounding of the edges, relative rounding of the
            products, threshold.
    """

    row: int
    row_stop: int
    column: int
    column_stop: int
    within: bool
    listed: int
    limits: torch.Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reduced:
    """What a kernel makes of a block.

    Attributes:
        exp_sums: float64, one for each rate, then the sum of the distances of pairs that are not listed.
        histogram: (bins + 2,) int64 counts of pairs that are not listed, those below and above at the ends.
        close_rows: (rows,) close pairs of each row of the block that are not listed.
        nearest: (closeness, left row, right row), or None.
        unsure: (pairs, 3) int64: left row, right row, and 1 for a pair near an edge or the threshold, plus 2 for one
            that is too near for the sum of the distances.
        unsure_count: pairs that would have been listed, had there been room.
    """

    exp_sums: npt.NDArray[np.float64]
    histogram: npt.NDArray[np.int64]
    close_rows: torch.Tensor
    nearest: tuple[float, int, int] | None
    unsure: torch.Tensor
    unsure_count: int


class Reduce(Protocol):
    """The kernel of a backend."""

    def __call__(self, block: Block) -> Reduced:
        """Returns the reductions of a block."""
        ...


def nothing(task: PairTask) -> PairSums:
    """Returns the reductions of no pairs."""
    return PairSums(
        pairs=0,
        exp_sums=np.zeros(len(task.rates)),
        distance_sum=0.0 if task.distances else None,
        histogram=None if task.edges is None else np.zeros(task.bins, dtype=np.int64),
        close=None if task.threshold is None else 0,
    )


def check(packed: PackedSet, rows: Any, other: Any, task: PairTask, *, in_other: bool) -> None:
    """Raises the error of bad rows, if squared norms say that there are any."""
    if bool(packed.squares.isfinite().all()):
        return
    host = reference.to_float64(rows)
    try:
        reference.check_finite(host)
        if task.normalize == "l2":
            reference.check_norms(host)
    except RowError as error:
        raise of_set(error, other, in_other=in_other) from None
    raise out_of_range()


class Run:
    """One call: its blocks, and what has been found.

    Args:
        left: rows of one set.
        right: rows of the other, or ``left`` again.
        task: what is wanted.
        reduce: the kernel.
        kind: ``"float32"`` or ``"float64"``, in which products are summed.
        tile: rows and columns that no cut divides.
        within: whether pairs are of one set.
    """

    def __init__(
        self,
        left: PackedSet,
        right: PackedSet,
        task: PairTask,
        reduce: Reduce,
        *,
        kind: str,
        tile: int,
        within: bool,
    ) -> None:
        self.left, self.right, self.task, self.within, self.tile = left, right, task, within, tile
        self.reduce = reduce
        self.device = left.rows.device
        # The pairs of one tile fit, so that cutting blocks in two comes to an end.
        self.listed = max(LISTED, tile**2)
        self.exp_sums = np.zeros(len(task.rates))
        self.distance_sum = 0.0
        self.looked_at = task.measure is not None or task.distances
        self.counts = np.zeros(task.bins + 2, dtype=np.int64)
        self.close_rows = torch.zeros(left.n, dtype=torch.int64, device=self.device)
        self.nearest: tuple[float, int, int] | None = None
        low, high = (float(task.edges[0]), float(task.edges[-1])) if task.edges is not None else (0.0, 1.0)
        threshold = task.threshold or 0.0
        largest = max(abs(low), abs(high), abs(threshold))
        unit = UNIT[kind]
        self.limits = torch.tensor(
            [low, task.bins / (high - low), 8 * unit * largest, unit * (44 + left.d / 32), threshold],
            dtype=torch.float64,
            device=self.device,
        )

    def all(self) -> None:
        """Adds all pairs, block by block; one block where nothing has to be looked at in between."""
        size = BLOCK if self.looked_at else max(self.left.n, self.right.n, self.tile)
        size = -(-size // self.tile) * self.tile
        with torch.no_grad():
            for row in range(0, self.left.n, size):
                for column in range(row if self.within else 0, self.right.n, size):
                    self.add(row, min(row + size, self.left.n), column, min(column + size, self.right.n))

    def add(self, row: int, row_stop: int, column: int, column_stop: int) -> None:
        """Adds the pairs of a block, or those of its halves where too many wait to be computed again."""
        if self._reduced(row, row_stop, column, column_stop):
            return
        if row_stop - row >= column_stop - column:
            middle = row + -(-(row_stop - row) // (2 * self.tile)) * self.tile
            self.add(row, middle, column, column_stop)
            self.add(middle, row_stop, column, column_stop)
        else:
            middle = column + -(-(column_stop - column) // (2 * self.tile)) * self.tile
            self.add(row, row_stop, column, middle)
            self.add(row, row_stop, middle, column_stop)

    def _reduced(self, row: int, row_stop: int, column: int, column_stop: int) -> bool:
        """Adds the pairs of a block; False, and nothing added, where too many wait to be computed again."""
        found = self.reduce(
            Block(
                row=row,
                row_stop=row_stop,
                column=column,
                column_stop=column_stop,
                within=self.within,
                listed=self.listed if self.looked_at else 1,
                limits=self.limits,
            )
        )
        listed = found.unsure_count if self.looked_at else 0
        if listed > self.listed:
            return False
        self.exp_sums += found.exp_sums[: len(self.task.rates)]
        self.distance_sum += float(found.exp_sums[len(self.task.rates)])
        if self.task.distances:
            self._add_near(found.unsure[:listed])
        if self.task.measure is not None:
            self.counts += found.histogram
            self.close_rows[row:row_stop] += found.close_rows
            self._add_unsure(found.unsure[:listed])
            if found.nearest is not None and (self.nearest is None or found.nearest[0] > self.nearest[0]):
                self.nearest = found.nearest
        return True

    def _add_unsure(self, where: torch.Tensor) -> None:
        """Counts listed pairs by their float64 values."""
        where = where[(where[:, 2] & 1) > 0]
        for start in range(0, len(where), _EXACT_ROWS):
            some = where[start : start + _EXACT_ROWS]
            values = self._exact(some[:, 0], some[:, 1])
            if self.task.edges is not None:
                self.counts += bin_counts(values.cpu().numpy(), self.task)
            if self.task.threshold is not None:
                hit = self.task.closeness(values) >= self.task.closeness(self.task.threshold)
                self.close_rows.index_add_(0, some[hit, 0], torch.ones_like(some[hit, 0]))

    def _add_near(self, where: torch.Tensor) -> None:
        """Adds the float64 distances of pairs whose float32 products say little about them."""
        where = where[where[:, 2] >= 2]
        for start in range(0, len(where), _EXACT_ROWS):
            some = where[start : start + _EXACT_ROWS]
            self.distance_sum += float(self._distance(some[:, 0], some[:, 1]).sum())

    def _exact(self, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        if self.task.measure == "distance":
            return self._distance(rows, columns)
        return (self.left.take(rows) * self.right.take(columns)).sum(dim=1)

    def _distance(self, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        return (self.left.take(rows) - self.right.take(columns)).square().sum(dim=1).sqrt()

    def _first_close(self) -> list[tuple[int, int]]:
        """Returns the first close pairs, from the rows that are known to have some."""
        found: list[tuple[int, int]] = []
        for row in self.close_rows.nonzero()[: self.task.examples, 0].tolist():
            for start in range(row + 1 if self.within else 0, self.right.n, _EXACT_ROWS):
                columns = torch.arange(start, min(start + _EXACT_ROWS, self.right.n), device=self.device)
                values = self._exact(torch.full_like(columns, row), columns)
                hit = self.task.closeness(values) >= self.task.closeness(self.task.threshold)
                found += [(row, int(column)) for column in columns[hit].tolist()]
                if len(found) >= self.task.examples:
                    return found[: self.task.examples]
        return found

    def result(self) -> PairSums:
        """Returns what was found, on the host."""
        task = self.task
        nearest = None
        if self.nearest is not None:
            _, i, j = self.nearest
            ends = (torch.tensor([end], device=self.device) for end in (i, j))
            nearest = (i, j, float(self._exact(*ends)))
        return PairSums(
            pairs=0,
            exp_sums=self.exp_sums,
            distance_sum=self.distance_sum if task.distances else None,
            histogram=None if task.edges is None else self.counts[1:-1],
            below=int(self.counts[0]),
            above=int(self.counts[-1]),
            close=None if task.threshold is None else int(self.close_rows.sum()),
            close_pairs=np.array(self._first_close() if task.examples else [], dtype=np.int64).reshape(-1, 2),
            nearest=nearest,
        )
