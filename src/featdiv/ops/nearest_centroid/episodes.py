"""nearest_centroid by kernels that read rows where they lie: what the CUDA and the Triton backend share.

torch gathers the rows of an episode, centres them and multiplies them, each time through memory. Here one kernel reads
the support rows and writes centroids, and another reads each query once and compares squares of differences.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from featdiv.errors import BudgetExceeded
from featdiv.ops import _triton
from featdiv.ops._device_kernels import on_device

if TYPE_CHECKING:
    Rows = npt.NDArray[Any] | torch.Tensor

CENTROID_BYTES = 1 << 28
"""Bytes of centroids that are kept at a time."""


class Kernels(Protocol):
    """Launches of the kernels, each on the device of its tensors, in its current stream, without waiting."""

    def centroids(
        self, x: torch.Tensor, index: torch.Tensor, shots: int, centroids: torch.Tensor, centre: torch.Tensor
    ) -> None:
        """Writes centroids about their mean, (episodes, ways, d), and that mean, (episodes, d)."""

    def nearest(
        self,
        x: torch.Tensor,
        index: torch.Tensor,
        shots: int,
        centroids: torch.Tensor,
        centre: torch.Tensor,
        out: torch.Tensor,
    ) -> None:
        """Writes the nearest centroid of each query, (episodes, ways, taken - shots); -1 where it is not known."""


def by_episode(kernels: Kernels, rows: Rows, index: npt.NDArray[np.int64], shots: int) -> npt.NDArray[np.int64]:
    """Returns the nearest centroids; see `featdiv.ops.nearest_centroid.nearest_centroid`.

    Raises:
        BudgetExceeded: if the device has no memory for the centroids of one episode at a time.
    """
    x = _triton.tensor_of(rows)
    d = int(x.shape[1])
    episodes, ways, taken = index.shape
    nearest = np.empty((episodes, ways, taken - shots), dtype=np.int64)
    step = max(1, min(episodes, CENTROID_BYTES // (4 * d * (ways + 1))))
    start = 0
    while start < episodes:
        try:
            nearest[start : start + step] = _some(kernels, x, index[start : start + step], shots)
        except torch.cuda.OutOfMemoryError as error:
            if step == 1:
                wanted = 4 * d * (ways + 1) + 8 * ways * (2 * taken - shots)
                raise BudgetExceeded(
                    f"nearest_centroid: an episode of {ways} classes of {taken} rows of {d} features needs "
                    f"{math.ceil(wanted / 2**20)} MiB of free memory on {x.device}; free some, or move the rows with "
                    ".cpu()"
                ) from error
            step //= 2
        else:
            start += step
    return nearest


def _some(kernels: Kernels, x: torch.Tensor, index: npt.NDArray[np.int64], shots: int) -> npt.NDArray[np.int64]:
    episodes, ways, taken = index.shape
    d = int(x.shape[1])
    places = torch.from_numpy(index).to(x.device)
    centroids = torch.empty((episodes, ways, d), dtype=torch.float32, device=x.device)
    centre = torch.empty((episodes, d), dtype=torch.float32, device=x.device)
    out = torch.empty((episodes, ways, taken - shots), dtype=torch.int64, device=x.device)
    with on_device(x):
        kernels.centroids(x, places, shots, centroids, centre)
        kernels.nearest(x, places, shots, centroids, centre, out)
    found: npt.NDArray[np.int64] = out.cpu().numpy()
    return found
