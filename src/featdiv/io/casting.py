"""Changing the element type of rows, with a count of what the new type cannot hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor


class Cast(NamedTuple):
    """Rows in their new type.

    Attributes:
        bits: (m, d) stored bits, native byte order (int16 for bfloat16).
        lost: number of values that the new type does not hold.
        first: row of the first of them, or -1.
        example: that value, or None.
    """

    bits: npt.NDArray[Any]
    lost: int
    first: int
    example: Any


def cast(rows: Rows, dtype: str) -> Cast:
    """Casts rows on the CPU.

    Between floats, rounding is what a cast is for, and a value is lost only where a finite one becomes
    infinite. Where an integer type is involved, a value is lost unless it survives exactly.

    Args:
        rows: (m, d) NumPy array or torch CPU tensor (bfloat16).
        dtype: name of the new type.
    """
    if not isinstance(rows, np.ndarray):
        import torch

        if dtype == "bfloat16" and rows.dtype == torch.bfloat16:
            return Cast(rows.contiguous().view(torch.int16).numpy(), 0, -1, None)
        # Exact: float32 holds every bfloat16.
        rows = rows.to(torch.float32).numpy() if rows.dtype == torch.bfloat16 else rows.numpy()
    if rows.dtype.name == dtype:
        return Cast(np.ascontiguousarray(rows), 0, -1, None)
    if dtype == "bfloat16":
        bits, lost = _to_bfloat16(rows)
    elif np.dtype(dtype).kind == "f":
        bits, lost = _to_float(rows, np.dtype(dtype))
    else:
        bits, lost = _to_integer(rows, np.dtype(dtype))
    if not lost.any():
        return Cast(bits, 0, -1, None)
    first = int(np.argmax(lost.any(axis=1)))
    return Cast(bits, int(np.count_nonzero(lost)), first, rows[first][lost[first]][0].item())


def _to_bfloat16(rows: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    import torch

    wide, lost = _to_float(rows, np.dtype(np.float32)) if rows.dtype != np.float32 else (rows, None)
    narrow = torch.from_numpy(np.ascontiguousarray(wide)).to(torch.bfloat16)
    back = narrow.to(torch.float32).numpy()
    changed = (np.isinf(back) & np.isfinite(wide)) if rows.dtype.kind == "f" else back != wide
    return narrow.view(torch.int16).numpy(), changed if lost is None else changed | lost


def _to_float(rows: npt.NDArray[Any], dtype: np.dtype[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    with np.errstate(over="ignore"):
        out = rows.astype(dtype, order="C")
    if rows.dtype.kind == "f":
        return out, np.isinf(out) & np.isfinite(rows)
    # What rounds up to the end of the integer type cannot be cast back to see whether it is the same number.
    info = np.iinfo(rows.dtype)
    end = 2.0 ** (info.bits - (info.kind == "i"))
    beyond = np.isinf(out) | ~(out.astype(np.float64) < end)
    back = np.where(beyond, np.zeros((), dtype), out).astype(rows.dtype)
    return out, beyond | (back != rows)


def _to_integer(rows: npt.NDArray[Any], dtype: np.dtype[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    if rows.dtype.kind == "f":
        wide = rows.astype(np.float64)
        with np.errstate(invalid="ignore"):
            lost = ~(np.isfinite(wide) & (wide == np.trunc(wide)) & (wide >= low) & (wide < float(high) + 1.0))
            if high < 2**53:
                lost |= wide > high
    else:
        own = np.iinfo(rows.dtype)
        lost = np.zeros(rows.shape, dtype=np.bool_)
        if own.min < low:
            lost |= rows < low
        if own.max > high:
            lost |= rows > high
    return np.where(lost, 0, rows).astype(dtype), lost


def largest(dtype: str) -> str:
    """Returns the range of a type, for a message."""
    if dtype == "bfloat16":
        return "up to 3.39e38"
    info = np.dtype(dtype)
    if info.kind == "f":
        return f"up to {float(np.finfo(info).max):.6g}"
    return f"{np.iinfo(info).min} to {np.iinfo(info).max}"
