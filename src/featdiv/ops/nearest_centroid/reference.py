"""The float64 oracle of the nearest_centroid op: episode by episode, differences taken before they are squared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.ops._dispatch import Request
from featdiv.ops.scatter.reference import to_float64

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor


def unsupported_reason(request: Request) -> str | None:
    """Returns None: the oracle takes any rows, copying them to the host."""
    return None


def nearest_centroid(rows: Rows, index: npt.NDArray[np.int64], *, shots: int) -> npt.NDArray[np.int64]:
    """Returns the nearest centroids; see `featdiv.ops.nearest_centroid.nearest_centroid`."""
    x = to_float64(rows)
    episodes, ways, taken = index.shape
    nearest = np.empty((episodes, ways, taken - shots), dtype=np.int64)
    with np.errstate(invalid="ignore", over="ignore"):
        for episode, places in enumerate(index):
            centroids = x[places[:, :shots]].mean(axis=1)
            distances = ((x[places[:, shots:]][:, :, None] - centroids) ** 2).sum(axis=3)
            found = distances.argmin(axis=2)
            nearest[episode] = np.where(np.isfinite(distances).all(axis=2), found, -1)
    return nearest
