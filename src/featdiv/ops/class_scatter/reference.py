"""The float64 oracle of the class_scatter op: the contract written down as plainly as it can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.ops._dispatch import Request
from featdiv.ops.scatter.reference import transformed

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

Float64Array = npt.NDArray[np.float64]


def unsupported_reason(request: Request) -> str | None:
    """Returns None: the oracle takes any rows, copying them to the host."""
    return None


def class_scatter(
    rows: Rows,
    order: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    *,
    precision: str = "float32",
    normalize: str | None = None,
) -> tuple[Float64Array, Float64Array]:
    """Returns (means, scatters), in float64 whatever ``precision`` allows."""
    z = transformed(rows, normalize=normalize)
    d = z.shape[1]
    means, scatters = np.zeros((len(counts), d)), np.zeros((len(counts), d, d))
    stops = np.cumsum(counts)
    for k, (start, stop) in enumerate(zip(stops - counts, stops, strict=True)):
        if start == stop:
            continue
        own = z[order[start:stop]]
        means[k] = own[0] + (own - own[0]).mean(axis=0)
        centred = own - means[k]
        scatters[k] = centred.T @ centred
    return means, scatters
