"""class_scatter through Triton kernels; how they are put together stands in `tensor_cores`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.ops import _triton
from featdiv.ops._dispatch import Request
from featdiv.ops.class_scatter.tensor_cores import scatter_of_classes

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

Float64Array = npt.NDArray[np.float64]


def unsupported_reason(request: Request) -> str | None:
    """Returns why Triton cannot run the request."""
    return _triton.unsupported_reason(request)


def class_scatter(
    rows: Rows,
    order: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    *,
    precision: str = "float32",
    normalize: str | None = None,
) -> tuple[Float64Array, Float64Array]:
    """Returns (means, scatters); see `featdiv.ops.class_scatter.class_scatter`."""
    from featdiv.ops._triton_moments import TritonMoments

    return scatter_of_classes(TritonMoments(), rows, order, counts, precision=precision, normalize=normalize)
