"""eigvals_batched on a GPU through CuPy: cuSOLVER's Jacobi for a batch of small matrices, its QR for large ones."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import FeatdivError
from featdiv.ops._dispatch import Request
from featdiv.ops._triton import missing_device
from featdiv.ops.eigvals_batched import Eigensystems

if TYPE_CHECKING:
    import torch

    Matrices = npt.NDArray[Any] | torch.Tensor

LARGE = 256
"""Features above which matrices are decomposed one after the other, each by the whole device."""


def unsupported_reason(request: Request) -> str | None:
    """Returns why CuPy cannot run the request."""
    if request.device != "cuda":
        return f"it works on CUDA arrays; these are on {request.device!r}"
    if importlib.util.find_spec("cupy") is None:
        return "the package cupy is not installed; run: pip install 'featdiv[cupy]'"
    return missing_device()


def eigvals_batched(matrices: Matrices, *, vectors: bool) -> Eigensystems:
    """Returns the eigenvalues; see `featdiv.ops.eigvals_batched.eigvals_batched`."""
    import cupy
    import cupyx
    import torch

    from featdiv.ops.scatter.torch_ import as_tensor

    wide = as_tensor(matrices).double().contiguous()
    with torch.cuda.device(wide.device), cupy.cuda.Device(wide.device.index):
        stream = cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream)
        # Without the setting, what did not converge would be returned.
        with stream, cupyx.errstate(linalg="raise"):
            try:
                return decomposed(cupy, cupy.from_dlpack(wide), vectors=vectors)
            except np.linalg.LinAlgError as error:
                raise FeatdivError(f"eigvals_batched: cuSOLVER did not come to an end: {error}") from None


def decomposed(module: Any, matrices: Any, *, vectors: bool) -> Eigensystems:
    """Returns the eigenvalues of (b, d, d) matrices, by a module that has NumPy's functions."""
    parts = [matrices] if matrices.shape[1] <= LARGE else list(matrices)
    found = [module.linalg.eigh(part) if vectors else (module.linalg.eigvalsh(part), None) for part in parts]
    b, d = int(matrices.shape[0]), int(matrices.shape[1])
    values, columns = zip(*found, strict=True)
    return Eigensystems(
        values=_host(module, values).reshape(b, d), vectors=_host(module, columns).reshape(b, d, d) if vectors else None
    )


def _host(module: Any, parts: Any) -> npt.NDArray[np.float64]:
    whole = module.stack(parts)
    found: npt.NDArray[np.float64] = whole if isinstance(whole, np.ndarray) else whole.get()
    return found
