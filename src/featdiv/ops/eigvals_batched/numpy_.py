"""eigvals_batched through LAPACK, as NumPy calls it: matrix after matrix, without leaving C."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.ops._blas import one_thread
from featdiv.ops._dispatch import Request
from featdiv.ops.eigvals_batched import Eigensystems

if TYPE_CHECKING:
    import torch

    Matrices = npt.NDArray[Any] | torch.Tensor


def unsupported_reason(request: Request) -> str | None:
    """Returns why NumPy cannot run the request."""
    if request.device != "cpu":
        return f"NumPy works on CPU matrices; these are on {request.device!r}"
    return None


def eigvals_batched(matrices: Matrices, *, vectors: bool) -> Eigensystems:
    """Returns the eigenvalues; see `featdiv.ops.eigvals_batched.eigvals_batched`."""
    wide: npt.NDArray[np.float64] = np.asarray(matrices, dtype=np.float64)
    with one_thread(wide.shape[-1]):
        if vectors:
            values, columns = np.linalg.eigh(wide)
            return Eigensystems(values=values, vectors=columns)
        return Eigensystems(values=np.asarray(np.linalg.eigvalsh(wide), dtype=np.float64))
