"""nearest_centroid through torch, on the CPU or on a GPU: episodes gathered and multiplied some at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from featdiv.ops._dispatch import Request
from featdiv.ops._exact_float32 import exact_float32
from featdiv.ops.scatter import torch_ as scatter_torch

if TYPE_CHECKING:
    Rows = npt.NDArray[Any] | torch.Tensor

_GATHERED_BYTES = {"cpu": 1 << 20, "other": 1 << 28}
"""Rows gathered at a time: few enough to stay in a CPU's cache until they are multiplied."""


def unsupported_reason(request: Request) -> str | None:
    """Returns why torch cannot run the request."""
    return scatter_torch.unsupported_reason(request)


def nearest_centroid(rows: Rows, index: npt.NDArray[np.int64], *, shots: int) -> npt.NDArray[np.int64]:
    """Returns the nearest centroids; see `featdiv.ops.nearest_centroid.nearest_centroid`."""
    x = scatter_torch.as_tensor(rows)
    episodes, ways, taken = index.shape
    limit = _GATHERED_BYTES["cpu" if x.device.type == "cpu" else "other"]
    at_once = max(1, limit // (4 * x.shape[1] * ways * taken))
    nearest = np.empty((episodes, ways, taken - shots), dtype=np.int64)
    with exact_float32():
        for start in range(0, episodes, at_once):
            part = torch.from_numpy(index[start : start + at_once]).to(x.device)
            drawn = x[part].float()
            centroids = drawn[:, :, :shots].mean(dim=2)
            centre = centroids.mean(dim=1, keepdim=True)
            centroids -= centre
            asked = (drawn[:, :, shots:] - centre[:, None]).flatten(1, 2)
            # Half of |q|^2 - |q - c|^2; |q|^2 is the same for every centroid.
            nearness = asked @ centroids.mT - 0.5 * centroids.square().sum(dim=2)[:, None]
            found = nearness.argmax(dim=2).masked_fill_(~nearness.isfinite().all(dim=2), -1)
            nearest[start : start + at_once] = found.reshape(-1, ways, taken - shots).cpu().numpy()
    return nearest
