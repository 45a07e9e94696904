"""pair_sums on a GPU through csrc/cuda/pair_sums.cuh: products of three bfloat16 terms, reduced where they are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.ops import _cupy
from featdiv.ops._dispatch import Request
from featdiv.ops._triton import ELEMENTS
from featdiv.ops.pair_sums import MEASURES, PairSums, PairTask

if TYPE_CHECKING:
    import torch

    from featdiv.ops._cuda_pairs import PackedRows
    from featdiv.ops.pair_sums.blocks import Block, Reduced

    Rows = npt.NDArray[Any] | torch.Tensor

TILES_OF_A_BLOCK = 16
RATES = 4
"""Rates of one launch; as in csrc/cuda/pair_sums.cuh."""


def unsupported_reason(request: Request) -> str | None:
    """Returns why the CUDA kernels cannot run the request."""
    if request.dtype not in ELEMENTS:
        return f"it cannot read rows of type {request.dtype}"
    return _cupy.unsupported_reason(request.device)


def pair_sums(x: Rows, other: Rows | None, task: PairTask) -> PairSums:
    """Returns the reductions; see `featdiv.ops.pair_sums.pair_sums`."""
    from featdiv.ops._cuda_pairs import FLOAT64, PANEL_ROWS, PackedRows, pilot_mean, tile_for
    from featdiv.ops.pair_sums import blocks

    if not len(x) or (other is not None and not len(other)):
        return blocks.nothing(task)
    normalize = task.normalize == "l2"
    shift = None if normalize else pilot_mean(x)
    left = PackedRows(x, normalize=normalize, shift=shift)
    blocks.check(left, x, other, task, in_other=False)
    right = left
    if other is not None:
        right = PackedRows(other, normalize=normalize, shift=shift)
        blocks.check(right, other, other, task, in_other=True)
    tile = FLOAT64 if task.precision == "float64" else tile_for(left, right)
    for packed in (left, right) if other is not None else (left,):
        packed.pack(tile)
    kind = "float64" if tile is FLOAT64 else "float32"
    kernel = _Kernel(left, right, task)
    run = blocks.Run(left, right, task, kernel, kind=kind, tile=PANEL_ROWS, within=other is None)
    run.all()
    return run.result()


class _Kernel:
    """The kernels of two sets and a task."""

    def __init__(self, left: PackedRows, right: PackedRows, task: PairTask) -> None:
        import torch

        assert left.tile is not None, "sets are packed before they are multiplied"
        self.left, self.right, self.task, self.tile = left, right, task, left.tile
        self.device = left.rows.device
        self.rates = torch.tensor(task.rates or (1.0,), dtype=torch.float64, device=self.device)

    def __call__(self, block: Block) -> Reduced:
        """Returns the reductions of a block; further rates than fit into a launch are summed by further ones."""
        import torch

        from featdiv.ops.pair_sums.blocks import Reduced

        task, tile = self.task, self.tile
        looked_at = task.measure is not None or task.distances
        panels = -(-(block.row_stop - block.row) // tile.height)
        segments = -(-(block.column_stop - block.column) // (tile.width * TILES_OF_A_BLOCK))

        def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> torch.Tensor:
            return torch.zeros(shape, dtype=dtype, device=self.device)

        histogram, close_rows = zeros(task.bins + 2), zeros(panels * tile.height, dtype=torch.int32)
        best, best_pair = zeros(panels * segments, dtype=torch.float64), zeros(panels * segments, 2)
        unsure, unsure_count = zeros(block.listed, 3), zeros(1, dtype=torch.int32)
        sums = np.zeros(len(task.rates) + 1)
        left, right = self.left, self.right
        for first in range(0, max(1, len(task.rates)), RATES):
            count = min(RATES, len(task.rates) - first)
            own = zeros(panels * segments, RATES + 1, dtype=torch.float64)
            counting = looked_at and first == 0
            _cupy.launch(
                "pair_sums.cuh",
                f"{'count' if counting else 'reduce'}_pairs_{tile.terms}",
                grid=(panels * segments,),
                threads=256,
                arguments=(
                    *(left.planes, right.planes, np.int64(left.plane), np.int64(right.plane), np.int32(left.padded)),
                    *(left.squares, right.squares, np.int64(block.row), np.int64(block.row_stop)),
                    *(np.int64(block.column), np.int64(block.column_stop), np.int32(panels)),
                    *(np.int32(TILES_OF_A_BLOCK), np.int32(block.within), self.rates[first:], np.int32(count)),
                    *self._wanted(block),
                    *(own, histogram, close_rows, best, best_pair, unsure, unsure_count, np.int32(block.listed)),
                ),
                device=self.device,
                shared_bytes=tile.shared_bytes,
            )
            found = own.sum(dim=0).cpu().numpy()
            sums[first : first + count] = found[:count]
            if counting:
                sums[-1] = found[RATES]
        nearest = None
        if task.measure is not None:
            place = int(best.argmax())
            i, j = best_pair[place].tolist()
            nearest = (float(best[place]), i, j) if i >= 0 else None
        return Reduced(
            exp_sums=sums,
            histogram=histogram.cpu().numpy(),
            close_rows=close_rows[: block.row_stop - block.row],
            nearest=nearest,
            unsure=unsure,
            unsure_count=int(unsure_count),
        )

    def _wanted(self, block: Block) -> tuple[Any, ...]:
        from featdiv.ops.pair_sums.blocks import NEAR_SHARE

        task = self.task
        measure = 0 if task.measure is None else 1 + MEASURES.index(task.measure)
        numbers = np.int32(measure), np.int32(task.bins), np.int32(task.threshold is not None)
        return (np.int32(task.distances), np.float64(NEAR_SHARE), *numbers, block.limits)
