"""eigvals_batched on a GPU through featdiv's own batched Jacobi rotations (csrc/cuda/eigvals.cuh).

Tensors are handed to the kernel where they lie, on torch's current stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import FeatdivError
from featdiv.ops import _cupy
from featdiv.ops._dispatch import Request
from featdiv.ops.eigvals_batched import Eigensystems

if TYPE_CHECKING:
    import torch

    Matrices = npt.NDArray[Any] | torch.Tensor

MOST_FEATURES = 256
_THREADS = 256
_BLOCKS = 1024
_WORK_BYTES = 1 << 28


def unsupported_reason(request: Request) -> str | None:
    """Returns why the CUDA kernel cannot run the request."""
    reason = _cupy.unsupported_reason(request.device)
    if reason is None and request.d > MOST_FEATURES:
        return (
            f"its kernel is for matrices up to {MOST_FEATURES} x {MOST_FEATURES}; these are {request.d} x {request.d}"
        )
    return reason


def workspace(b: int, d: int, *, vectors: bool) -> tuple[int, int]:
    """Returns (blocks of threads, float64 numbers of work space for each of them)."""
    numbers = d * d * (2 if vectors else 1)
    return max(1, min(b, _BLOCKS, _WORK_BYTES // (8 * numbers))), numbers


def eigvals_batched(matrices: Matrices, *, vectors: bool) -> Eigensystems:
    """Returns the eigenvalues; see `featdiv.ops.eigvals_batched.eigvals_batched`."""
    import torch

    from featdiv.ops.scatter.torch_ import as_tensor

    wide = as_tensor(matrices).double().contiguous()
    b, d = (int(size) for size in wide.shape[:2])
    blocks, _ = workspace(b, d, vectors=vectors)

    def empty(*shape: int) -> torch.Tensor:
        return torch.empty(shape, dtype=torch.float64, device=wide.device)

    work, rotated = empty(blocks, d, d), empty(blocks, d, d) if vectors else None
    values, columns = empty(b, d), empty(b, d, d) if vectors else None
    failed = torch.zeros(1, dtype=torch.int64, device=wide.device)
    _cupy.launch(
        "eigvals.cuh",
        "eigvals_batched",
        grid=(blocks,),
        threads=_THREADS,
        arguments=(wide, np.int64(b), np.int32(d), work, rotated, values, columns, failed),
        device=wide.device,
    )
    if int(failed):
        raise FeatdivError(f"eigvals_batched: the rotations of matrix {int(failed) - 1} did not come to an end")
    return Eigensystems(values=values.cpu().numpy(), vectors=None if columns is None else columns.cpu().numpy())
