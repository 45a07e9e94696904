"""nearest_centroid through Triton kernels; how it is put together stands in `episodes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.ops import _triton
from featdiv.ops._dispatch import Request

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

CENTROID_COLUMNS = 128
"""One column for each thread of four warps."""

QUERIES, WAYS, COLUMNS = 16, 8, 32
"""What one program of `nearest` compares at a time."""


def unsupported_reason(request: Request) -> str | None:
    """Returns why Triton cannot run the request."""
    return _triton.unsupported_reason(request)


def nearest_centroid(rows: Rows, index: npt.NDArray[np.int64], *, shots: int) -> npt.NDArray[np.int64]:
    """Returns the nearest centroids; see `featdiv.ops.nearest_centroid.nearest_centroid`."""
    from featdiv.ops.nearest_centroid.episodes import by_episode

    return by_episode(_Kernels(), rows, index, shots)


class _Kernels:
    """`featdiv.ops.nearest_centroid.episodes.Kernels` through Triton."""

    def centroids(
        self, x: torch.Tensor, index: torch.Tensor, shots: int, centroids: torch.Tensor, centre: torch.Tensor
    ) -> None:
        """Writes centroids and their mean."""
        from featdiv.ops._triton_kernels import episodes

        (number, ways, taken), d = index.shape, x.shape[1]
        episodes.centroids[(number, -(-d // CENTROID_COLUMNS))](
            *(x, index, centroids, centre, ways, taken, shots, d, x.stride(0), x.stride(1)),
            block_columns=CENTROID_COLUMNS,
            num_warps=4,
        )

    def nearest(
        self,
        x: torch.Tensor,
        index: torch.Tensor,
        shots: int,
        centroids: torch.Tensor,
        centre: torch.Tensor,
        out: torch.Tensor,
    ) -> None:
        """Writes the nearest centroids."""
        from featdiv.ops._triton_kernels import episodes

        (number, ways, taken), d = index.shape, x.shape[1]
        episodes.nearest[(number * -(-ways * (taken - shots) // QUERIES),)](
            *(x, index, centroids, centre, out, ways, taken, shots, d, x.stride(0), x.stride(1)),
            block_queries=QUERIES,
            block_ways=WAYS,
            block_columns=COLUMNS,
        )
