"""The cross_gram op: what two sets of features of the same rows have in common, about a shift of each.

For rows x_i (p features) and y_i (q features) of one sample (or u_i = x_i / |x_i|, v_i = y_i / |y_i| with
``normalize="l2"``), shifts s and t and column exponents e and f, with z_i = (x_i - s) 2^e and w_i = (y_i - t) 2^f, a
backend adds

    n += m,   total += sum z_i,   other_total += sum w_i,   gram += sum z_i w_i^T   (p, q),
    weighted += sum |w_i|^2 z_i,   other_weighted += sum |z_i|^2 w_i,   fourth += sum |z_i|^2 |w_i|^2

(the last three only where they are kept: debiased CKA wants them) to the accumulators it is given, in one pass.
Rows are multiplied in the working precision of ``precision``; tile products are added in float64. Every backend keeps
the bound `PRECISIONS[precision]` of the products: |error of gram_ij| <= bound sqrt(sum_i z_i^2 sum_j w_j^2), in
Frobenius norm against |Z|_F |W|_F too, never uses TF32, gives the same result for any number of threads, and writes
nothing but its accumulators. What each set has in common with itself is the business of the scatter op.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError, RowError
from featdiv.ops._arrays import takes_arrays
from featdiv.ops._dispatch import PRECISIONS, Request, choose, load
from featdiv.ops.scatter import describe_rows

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

__all__ = ["CrossSums", "Side", "cross_gram"]


@dataclasses.dataclass(kw_only=True)
class CrossSums:
    """Float64 accumulators of the op, on the device of the rows (NumPy on the CPU, torch on a GPU).

    Attributes:
        n: rows seen.
        total: (p,) sum of z.
        other_total: (q,) sum of w.
        gram: (p, q) sum of z w^T.
        weighted: (p,) sum of |w|^2 z, or None where it is not wanted, as the next two.
        other_weighted: (q,) sum of |z|^2 w.
        fourth: (1,) sum of |z|^2 |w|^2.
        tiles: tiles multiplied.
        tiles_in_float64: those of them that were multiplied in float64 although the precision asked for less,
            because float32 sums would have broken its bound.
    """

    n: int
    total: Any
    other_total: Any
    gram: Any
    weighted: Any = None
    other_weighted: Any = None
    fourth: Any = None
    tiles: int = 0
    tiles_in_float64: int = 0

    @classmethod
    def zeros(cls, p: int, q: int, *, norm_sums: bool = False, device: str = "cpu") -> CrossSums:
        """Returns empty accumulators.

        Args:
            p: features of the rows.
            q: features of the others.
            norm_sums: whether to keep the norm-weighted sums.
            device: where to keep them.
        """

        def zeros(*shape: int) -> Any:
            if device == "cpu":
                return np.zeros(shape)
            import torch

            return torch.zeros(shape, dtype=torch.float64, device=device)

        return cls(
            n=0,
            total=zeros(p),
            other_total=zeros(q),
            gram=zeros(p, q),
            weighted=zeros(p) if norm_sums else None,
            other_weighted=zeros(q) if norm_sums else None,
            fourth=zeros(1) if norm_sums else None,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two sets of features, as backends get it.

    Attributes:
        rows: (m, d) rows.
        shift: (d,) float64 subtracted from them, or None.
        exponent: (d,) int32 powers of two that multiply the columns after that, or None.
    """

    rows: Rows
    shift: npt.NDArray[np.float64] | None
    exponent: npt.NDArray[np.int32] | None


@takes_arrays
def cross_gram(
    x: Rows,
    other: Rows,
    sums: CrossSums,
    *,
    shift: npt.NDArray[np.float64] | None = None,
    other_shift: npt.NDArray[np.float64] | None = None,
    exponent: npt.NDArray[np.int32] | None = None,
    other_exponent: npt.NDArray[np.int32] | None = None,
    precision: str = "float32",
    normalize: str | None = None,
    backend: str = "auto",
) -> str:
    """Adds the sums of ``x`` and ``other`` to ``sums`` and returns the name of the backend that did it.

    Args:
        x: (m, p) NumPy array, or torch tensor on any device, of any float or integer type, of any strides.
        other: (m, q) rows of the same samples, of the same type and on the same device.
        sums: accumulators of the same p and q, on the device of the rows; changed in place. After an error their
            content is undefined.
        shift: (p,) float64, subtracted from ``x`` (after normalisation); None for no shift.
        other_shift: (q,) float64, subtracted from ``other``.
        exponent: (p,) int32 powers of two that multiply the columns of ``x`` after the shift; None for none.
        other_exponent: (q,) int32, those of ``other``.
        precision: key of `PRECISIONS`.
        normalize: ``"l2"`` divides each row of either set by its Euclidean norm first.
        backend: backend name or ``"auto"``.

    Raises:
        InputError: if the two do not hold rows of the same samples, or a shift or exponent has the wrong shape.
        NonFiniteError: if a row holds NaN or infinity; ``count`` and ``first_row`` count within ``x`` (or ``other``,
            where ``x`` is good).
        ZeroNormError: with ``normalize="l2"``, if a row has norm zero; likewise.
        BackendUnavailable: if no backend can run this.

    Complexity:
        m p q multiply-adds; memory O(p q) beside a tile of rows.

    Example:
        >>> import numpy as np
        >>> x = np.array([[1.0, 0.0], [0.0, 2.0]])
        >>> y = np.array([[3.0], [1.0]])
        >>> sums = CrossSums.zeros(2, 1, norm_sums=True)
        >>> name = cross_gram(x, y, sums, other_shift=np.array([1.0]))  # w = 2, 0
        >>> sums.gram.tolist(), sums.weighted.tolist(), sums.other_weighted.tolist(), float(sums.fourth[0])
        ([[2.0], [0.0]], [4.0, 0.0], [2.0], 4.0)
    """
    for name, rows in (("x", x), ("other", other)):
        if rows.ndim != 2 or rows.shape[1] < 1:
            raise InputError(f"cross_gram: {name}: expected shape (m, d) with d >= 1; got {tuple(rows.shape)}")
    device, dtype = describe_rows(x)
    if describe_rows(other) != (device, dtype) or other.shape[0] != x.shape[0]:
        other_device, other_dtype = describe_rows(other)
        raise InputError(
            f"cross_gram: other: expected {int(x.shape[0])} rows of {dtype} on {device!r}, like x; "
            f"got {int(other.shape[0])} of {other_dtype} on {other_device!r}"
        )
    p, q = int(x.shape[1]), int(other.shape[1])
    if tuple(sums.gram.shape) != (p, q):
        raise InputError(f"cross_gram: sums: expected accumulators of {(p, q)} features; got {tuple(sums.gram.shape)}")
    if normalize not in (None, "l2"):
        raise InputError(f"cross_gram: normalize: expected None or 'l2'; got {normalize!r}")
    if precision not in PRECISIONS:
        raise InputError(f"cross_gram: precision: expected one of {', '.join(PRECISIONS)}; got {precision!r}")
    left = Side(
        rows=x, shift=_columns("shift", shift, np.float64, p), exponent=_columns("exponent", exponent, np.int32, p)
    )
    right = Side(
        rows=other,
        shift=_columns("other_shift", other_shift, np.float64, q),
        exponent=_columns("other_exponent", other_exponent, np.int32, q),
    )
    request = Request(op="cross_gram", device=device, dtype=dtype, n=int(x.shape[0]), d=max(p, q), precision=precision)
    name = choose(request, backend)
    if x.shape[0]:
        load("cross_gram", name).cross_gram(left, right, sums, precision=precision, normalize=normalize)
    return name


def _columns(name: str, given: Any, dtype: type, d: int) -> npt.NDArray[Any] | None:
    if given is None:
        return None
    values: npt.NDArray[Any] = np.ascontiguousarray(given, dtype=dtype)
    if values.shape != (d,):
        raise InputError(f"cross_gram: {name}: expected shape ({d},), one value for each feature; got {values.shape}")
    return values


def of_side(error: RowError, name: str) -> RowError:
    """Returns the error with a message that names the side that it is about."""
    return type(error)(f"cross_gram: {name}: {error}", count=error.count, first_row=error.first_row)
