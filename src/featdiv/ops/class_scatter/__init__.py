"""The class_scatter op: count, mean and scatter about the mean of every class, for labels in any order.

For class k with rows x_i, i in I_k (or u_i = x_i / |x_i| with ``normalize="l2"``),

    count_k = |I_k|,   mean_k = sum x_i / count_k,   scatter_k = sum (x_i - mean_k)(x_i - mean_k)^T

Sums are taken about a mean of the class itself, never about that of all rows: under neural collapse the difference
of total and between-class scatter has no correct digit left. Every backend keeps the bound `PRECISIONS[precision]`
of each class's scatter, in Frobenius norm and entrywise against sqrt(S_ii S_jj), up to what rounding the rows
themselves to the working precision about the class mean allows, and gives the same result for any number of threads.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError
from featdiv.ops._arrays import takes_arrays
from featdiv.ops._dispatch import Request, choose, load, requested, unsupported_reason
from featdiv.ops.scatter import describe_rows

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

__all__ = ["ClassSums", "centred_rows", "class_scatter", "class_scatter_dense"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassSums:
    """What the op returns, on the host.

    Attributes:
        counts: (c,) int64 rows of each class.
        means: (c, d) float64; zero for a class without rows.
        scatters: (c, d, d) float64 or float32, symmetric; zero for a class without rows.
        backend: the backend that did it.
    """

    counts: npt.NDArray[np.int64]
    means: npt.NDArray[np.float64]
    scatters: npt.NDArray[Any]
    backend: str


@takes_arrays
def class_scatter(
    rows: Rows,
    labels: npt.NDArray[Any],
    *,
    classes: int,
    precision: str = "float32",
    normalize: str | None = None,
    dtype: str = "float64",
    backend: str = "auto",
) -> ClassSums:
    """Returns the moments of every class.

    Args:
        rows: (n, d) NumPy, torch or CuPy array on any device, of any float or integer type, of any strides.
        labels: (n,) integers in [0, classes), on the host, in any order.
        classes: c, the number of classes; some may have no rows.
        precision: key of `featdiv.ops.scatter.PRECISIONS`.
        normalize: ``"l2"`` divides each row by its Euclidean norm first.
        dtype: ``"float64"``, or ``"float32"`` for scatters that take half the memory, rounded once at the end. Where
            there are many classes of few rows, most of the time goes into writing them.
        backend: backend name or ``"auto"``.

    Raises:
        InputError: if rows or labels have the wrong shape, type or range, or float32 cannot hold the scatters.
        NonFiniteError: if a row holds NaN or infinity; ``count`` and ``first_row`` count within ``rows``.
        ZeroNormError: with ``normalize="l2"``, if a row has norm zero; likewise.
        BackendUnavailable: if no backend can run this.

    Complexity:
        n d^2 / 2 multiply-adds; the result takes 8 c d^2 bytes, or 4 c d^2.

    Example:
        >>> import numpy as np
        >>> x = np.array([[0.0, 0.0], [5.0, 1.0], [2.0, 4.0], [7.0, 1.0]])
        >>> sums = class_scatter(x, np.array([0, 1, 0, 1]), classes=2)
        >>> sums.means.tolist()
        [[1.0, 2.0], [6.0, 1.0]]
        >>> sums.scatters[1].tolist()
        [[2.0, 0.0], [0.0, 0.0]]
    """
    if rows.ndim != 2 or rows.shape[1] < 1:
        raise InputError(f"class_scatter: rows: expected shape (n, d) with d >= 1; got {tuple(rows.shape)}")
    labels = np.asarray(labels.cpu() if hasattr(labels, "cpu") else labels)
    n, d = (int(size) for size in rows.shape)
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise InputError(
            f"class_scatter: labels: expected {n} integers, one for each row; "
            f"got {labels.dtype} of shape {labels.shape}"
        )
    if classes < 0 or (n and (int(labels.min()) < 0 or int(labels.max()) >= classes)):
        raise InputError(
            f"class_scatter: labels: expected values from 0 to classes - 1 = {classes - 1}; "
            f"got {labels.min()} to {labels.max()}"
        )
    if dtype not in ("float64", "float32"):
        raise InputError(f"class_scatter: dtype: expected 'float64' or 'float32'; got {dtype!r}")
    device, element = describe_rows(rows)
    request = Request(op="class_scatter", device=device, dtype=element, n=n, d=d, precision=precision)
    name = choose(request, backend)
    # Sorting labels of two bytes is a radix sort: linear in n.
    small = labels.astype(np.uint16) if classes <= 1 << 16 else labels
    order = np.argsort(small, kind="stable")
    counts = np.bincount(labels.astype(np.int64, copy=False), minlength=classes).astype(np.int64)
    module = load("class_scatter", name)
    run = module.class_scatter
    if dtype == "float32":
        # Some backends write float32 themselves; the result of the others is rounded here.
        run = getattr(module, "class_scatter_float32", run)
    means, scatters = run(rows, order, counts, precision=precision, normalize=normalize)
    if dtype == "float32":
        scatters = _narrowed(scatters)
    return ClassSums(counts=counts, means=means, scatters=scatters, backend=name)


def _narrowed(scatters: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):
        narrow = scatters.astype(np.float32, copy=False)
    # No entry is larger than those of the diagonal in its row and column.
    diagonals = np.diagonal(narrow, axis1=1, axis2=2)
    if not np.isfinite(diagonals).all():
        k = int((~np.isfinite(diagonals)).any(axis=1).argmax())
        raise InputError(
            f"class_scatter: dtype: expected scatters that float32 holds, below 3.4e38; class {k} exceeds it. "
            "Use dtype='float64', or multiply the rows by a constant."
        )
    return narrow


@takes_arrays
def class_scatter_dense(
    x: Rows,
    *,
    precision: str = "float32",
    normalize: str | None = None,
    dtype: str = "float64",
    backend: str = "auto",
) -> ClassSums:
    """Returns the moments of each of b problems of n rows.

    Args:
        x: (b, n, d) rows of b problems, such as layers or checkpoints; otherwise as in `class_scatter`.
        precision: as in `class_scatter`.
        normalize: as in `class_scatter`.
        dtype: as in `class_scatter`.
        backend: as in `class_scatter`.

    Raises:
        InputError: if ``x`` has another number of axes. Further as `class_scatter`; rows count through all problems.
    """
    if x.ndim != 3 or x.shape[2] < 1:
        raise InputError(f"class_scatter_dense: x: expected shape (b, n, d), d >= 1; got {tuple(x.shape)}")
    b, n, d = (int(size) for size in x.shape)
    return class_scatter(
        x.reshape(b * n, d),
        np.repeat(np.arange(b), n),
        classes=b,
        precision=precision,
        normalize=normalize,
        dtype=dtype,
        backend=backend,
    )


def centred_rows(
    rows: Rows,
    index: npt.NDArray[np.int64],
    codes: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    *,
    pilots: npt.NDArray[np.float64],
    sums: npt.NDArray[np.float64],
    out: npt.NDArray[Any],
    exponent: npt.NDArray[np.int32] | None,
    normalize: str | None,
    backend: str = "auto",
) -> bool:
    """Writes z_i = (x_i - p_k) 2^e of some rows, p_k the pilot of their class k, and adds up z of every class.

    The native backend does; any other leaves all as it is, and so do rows whose norms are zero or beyond float64.

    Args:
        rows: (n, d) rows on the host.
        index: (m,) which of them, class by class.
        codes: (m,) their classes as rows of ``pilots``, equal ones side by side.
        places: (m,) which row of ``out`` each becomes.
        pilots: (c, d).
        sums: (c, d), changed in place.
        out: (m, d) float64 or float32, for z.
        exponent: (d,) powers of two that multiply the columns, or None.
        normalize: ``"l2"`` divides each row by its Euclidean norm first.
        backend: backend name or ``"auto"``.

    Returns:
        Whether it was done.

    Raises:
        FloatingPointError: if a sum is not finite, because a row is not or its difference from the pilot is not.
    """
    device, element = describe_rows(rows)
    request = Request(op="class_scatter", device=device, dtype=element, n=len(index), d=int(rows.shape[1]))
    if requested(backend) not in ("auto", "native") or unsupported_reason(request, "native") is not None:
        return False
    done: bool = load("class_scatter", "native").centred_rows(
        rows, index, codes, places, pilots=pilots, sums=sums, out=out, exponent=exponent, normalize=normalize
    )
    return done
