"""eigvals_batched through torch: LAPACK on the CPU, cuSOLVER's batched solvers on a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import torch

from featdiv.ops._dispatch import Request
from featdiv.ops.eigvals_batched import Eigensystems
from featdiv.ops.scatter.torch_ import as_tensor

if TYPE_CHECKING:
    Matrices = npt.NDArray[Any] | torch.Tensor


def unsupported_reason(request: Request) -> str | None:
    """Returns why torch cannot run the request: a device without float64, or one that torch cannot see."""
    if request.device == "mps":
        return "'mps' has no float64, in which eigenvalues are computed; move the matrices with .cpu()"
    if request.device == "cuda" and not torch.cuda.is_available():
        return "torch sees no CUDA device"
    return None


def eigvals_batched(matrices: Matrices, *, vectors: bool) -> Eigensystems:
    """Returns the eigenvalues; see `featdiv.ops.eigvals_batched.eigvals_batched`."""
    wide = as_tensor(matrices).double()
    if vectors:
        values, columns = torch.linalg.eigh(wide)
        return Eigensystems(values=values.cpu().numpy(), vectors=columns.cpu().numpy())
    return Eigensystems(values=torch.linalg.eigvalsh(wide).cpu().numpy())
