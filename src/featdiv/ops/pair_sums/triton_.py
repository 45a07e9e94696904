"""pair_sums through Triton: products of three bfloat16 terms, reduced in the program that made them.

Pairs near an edge or a threshold are listed by the kernel and computed again in float64. A block with more of them than
the list holds is cut in two. Counts are integers, so that the order in which programs add them changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import RowError
from featdiv.ops import _triton
from featdiv.ops._dispatch import Request
from featdiv.ops._routes import Route
from featdiv.ops._triton_shapes import major_capability, pair_shape
from featdiv.ops.pair_sums import MEASURES, PairSums, PairTask, of_set, out_of_range
from featdiv.ops.pair_sums.reference import bin_counts
from featdiv.ops.scatter import reference

if TYPE_CHECKING:
    import torch

    from featdiv.ops._triton_pairs import PackedSet

    Rows = npt.NDArray[Any] | torch.Tensor

LISTED = 1 << 20
"""Pairs that may wait to be computed again in float64."""

BLOCK = 1 << 14
"""Rows, and columns, whose pairs are counted before the list is looked at."""

TILES_OF_A_PROGRAM = 16
NEAR_SHARE = 2.0**-10
"""Share of |x|^2 + |y|^2 below which a squared distance is computed again before its root is added."""

MOST_SLOTS = 1024
_UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}
_EXACT_ROWS = 1 << 14


def unsupported_reason(request: Request) -> str | None:
    """Returns why Triton cannot run the request."""
    return _triton.unsupported_reason(request)


def pair_sums(x: Rows, other: Rows | None, task: PairTask) -> PairSums:
    """Returns the reductions; see `featdiv.ops.pair_sums.pair_sums`."""
    from featdiv.ops._triton_pairs import PackedSet, fits_float32, pilot_mean

    if not len(x) or (other is not None and not len(other)):
        return PairSums(
            pairs=0,
            exp_sums=np.zeros(len(task.rates)),
            distance_sum=0.0 if task.distances else None,
            histogram=None if task.edges is None else np.zeros(task.bins, dtype=np.int64),
            close=None if task.threshold is None else 0,
        )
    normalize = task.normalize == "l2"
    shift = None if normalize else pilot_mean(x)
    left = PackedSet(x, normalize=normalize, shift=shift)
    _check(left, x, other, task, in_other=False)
    right = left
    if other is not None:
        right = PackedSet(other, normalize=normalize, shift=shift)
        _check(right, other, other, task, in_other=True)
    narrow = task.precision == "float32" and fits_float32(left.squares) and fits_float32(right.squares)
    element, terms, products = ("bfloat16", 3, 6) if narrow else ("float64", 1, 1)
    route = Route(element=element, terms=terms, products=products, wide=True)
    for packed in (left, right) if other is not None else (left,):
        packed.pack(route)
    run = _Run(left, right, task, route, within=other is None)
    run.all()
    return run.result()


def _check(packed: PackedSet, rows: Rows, other: Rows | None, task: PairTask, *, in_other: bool) -> None:
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


class _Run:
    def __init__(self, left: PackedSet, right: PackedSet, task: PairTask, route: Route, *, within: bool) -> None:
        import torch

        self.left, self.right, self.task, self.route, self.within = left, right, task, route, within
        self.device = left.rows.device
        self.shape = pair_shape(route.element, major_capability(self.device.index if left.rows.is_cuda else None))
        self.tile = self.shape.height
        # The pairs of one tile fit, so that cutting blocks in two comes to an end.
        self.listed = max(LISTED, self.tile**2)
        self.kind = torch.float64 if route.element == "float64" else torch.float32
        self.unit = _UNIT["float64" if route.element == "float64" else "float32"]
        self.rates = torch.tensor(task.rates or (1.0,), dtype=torch.float64, device=self.device)
        self.exp_sums = np.zeros(len(task.rates))
        self.distance_sum = 0.0
        self.looked_at = task.measure is not None or task.distances
        self.counts = np.zeros(task.bins + 2, dtype=np.int64)
        self.close_rows = torch.zeros(left.n, dtype=torch.int64, device=self.device)
        self.nearest: tuple[float, int, int] | None = None

    def all(self) -> None:
        """Adds all pairs, block by block; one block where nothing has to be looked at in between."""
        import torch

        size = BLOCK if self.looked_at else max(self.left.n, self.right.n, self.tile)
        size = -(-size // self.tile) * self.tile
        with torch.no_grad():
            for row in range(0, self.left.n, size):
                for column in range(row if self.within else 0, self.right.n, size):
                    self.add(row, min(row + size, self.left.n), column, min(column + size, self.right.n))

    def add(self, row: int, row_stop: int, column: int, column_stop: int) -> None:
        """Adds the pairs of a block, or those of its halves where too many wait to be computed again."""
        found = self._reduce(row, row_stop, column, column_stop)
        if found is not None:
            return
        if row_stop - row >= column_stop - column:
            middle = row + -(-(row_stop - row) // (2 * self.tile)) * self.tile
            self.add(row, middle, column, column_stop)
            self.add(middle, row_stop, column, column_stop)
        else:
            middle = column + -(-(column_stop - column) // (2 * self.tile)) * self.tile
            self.add(row, row_stop, column, middle)
            self.add(row, row_stop, middle, column_stop)

    def _reduce(self, row: int, row_stop: int, column: int, column_stop: int) -> bool | None:
        import torch

        from featdiv.ops._triton_kernels import pairs
        from featdiv.ops._triton_moments import on_device

        task, bins = self.task, self.task.bins
        panels = -(-(row_stop - row) // self.tile)
        strips = -(-(column_stop - column) // (self.tile * TILES_OF_A_PROGRAM))
        slots = max(16, 1 << (bins + 2).bit_length())
        rate_slots = 1 << len(task.rates).bit_length()

        def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> torch.Tensor:
            return torch.zeros(shape, dtype=dtype, device=self.device)

        exp_sums = zeros(panels * strips, rate_slots, dtype=torch.float64)
        histogram, close_rows = zeros(bins + 2), zeros(panels * self.tile, dtype=torch.int32)
        best = zeros(strips, panels * self.tile, dtype=self.kind)
        best_column = zeros(strips, panels * self.tile)
        unsure = zeros(self.listed if self.looked_at else 1, 3)
        unsure_count = zeros(1, dtype=torch.int32)
        low, high = (float(task.edges[0]), float(task.edges[-1])) if task.edges is not None else (0.0, 1.0)
        threshold = task.threshold or 0.0
        largest = max(abs(low), abs(high), abs(threshold))
        limits = torch.tensor(
            [low, bins / (high - low), 8 * self.unit * largest, self.unit * (44 + self.left.d / 32), threshold],
            dtype=torch.float64,
            device=self.device,
        )
        left, right = self.left, self.right
        warps, stages = self.shape.pipelines[0]
        with on_device(left.rows):
            pairs.reduce_pairs[(panels * strips,)](
                *(left.planes, right.planes, left.plane, right.plane, left.padded, left.squares, right.squares),
                *(row, row_stop, column, column_stop, panels),
                *(self.rates, exp_sums, limits, histogram, close_rows, best, best_column),
                *(unsure, unsure_count, self.listed),
                height=self.tile,
                width=self.shape.width,
                chain=self.shape.chain,
                products=self.route.products,
                segment=TILES_OF_A_PROGRAM,
                within=self.within,
                rate_count=len(task.rates),
                rate_slots=rate_slots,
                distances=task.distances,
                near_share=NEAR_SHARE,
                measure=0 if task.measure is None else 1 + MEASURES.index(task.measure),
                bins=bins,
                slots=slots if bins and slots <= MOST_SLOTS else 0,
                has_threshold=task.threshold is not None,
                upcast=_triton.interpreting() and self.route.element == "bfloat16",
                num_warps=warps,
                num_stages=stages,
            )
        listed = int(unsure_count) if self.looked_at else 0
        if listed > self.listed:
            return None
        sums = exp_sums.sum(dim=0).cpu().numpy()
        self.exp_sums += sums[: len(task.rates)]
        self.distance_sum += float(sums[len(task.rates)])
        if self.task.distances:
            self._add_near(unsure[:listed])
        if self.task.measure is not None:
            self.counts += histogram.cpu().numpy()
            self.close_rows[row:row_stop] += close_rows[: row_stop - row]
            self._add_unsure(unsure[:listed])
            self._add_nearest(best, best_column, row)
        return True

    def _add_unsure(self, where: torch.Tensor) -> None:
        """Counts listed pairs by their float64 values."""
        import torch

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

    def _add_nearest(self, best: torch.Tensor, best_column: torch.Tensor, row: int) -> None:
        place = int(best.reshape(-1).argmax())
        strip, inner = divmod(place, best.shape[1])
        found = int(best_column[strip, inner])
        if found >= 0 and (self.nearest is None or float(best[strip, inner]) > self.nearest[0]):
            self.nearest = (float(best[strip, inner]), row + inner, found)

    def _exact(self, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        if self.task.measure == "distance":
            return self._distance(rows, columns)
        return (self.left.take(rows) * self.right.take(columns)).sum(dim=1)

    def _distance(self, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        return (self.left.take(rows) - self.right.take(columns)).square().sum(dim=1).sqrt()

    def _first_close(self) -> list[tuple[int, int]]:
        """Returns the first close pairs, from the rows that are known to have some."""
        import torch

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
        import torch

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
