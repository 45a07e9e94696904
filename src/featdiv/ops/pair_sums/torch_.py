"""pair_sums through torch, on the CPU or on a GPU: blocks of products, reduced before the next block is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from featdiv.errors import NonFiniteError, RowError, ZeroNormError
from featdiv.ops._dispatch import Request
from featdiv.ops._exact_float32 import exact_float32
from featdiv.ops.pair_sums import PairSums, PairTask, of_set, out_of_range
from featdiv.ops.pair_sums.reference import bin_counts
from featdiv.ops.scatter import torch_ as scatter_torch

if TYPE_CHECKING:
    Rows = npt.NDArray[Any] | torch.Tensor

_BLOCK_ROWS = 1024
_NEAR_SHARE = 2.0**-10
_UNIT = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}
_FLOAT32_NORMS = (2.0**-80, 2.0**110)


def unsupported_reason(request: Request) -> str | None:
    """Returns why torch cannot run the request."""
    return scatter_torch.unsupported_reason(request)


def pair_sums(x: Rows, other: Rows | None, task: PairTask) -> PairSums:
    """Returns the reductions; see `featdiv.ops.pair_sums.pair_sums`."""
    left = _Set(x, task, shift=None)
    left.check(other, in_other=False)
    right = left
    if other is not None:
        right = _Set(other, task, shift=left.shift)
        right.check(other, in_other=True)
    narrow = task.precision == "float32" and left.fits_float32() and right.fits_float32()
    run = _Run(left, right, task, torch.float32 if narrow else torch.float64, within=other is None)
    total = left.n * (left.n - 1) // 2 if other is None else left.n * right.n
    with exact_float32():
        for i in range(0, left.n, _BLOCK_ROWS):
            for j in range(i if other is None else 0, right.n, _BLOCK_ROWS):
                run.add(i, j)
            if task.progress is not None:
                rows = min(i + _BLOCK_ROWS, left.n)
                task.progress(rows * right.n if other is not None else rows * (2 * left.n - rows - 1) // 2, total)
    return run.result()


class _Set:
    """Rows, normalised or moved to their mean, and their squared norms in float64."""

    def __init__(self, rows: Rows, task: PairTask, *, shift: torch.Tensor | None) -> None:
        self.rows = scatter_torch.as_tensor(rows)
        self.n = len(self.rows)
        self.normalize = task.normalize == "l2"
        device = self.rows.device
        self.inverse_norm = torch.ones(self.n, dtype=torch.float64, device=device)
        self.bad = torch.zeros(self.n, dtype=torch.int64, device=device)
        self.zero = torch.zeros(self.n, dtype=torch.bool, device=device)
        for start in range(0, self.n, _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            wide = self.rows[block].double()
            self.bad[block] = (~torch.isfinite(wide)).sum(dim=1)
            if self.normalize:
                largest = wide.abs().amax(dim=1)
                self.zero[block] = largest == 0
                norm = largest * torch.linalg.vector_norm(wide / largest[:, None], dim=1)
                self.inverse_norm[block] = 1.0 / norm
        self.shift = shift
        if shift is None and not self.normalize and self.n:
            self.shift = self.rows[:: max(1, self.n // _BLOCK_ROWS)].double().mean(dim=0)
        self.squares = torch.empty(self.n, dtype=torch.float64, device=device)
        for start in range(0, self.n, _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            self.squares[block] = self.take(block).square().sum(dim=1)

    def take(self, block: slice | torch.Tensor) -> torch.Tensor:
        """Returns rows in float64, normalised and shifted."""
        z = self.rows[block].double() * self.inverse_norm[block][:, None]
        return z if self.shift is None else z - self.shift

    def check(self, other: Rows | None, *, in_other: bool) -> None:
        """Raises the error of the bad rows, if there are any."""
        count = int(self.bad.sum())
        error: RowError | None = None
        if count:
            first = int((self.bad > 0).to(torch.uint8).argmax())
            error = NonFiniteError(
                f"expected finite rows; got {count} NaN or infinite entries, the first in row {first}",
                count=count,
                first_row=first,
            )
        elif bool(self.zero.any()):
            zeros, first = int(self.zero.sum()), int(self.zero.to(torch.uint8).argmax())
            error = ZeroNormError(
                f"expected rows of non-zero norm; got {zeros} zero rows, the first is row {first}",
                count=zeros,
                first_row=first,
            )
        if error is not None:
            raise of_set(error, other, in_other=in_other)
        if not bool(torch.isfinite(self.squares).all()):
            raise out_of_range()

    def fits_float32(self) -> bool:
        """Whether float32 holds the squared norms and their sums."""
        low, high = _FLOAT32_NORMS
        return not self.n or bool(((self.squares == 0) | (self.squares > low)).all() & (self.squares < high).all())


class _Run:
    def __init__(self, left: _Set, right: _Set, task: PairTask, dtype: torch.dtype, *, within: bool) -> None:
        self.left, self.right, self.task, self.dtype, self.within = left, right, task, dtype, within
        # As for the native kernels, with the longest chain that a product may have.
        self.rounding = _UNIT[dtype] * (int(left.rows.shape[1]) + 12)
        self.exp_sums = np.zeros(len(task.rates))
        self.distance_sum = 0.0
        self.counts = np.zeros(task.bins + 2, dtype=np.int64)
        self.close = 0
        self.examples: list[list[int]] = []
        self.nearest: tuple[int, int, float] | None = None

    def add(self, i: int, j: int) -> None:
        """Adds the pairs of one block of rows with another."""
        rows, columns = slice(i, i + _BLOCK_ROWS), slice(j, j + _BLOCK_ROWS)
        products = self.left.take(rows).to(self.dtype) @ self.right.take(columns).to(self.dtype).T
        counts = torch.ones_like(products, dtype=torch.bool)
        if self.within and i == j:
            counts = counts.triu(1)
        norms = (self.left.squares[rows][:, None] + self.right.squares[columns]).to(self.dtype)
        squares = torch.clamp(norms - 2.0 * products, min=0.0)
        for k, rate in enumerate(self.task.rates):
            terms = torch.where(counts, torch.exp(-rate * squares), 0.0)
            self.exp_sums[k] += float(terms.sum(dim=1, dtype=torch.float64).sum())
        if self.task.distances:
            near = counts & (squares <= norms * _NEAR_SHARE)
            self.distance_sum += float(torch.where(counts & ~near, squares, 0.0).sqrt().sum(dtype=torch.float64))
            where = near.nonzero()
            for start in range(0, len(where), _BLOCK_ROWS * 16):
                some = where[start : start + _BLOCK_ROWS * 16]
                self.distance_sum += float(self._distance(some[:, 0] + i, some[:, 1] + j).sum())
        if self.task.measure is None or not bool(counts.any()):
            return
        if self.task.measure == "distance":
            slack = norms * self.rounding
            values = squares.sqrt()
            error = torch.minimum(slack.sqrt(), slack / values)
        else:
            values, error = products, torch.full_like(products, self.rounding)
        self._inspect(i, j, values[counts].double(), error[counts].double(), counts.nonzero())

    def _inspect(self, i: int, j: int, values: torch.Tensor, error: torch.Tensor, where: torch.Tensor) -> None:
        """Counts pairs, after computing again in float64 those within their rounding of an edge."""
        task = self.task
        unsure = torch.zeros_like(values, dtype=torch.bool)
        limits = [] if task.edges is None else [torch.from_numpy(task.edges).to(values.device)]
        if task.threshold is not None:
            limits.append(torch.tensor([task.threshold], dtype=torch.float64, device=values.device))
        for edges in limits:
            unsure |= torch.bucketize(values - error, edges) != torch.bucketize(values + error, edges, right=True)
        index = unsure.nonzero().squeeze(1)
        for start in range(0, len(index), _BLOCK_ROWS * 16):
            some = index[start : start + _BLOCK_ROWS * 16]
            values[some] = self._exact(where[some, 0] + i, where[some, 1] + j)
        if task.edges is not None:
            self.counts += bin_counts(values.cpu().numpy(), task)
        if task.threshold is not None:
            found = (task.closeness(values) >= task.closeness(task.threshold)).nonzero().squeeze(1)
            self.close += len(found)
            pairs = where[found[: task.examples]].cpu() + torch.tensor([[i, j]])
            self.examples = sorted(self.examples + pairs.tolist())[: task.examples]
        best = int(task.closeness(values).argmax())
        a, b = int(where[best, 0]) + i, int(where[best, 1]) + j
        if self.nearest is None or task.closeness(float(values[best])) > task.closeness(self.nearest[2]):
            ends = [torch.tensor([row], device=values.device) for row in (a, b)]
            self.nearest = (a, b, float(self._exact(*ends)))

    def _exact(self, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        if self.task.measure == "distance":
            return self._distance(rows, columns)
        return (self.left.take(rows) * self.right.take(columns)).sum(dim=1)

    def _distance(self, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        return (self.left.take(rows) - self.right.take(columns)).square().sum(dim=1).sqrt()

    def result(self) -> PairSums:
        """Returns what was found, on the host."""
        return PairSums(
            pairs=0,
            exp_sums=self.exp_sums,
            distance_sum=self.distance_sum if self.task.distances else None,
            histogram=None if self.task.edges is None else self.counts[1:-1],
            below=int(self.counts[0]),
            above=int(self.counts[-1]),
            close=None if self.task.threshold is None else self.close,
            close_pairs=np.array(self.examples, dtype=np.int64).reshape(-1, 2),
            nearest=self.nearest,
        )
