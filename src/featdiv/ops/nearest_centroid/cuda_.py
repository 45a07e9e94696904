"""nearest_centroid through csrc/cuda/episodes.cuh; how it is put together stands in `episodes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.ops import _cuda_moments, _cupy
from featdiv.ops._dispatch import Request

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

THREADS = 256
QUERIES_OF_A_BLOCK = 32


def unsupported_reason(request: Request) -> str | None:
    """Returns why the CUDA kernels cannot run the request."""
    return _cuda_moments.unsupported_reason(request)


def nearest_centroid(rows: Rows, index: npt.NDArray[np.int64], *, shots: int) -> npt.NDArray[np.int64]:
    """Returns the nearest centroids; see `featdiv.ops.nearest_centroid.nearest_centroid`."""
    from featdiv.ops.nearest_centroid.episodes import by_episode

    return by_episode(_Kernels(), rows, index, shots)


class _Kernels:
    """`featdiv.ops.nearest_centroid.episodes.Kernels` of csrc/cuda."""

    def centroids(
        self, x: torch.Tensor, index: torch.Tensor, shots: int, centroids: torch.Tensor, centre: torch.Tensor
    ) -> None:
        """Writes centroids and their mean."""
        strips = -(-int(x.shape[1]) // THREADS)
        _launch("episode_centroids", (len(index), strips), x, index, shots, centroids, centre)

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
        strips = -(-out[0].numel() // QUERIES_OF_A_BLOCK)
        _launch("episode_nearest", (len(index) * strips,), x, index, shots, centroids, centre, out)


def _launch(
    name: str, grid: tuple[int, ...], x: torch.Tensor, index: torch.Tensor, shots: int, *out: torch.Tensor
) -> None:
    sizes = (np.int32(index.shape[1]), np.int32(index.shape[2]), np.int32(shots))
    arguments: tuple[_cupy.Argument, ...] = (*_cuda_moments.rows_given(x), np.int32(x.shape[1]), index, *sizes, *out)
    _cupy.launch("episodes.cuh", name, grid=grid, threads=THREADS, arguments=arguments, device=x.device)
