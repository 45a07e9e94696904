"""topk on a GPU through csrc/cuda/topk.cuh: products are compared with the best so far while in registers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.ops import _cupy
from featdiv.ops._dispatch import Request
from featdiv.ops._triton import ELEMENTS
from featdiv.ops.topk import Nearest

if TYPE_CHECKING:
    import torch

    from featdiv.ops._cuda_pairs import PackedRows

    Rows = npt.NDArray[Any] | torch.Tensor

TILES_OF_A_BLOCK = 16


def unsupported_reason(request: Request) -> str | None:
    """Returns why the CUDA kernels cannot run the request."""
    if request.dtype not in ELEMENTS:
        return f"it cannot read rows of type {request.dtype}"
    return _cupy.unsupported_reason(request.device)


def topk(queries: Rows, gallery: Rows, *, k: int, measure: str) -> Nearest:
    """Returns the nearest rows; see `featdiv.ops.topk.topk`."""
    import torch

    from featdiv.ops._cuda_pairs import PackedRows, tile_for
    from featdiv.ops.scatter.torch_ import as_tensor
    from featdiv.ops.topk import listing

    with torch.no_grad():
        right = PackedRows(gallery)
        asked = as_tensor(queries)
        wide = min(k + listing.SPARE, right.n)
        step = listing.queries_at_a_time(wide)
        found = []
        for start in range(0, len(asked), step):
            left = PackedRows(asked[start : start + step])
            tile = tile_for(left, right)
            left.pack(tile)
            if right.tile != tile:
                right.pack(tile)
            kernels = _Kernels(left, right, measure)
            keys = listing.candidates(kernels, left.n, right.n, wide, asked.device)
            found.append(listing.settled(kernels, keys, k, measure))
    return listing.joined(found)


class _Kernels:
    """The kernels of one set of queries and the gallery."""

    def __init__(self, left: PackedRows, right: PackedRows, measure: str) -> None:
        self.left, self.right, self.l2 = left, right, measure == "l2"
        self.half_squares = right.squares / 2

    def list_nearer(
        self, thresholds: torch.Tensor, keys: torch.Tensor, counts: torch.Tensor, wide: int, start: int, stop: int
    ) -> None:
        """Appends what is nearer than the thresholds; see `featdiv.ops.topk.listing.Kernels`."""
        left, right, tile = self.left, self.right, self.left.tile
        assert tile is not None, "sets are packed before they are multiplied"
        panels = -(-left.n // tile.height)
        segments = -(-(stop - start) // (tile.width * TILES_OF_A_BLOCK))
        _cupy.launch(
            "topk.cuh",
            f"list_nearer_{tile.terms}",
            grid=(panels * segments,),
            threads=256,
            arguments=(
                *(left.planes, right.planes, np.int64(left.plane), np.int64(right.plane), np.int32(left.padded)),
                *(self.half_squares, np.int32(self.l2), thresholds, keys, counts),
                *(np.int32(wide), np.int32(keys.shape[1] - wide), np.int64(left.n), np.int64(start), np.int64(stop)),
                *(np.int32(panels), np.int32(TILES_OF_A_BLOCK)),
            ),
            device=left.rows.device,
            shared_bytes=tile.shared_bytes,
        )

    def measured(self, columns: torch.Tensor) -> torch.Tensor:
        """Returns float64 values; see `featdiv.ops.topk.listing.Kernels`."""
        import torch

        rows = torch.arange(len(columns), device=columns.device).repeat_interleave(columns.shape[1])
        measure = self.left.squared_distances if self.l2 else self.left.products
        return measure(rows, self.right, columns.reshape(-1)).reshape(columns.shape)
