"""class_scatter through the kernels of csrc/cuda; how they are put together stands in `tensor_cores`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.ops import _cuda_moments, _cuda_sm90, _triton
from featdiv.ops._dispatch import Request
from featdiv.ops.class_scatter.tensor_cores import scatter_of_classes

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

Float64Array = npt.NDArray[np.float64]


def unsupported_reason(request: Request) -> str | None:
    """Returns why the CUDA kernels cannot run the request."""
    return _cuda_moments.unsupported_reason(request)


def class_scatter(
    rows: Rows,
    order: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    *,
    precision: str = "float32",
    normalize: str | None = None,
) -> tuple[Float64Array, Float64Array]:
    """Returns (means, scatters); see `featdiv.ops.class_scatter.class_scatter`."""
    x = _triton.tensor_of(rows)
    return scatter_of_classes(_cuda_sm90.kernels(x.device), x, order, counts, precision=precision, normalize=normalize)
