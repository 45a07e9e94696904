"""topk through Triton: products of three bfloat16 terms, compared with the best so far where they are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from featdiv.ops import _triton
from featdiv.ops._dispatch import Request
from featdiv.ops._routes import Route
from featdiv.ops._triton_shapes import major_capability, pair_shape
from featdiv.ops.topk import Nearest

if TYPE_CHECKING:
    import torch

    from featdiv.ops._triton_pairs import PackedSet

    Rows = npt.NDArray[Any] | torch.Tensor

TILES_OF_A_PROGRAM = 16
PAIRS_OF_A_PROGRAM = 32
COLUMNS_AT_A_TIME = 32


def unsupported_reason(request: Request) -> str | None:
    """Returns why Triton cannot run the request."""
    return _triton.unsupported_reason(request)


def topk(queries: Rows, gallery: Rows, *, k: int, measure: str) -> Nearest:
    """Returns the nearest rows; see `featdiv.ops.topk.topk`."""
    import torch

    from featdiv.ops._triton_pairs import PackedSet, fits_float32
    from featdiv.ops.topk import listing

    with torch.no_grad():
        right = PackedSet(gallery, normalize=False, shift=None)
        asked = _triton.tensor_of(queries)
        wide = min(k + listing.SPARE, right.n)
        step = listing.queries_at_a_time(wide)
        found = []
        for start in range(0, len(asked), step):
            left = PackedSet(asked[start : start + step], normalize=False, shift=None)
            narrow = fits_float32(left.squares) and fits_float32(right.squares)
            element, terms, products = ("bfloat16", 3, 6) if narrow else ("float64", 1, 1)
            route = Route(element=element, terms=terms, products=products, wide=True)
            left.pack(route)
            if right.route != route:
                right.pack(route)
            kernels = _Kernels(left, right, route, measure)
            keys = listing.candidates(kernels, left.n, right.n, wide, asked.device)
            found.append(listing.settled(kernels, keys, k, measure))
    return listing.joined(found)


class _Kernels:
    """The kernels of one set of queries and the gallery."""

    def __init__(self, left: PackedSet, right: PackedSet, route: Route, measure: str) -> None:
        self.left, self.right, self.route, self.l2 = left, right, route, measure == "l2"
        self.half_squares = right.squares / 2
        self.shape = pair_shape(route.element, major_capability(left.rows.device.index if left.rows.is_cuda else None))

    def list_nearer(
        self, thresholds: torch.Tensor, keys: torch.Tensor, counts: torch.Tensor, wide: int, start: int, stop: int
    ) -> None:
        """Appends what is nearer than the thresholds; see `featdiv.ops.topk.listing.Kernels`."""
        from featdiv.ops._triton_kernels import nearest
        from featdiv.ops._triton_moments import on_device

        left, right, shape = self.left, self.right, self.shape
        panels = -(-left.n // shape.height)
        strips = -(-(stop - start) // (shape.width * TILES_OF_A_PROGRAM))
        warps, stages = shape.pipelines[0]
        with on_device(left.rows):
            nearest.list_nearer[(panels * strips,)](
                *(left.planes, right.planes, left.plane, right.plane, left.padded, self.half_squares),
                *(thresholds, keys, counts, wide, keys.shape[1] - wide, left.n, start, stop, panels),
                height=shape.height,
                width=shape.width,
                chain=shape.chain,
                products=self.route.products,
                segment=TILES_OF_A_PROGRAM,
                l2=self.l2,
                upcast=_triton.interpreting() and self.route.element == "bfloat16",
                num_warps=warps,
                num_stages=stages,
            )

    def measured(self, columns: torch.Tensor) -> torch.Tensor:
        """Returns float64 values; see `featdiv.ops.topk.listing.Kernels`."""
        import torch

        from featdiv.ops._triton_kernels import nearest
        from featdiv.ops._triton_moments import on_device

        x, y = self.left.rows, self.right.rows
        out = torch.empty(columns.shape, dtype=torch.float64, device=columns.device)
        with on_device(x):
            nearest.measure_pairs[(-(-columns.numel() // PAIRS_OF_A_PROGRAM),)](
                *(x, y, columns, out, columns.numel(), columns.shape[1], self.left.d),
                *(x.stride(0), x.stride(1), y.stride(0), y.stride(1)),
                block_pairs=PAIRS_OF_A_PROGRAM,
                block_columns=COLUMNS_AT_A_TIME,
                l2=self.l2,
                num_warps=4,
                num_stages=1,
            )
        return out
