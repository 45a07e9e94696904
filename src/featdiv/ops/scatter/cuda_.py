"""Scatter through the kernels of csrc/cuda; how they are put together stands in `tensor_cores`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.ops import _cuda_moments, _cuda_sm90, _triton
from featdiv.ops._dispatch import Request
from featdiv.ops.scatter.tensor_cores import add_scatter

if TYPE_CHECKING:
    import torch

    from featdiv.ops.scatter import Sums

    Rows = npt.NDArray[Any] | torch.Tensor


def unsupported_reason(request: Request) -> str | None:
    """Returns why the CUDA kernels cannot run the request."""
    return _cuda_moments.unsupported_reason(request)


def scatter(
    rows: Rows,
    sums: Sums,
    *,
    shift: npt.NDArray[np.float64] | None = None,
    exponent: npt.NDArray[np.int32] | None = None,
    precision: str = "float32",
    normalize: str | None = None,
) -> None:
    """Adds the sums of ``rows``; see `featdiv.ops.scatter.scatter`."""
    add_scatter(
        _cuda_sm90.kernels(_triton.tensor_of(rows).device),
        rows,
        sums,
        shift=shift,
        exponent=exponent,
        precision=precision,
        normalize=normalize,
    )
