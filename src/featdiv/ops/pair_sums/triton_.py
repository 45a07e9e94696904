"""pair_sums through Triton: products of three bfloat16 terms, reduced in the program that made them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from featdiv.ops import _triton
from featdiv.ops._dispatch import Request
from featdiv.ops._routes import Route
from featdiv.ops._triton_shapes import major_capability, pair_shape
from featdiv.ops.pair_sums import MEASURES, PairSums, PairTask

if TYPE_CHECKING:
    import torch

    from featdiv.ops._triton_pairs import PackedSet
    from featdiv.ops.pair_sums.blocks import Block, Reduced

    Rows = npt.NDArray[Any] | torch.Tensor

TILES_OF_A_PROGRAM = 16
MOST_SLOTS = 1024


def unsupported_reason(request: Request) -> str | None:
    """Returns why Triton cannot run the request."""
    return _triton.unsupported_reason(request)


def pair_sums(x: Rows, other: Rows | None, task: PairTask) -> PairSums:
    """Returns the reductions; see `featdiv.ops.pair_sums.pair_sums`."""
    from featdiv.ops._triton_pairs import PackedSet, fits_float32, pilot_mean
    from featdiv.ops.pair_sums import blocks

    if not len(x) or (other is not None and not len(other)):
        return blocks.nothing(task)
    normalize = task.normalize == "l2"
    shift = None if normalize else pilot_mean(x)
    left = PackedSet(x, normalize=normalize, shift=shift)
    blocks.check(left, x, other, task, in_other=False)
    right = left
    if other is not None:
        right = PackedSet(other, normalize=normalize, shift=shift)
        blocks.check(right, other, other, task, in_other=True)
    narrow = task.precision == "float32" and fits_float32(left.squares) and fits_float32(right.squares)
    element, terms, products = ("bfloat16", 3, 6) if narrow else ("float64", 1, 1)
    route = Route(element=element, terms=terms, products=products, wide=True)
    for packed in (left, right) if other is not None else (left,):
        packed.pack(route)
    kernel = _Kernel(left, right, task, route)
    kind = "float32" if narrow else "float64"
    run = blocks.Run(left, right, task, kernel, kind=kind, tile=kernel.shape.height, within=other is None)
    run.all()
    return run.result()


class _Kernel:
    """The kernel of two sets and a task."""

    def __init__(self, left: PackedSet, right: PackedSet, task: PairTask, route: Route) -> None:
        import torch

        self.left, self.right, self.task, self.route = left, right, task, route
        self.device = left.rows.device
        self.shape = pair_shape(route.element, major_capability(self.device.index if left.rows.is_cuda else None))
        self.kind = torch.float64 if route.element == "float64" else torch.float32
        self.rates = torch.tensor(task.rates or (1.0,), dtype=torch.float64, device=self.device)

    def __call__(self, block: Block) -> Reduced:
        """Returns the reductions of a block."""
        import torch

        from featdiv.ops._triton_kernels import pairs
        from featdiv.ops._triton_moments import on_device
        from featdiv.ops.pair_sums.blocks import NEAR_SHARE, Reduced

        task, bins, height = self.task, self.task.bins, self.shape.height
        panels = -(-(block.row_stop - block.row) // height)
        strips = -(-(block.column_stop - block.column) // (self.shape.width * TILES_OF_A_PROGRAM))
        slots = max(16, 1 << (bins + 2).bit_length())
        rate_slots = 1 << len(task.rates).bit_length()

        def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> torch.Tensor:
            return torch.zeros(shape, dtype=dtype, device=self.device)

        exp_sums = zeros(panels * strips, rate_slots, dtype=torch.float64)
        histogram, close_rows = zeros(bins + 2), zeros(panels * height, dtype=torch.int32)
        best = zeros(strips, panels * height, dtype=self.kind)
        best_column = zeros(strips, panels * height)
        unsure = zeros(block.listed, 3)
        unsure_count = zeros(1, dtype=torch.int32)
        left, right = self.left, self.right
        warps, stages = self.shape.pipelines[0]
        with on_device(left.rows):
            pairs.reduce_pairs[(panels * strips,)](
                *(left.planes, right.planes, left.plane, right.plane, left.padded, left.squares, right.squares),
                *(block.row, block.row_stop, block.column, block.column_stop, panels),
                *(self.rates, exp_sums, block.limits, histogram, close_rows, best, best_column),
                *(unsure, unsure_count, block.listed),
                height=height,
                width=self.shape.width,
                chain=self.shape.chain,
                products=self.route.products,
                segment=TILES_OF_A_PROGRAM,
                within=block.within,
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
        nearest = None
        if task.measure is not None:
            strip, inner = divmod(int(best.reshape(-1).argmax()), best.shape[1])
            if int(best_column[strip, inner]) >= 0:
                nearest = (float(best[strip, inner]), block.row + inner, int(best_column[strip, inner]))
        return Reduced(
            exp_sums=exp_sums.sum(dim=0)[: len(task.rates) + 1].cpu().numpy(),
            histogram=histogram.cpu().numpy(),
            close_rows=close_rows[: block.row_stop - block.row],
            nearest=nearest,
            unsure=unsure,
            unsure_count=int(unsure_count),
        )
