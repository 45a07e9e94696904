"""nearest_centroid through NumPy: episodes gathered and multiplied some at a time, while their rows are in cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.ops._dispatch import Request
from featdiv.ops.topk import numpy_ as topk_numpy

_GATHERED_BYTES = 1 << 20


def unsupported_reason(request: Request) -> str | None:
    """Returns why NumPy cannot run the request."""
    return topk_numpy.unsupported_reason(request)


def nearest_centroid(rows: Any, index: npt.NDArray[np.int64], *, shots: int) -> npt.NDArray[np.int64]:
    """Returns the nearest centroids; see `featdiv.ops.nearest_centroid.nearest_centroid`."""
    rows = np.asarray(rows)
    episodes, ways, taken = index.shape
    at_once = max(1, _GATHERED_BYTES // (4 * rows.shape[1] * ways * taken))
    nearest = np.empty((episodes, ways, taken - shots), dtype=np.int64)
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, episodes, at_once):
            drawn = rows[index[start : start + at_once]].astype(np.float32, copy=False)
            centroids = drawn[:, :, :shots].mean(axis=2)
            centre = centroids.mean(axis=1, keepdims=True)
            centroids -= centre
            asked = (drawn[:, :, shots:] - centre[:, None]).reshape(len(drawn), -1, rows.shape[1])
            # Half of |q|^2 - |q - c|^2; |q|^2 is the same for every centroid.
            nearness = asked @ centroids.transpose(0, 2, 1)
            nearness -= 0.5 * np.einsum("ewd,ewd->ew", centroids, centroids)[:, None]
            found = np.where(np.isfinite(nearness).all(axis=2), nearness.argmax(axis=2), -1)
            nearest[start : start + at_once] = found.reshape(-1, ways, taken - shots)
    return nearest
