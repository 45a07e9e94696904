"""The float64 oracle of the eigvals_batched op: Jacobi's rotations, one after the other, as in a textbook.

It shares nothing with LAPACK, so that each can be held against the other (Golub & Van Loan 2013, section 8.5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.ops._dispatch import Request
from featdiv.ops.eigvals_batched import Eigensystems
from featdiv.ops.scatter.reference import to_float64

if TYPE_CHECKING:
    import torch

    Matrices = npt.NDArray[Any] | torch.Tensor

Float64Array = npt.NDArray[np.float64]

_SWEEPS = 60


def unsupported_reason(request: Request) -> str | None:
    """Returns None: the oracle takes any matrices, copying them to the host."""
    return None


def eigvals_batched(matrices: Matrices, *, vectors: bool) -> Eigensystems:
    """Returns the eigenvalues; see `featdiv.ops.eigvals_batched.eigvals_batched`."""
    found = [_jacobi(matrix) for matrix in to_float64(matrices)]
    return Eigensystems(
        values=np.stack([values for values, _ in found]),
        vectors=np.stack([columns for _, columns in found]) if vectors else None,
    )


def _jacobi(matrix: Float64Array) -> tuple[Float64Array, Float64Array]:
    lower = np.tril(matrix)
    a = lower + np.tril(lower, -1).T
    d = len(a)
    v = np.eye(d)
    # Powers of two, so that squares neither overflow nor underflow, and nothing is rounded.
    largest = np.abs(a).max()
    exponent = int(np.frexp(largest)[1]) if largest > 0.0 else 0
    a = np.ldexp(a, -exponent)
    tiny = np.finfo(np.float64).eps * np.sqrt((a * a).sum()) / max(d, 1)
    for _ in range(_SWEEPS):
        if np.sqrt((np.tril(a, -1) ** 2).sum()) <= tiny:
            break
        for p in range(d - 1):
            for q in range(p + 1, d):
                # The matrix is scaled to magnitudes of 1: what is this small is nothing, and would overflow theta.
                if abs(a[p, q]) < 1e-150:
                    continue
                theta = (a[q, q] - a[p, p]) / (2.0 * a[p, q])
                t = np.copysign(1.0, theta) / (abs(theta) + np.hypot(theta, 1.0))
                c = 1.0 / np.hypot(t, 1.0)
                rotation = np.array([[c, t * c], [-t * c, c]])
                a[:, [p, q]] = a[:, [p, q]] @ rotation
                a[[p, q]] = rotation.T @ a[[p, q]]
                v[:, [p, q]] = v[:, [p, q]] @ rotation
    order = np.argsort(a.diagonal(), kind="stable")
    return np.ldexp(a.diagonal()[order], exponent), v[:, order]
