"""The float64 oracle of the topk op: query by query, differences taken before they are squared, a full sort."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.ops._dispatch import Request
from featdiv.ops.scatter.reference import to_float64
from featdiv.ops.topk import Nearest

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor


def unsupported_reason(request: Request) -> str | None:
    """Returns None: the oracle takes any rows, copying them to the host."""
    return None


def topk(queries: Rows, gallery: Rows, *, k: int, measure: str) -> Nearest:
    """Returns the nearest rows; see `featdiv.ops.topk.topk`."""
    left, right = to_float64(queries), to_float64(gallery)
    values = np.empty((len(left), k), dtype=np.float32)
    indices = np.empty((len(left), k), dtype=np.int64)
    for i, row in enumerate(left):
        measured = (right * row).sum(axis=1) if measure == "inner" else ((right - row) ** 2).sum(axis=1)
        cost = -measured if measure == "inner" else measured
        indices[i] = np.argsort(cost, kind="stable")[:k]
        values[i] = measured[indices[i]]
    return Nearest(values=values, indices=indices)
