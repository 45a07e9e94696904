"""The eigvals_batched op: eigenvalues, and vectors on request, of many small symmetric matrices.

For every matrix A = V diag(w) V^T it returns w in ascending order and, on request, the columns of V. Backends work in
float64 and are off by at most 1e-14 d |A| in each eigenvalue (a backward-stable solver), whatever the batch; only the
lower triangle is read. The result does not depend on the number of threads, nor on the other matrices of the batch.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError, NonFiniteError
from featdiv.ops._arrays import takes_arrays
from featdiv.ops._dispatch import Request, choose, load
from featdiv.ops.scatter import describe_rows

if TYPE_CHECKING:
    import torch

    Matrices = npt.NDArray[Any] | torch.Tensor

__all__ = ["Eigensystems", "eigvals_batched"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Eigensystems:
    """What the op returns, on the host.

    Attributes:
        values: (b, d) float64, ascending.
        vectors: (b, d, d) float64, column j belongs to value j; or None where not asked for. Signs, and bases of
            repeated values, are arbitrary.
        backend: the backend that did it.
    """

    values: npt.NDArray[np.float64]
    vectors: npt.NDArray[np.float64] | None = None
    backend: str = ""


@takes_arrays
def eigvals_batched(matrices: Matrices, *, vectors: bool = False, backend: str = "auto") -> Eigensystems:
    """Returns the eigenvalues of every matrix.

    Args:
        matrices: (b, d, d) symmetric float32 or float64 matrices, a NumPy, torch or CuPy array on any device.
            Only the lower triangle is read.
        vectors: whether to return the eigenvectors too.
        backend: backend name or ``"auto"``.

    Raises:
        InputError: if ``matrices`` has another shape or type.
        NonFiniteError: if an entry of a lower triangle is NaN or infinite; ``first_row`` is the number of its matrix.
        BackendUnavailable: if no backend can run this.

    Complexity:
        about 4/3 b d^3 multiply-adds for the values, 9 b d^3 with vectors (reduction to tridiagonal form and QR).

    Example:
        >>> import numpy as np
        >>> eigvals_batched(np.array([[[2.0, 1.0], [1.0, 2.0]], [[5.0, 0.0], [0.0, -1.0]]])).values.tolist()
        [[1.0, 3.0], [-1.0, 5.0]]
    """
    if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2] or matrices.shape[1] < 1:
        raise InputError(
            f"eigvals_batched: matrices: expected shape (b, d, d) with d >= 1; got {tuple(matrices.shape)}"
        )
    device, dtype = describe_rows(matrices)
    if dtype not in ("float32", "float64"):
        raise InputError(f"eigvals_batched: matrices: expected float32 or float64; got {dtype}")
    b, d = (int(size) for size in matrices.shape[:2])
    request = Request(op="eigvals_batched", device=device, dtype=dtype, n=b, d=d, precision="float64")
    name = choose(request, backend)
    if b == 0:
        return Eigensystems(values=np.zeros((0, d)), vectors=np.zeros((0, d, d)) if vectors else None, backend=name)
    _require_finite(matrices)
    found: Eigensystems = load("eigvals_batched", name).eigvals_batched(matrices, vectors=vectors)
    return dataclasses.replace(found, backend=name)


def _require_finite(matrices: Matrices) -> None:
    """Raises the error of matrices whose lower triangle is not finite: a solver might not come back from them."""
    if isinstance(matrices, np.ndarray):
        bad = ~np.isfinite(np.tril(matrices)).all(axis=(1, 2))
    else:
        bad = (~matrices.tril().isfinite().all(dim=2).all(dim=1)).cpu().numpy()
    if bad.any():
        count, first = int(bad.sum()), int(bad.argmax())
        raise NonFiniteError(
            f"eigvals_batched: matrices: expected finite entries; got {count} matrices with NaN or infinity, the "
            f"first is matrix {first}",
            count=count,
            first_row=first,
        )
