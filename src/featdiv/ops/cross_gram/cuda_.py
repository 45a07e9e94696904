"""cross_gram through the kernels of csrc/cuda; how they are put together stands in `tensor_cores`."""

from __future__ import annotations

from featdiv.ops import _cuda_moments
from featdiv.ops._dispatch import Request
from featdiv.ops.cross_gram import CrossSums, Side
from featdiv.ops.cross_gram.tensor_cores import add_cross_gram


def unsupported_reason(request: Request) -> str | None:
    """Returns why the CUDA kernels cannot run the request."""
    return _cuda_moments.unsupported_reason(request)


def cross_gram(
    left: Side, right: Side, sums: CrossSums, *, precision: str = "float32", normalize: str | None = None
) -> None:
    """Adds the sums; see `featdiv.ops.cross_gram.cross_gram`."""
    add_cross_gram(_cuda_moments.CudaMoments(), left, right, sums, precision=precision, normalize=normalize)
