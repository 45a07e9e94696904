"""The float64 oracle of the scatter op: the contract written down as plainly as it can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import NonFiniteError, ZeroNormError
from featdiv.ops._dispatch import Request

if TYPE_CHECKING:
    import torch

    from featdiv.ops.scatter import Sums

    Rows = npt.NDArray[Any] | torch.Tensor


def unsupported_reason(request: Request) -> str | None:
    """Returns None: the oracle takes any rows, copying them to the host."""
    return None


def to_float64(rows: Rows) -> npt.NDArray[np.float64]:
    """Returns a float64 NumPy copy of rows of any type on any device."""
    if isinstance(rows, np.ndarray):
        return rows.astype(np.float64)
    import torch

    return rows.detach().to(device="cpu", dtype=torch.float64).numpy().copy()


def check_finite(x: npt.NDArray[np.float64]) -> None:
    """Raises NonFiniteError if an entry of ``x`` is NaN or infinite."""
    bad = ~np.isfinite(x)
    if bad.any():
        count, first = int(bad.sum()), int(bad.any(axis=1).argmax())
        raise NonFiniteError(
            f"expected finite rows; got {count} NaN or infinite entries, the first in row {first}",
            count=count,
            first_row=first,
        )


def check_norms(x: npt.NDArray[np.float64]) -> None:
    """Raises ZeroNormError if a row of ``x`` is zero."""
    zero = ~x.any(axis=1)
    if zero.any():
        count, first = int(zero.sum()), int(zero.argmax())
        raise ZeroNormError(
            f"expected rows of non-zero norm; got {count} zero rows, the first is row {first}",
            count=count,
            first_row=first,
        )


def transformed(
    rows: Rows,
    *,
    shift: npt.NDArray[np.float64] | None = None,
    exponent: npt.NDArray[np.int32] | None = None,
    normalize: str | None = None,
) -> npt.NDArray[np.float64]:
    """Returns z = (u - shift) 2^exponent in float64, u the rows or the rows over their norms."""
    z = to_float64(rows)
    check_finite(z)
    if normalize == "l2":
        # Dividing by the largest entry first keeps the square of 1e200 out of infinity.
        check_norms(z)
        z /= np.abs(z).max(axis=1)[:, None]
        z /= np.sqrt(np.einsum("ij,ij->i", z, z))[:, None]
    if shift is not None:
        z -= shift
    if exponent is not None:
        z = np.ldexp(z, exponent)
    return z


def scatter(
    rows: Rows,
    sums: Sums,
    *,
    shift: npt.NDArray[np.float64] | None = None,
    exponent: npt.NDArray[np.int32] | None = None,
    precision: str = "float32",
    normalize: str | None = None,
) -> None:
    """Adds the sums of all rows at once, in float64 whatever ``precision`` allows."""
    z = transformed(rows, shift=shift, exponent=exponent, normalize=normalize)
    total: Any = z.sum(axis=0)
    gram: Any = np.triu(z.T @ z)
    weighted: Any = None
    fourth: Any = None
    if sums.weighted is not None:
        squares = np.einsum("ij,ij->i", z, z)
        weighted, fourth = z.T @ squares, np.array([squares @ squares])
    if not isinstance(sums.gram, np.ndarray):
        import torch

        device = sums.gram.device
        total, gram = torch.from_numpy(total).to(device), torch.from_numpy(gram).to(device)
        if weighted is not None and fourth is not None:
            weighted, fourth = torch.from_numpy(weighted).to(device), torch.from_numpy(fourth).to(device)
    sums.n += len(z)
    sums.total += total
    sums.gram += gram
    if weighted is not None:
        sums.weighted += weighted
        sums.fourth += fourth
