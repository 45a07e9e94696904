"""class_scatter through torch: the scatter of each class by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.ops._dispatch import Request
from featdiv.ops.class_scatter.loop import class_by_class
from featdiv.ops.scatter import torch_

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

Float64Array = npt.NDArray[np.float64]


def unsupported_reason(request: Request) -> str | None:
    """Returns why torch cannot run the request."""
    return torch_.unsupported_reason(request)


def class_scatter(
    rows: Rows,
    order: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    *,
    precision: str = "float32",
    normalize: str | None = None,
) -> tuple[Float64Array, Float64Array]:
    """Returns (means, scatters); see `featdiv.ops.class_scatter.class_scatter`."""
    return class_by_class(torch_.scatter, rows, order, counts, precision=precision, normalize=normalize)
