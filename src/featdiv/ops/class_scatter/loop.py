"""class_scatter by one call of a scatter backend for each class: how NumPy and torch do it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import NonFiniteError, RowError
from featdiv.ops.scatter import Sums

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

Float64Array = npt.NDArray[np.float64]

_PILOT_ROWS = 256


def class_by_class(
    scatter: Callable[..., None],
    rows: Rows,
    order: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    *,
    precision: str,
    normalize: str | None,
) -> tuple[Float64Array, Float64Array]:
    """Returns (means, scatters) through ``scatter``, the function of a backend of the scatter op."""
    d = int(rows.shape[1])
    device = "cpu" if isinstance(rows, np.ndarray) else str(rows.device)
    means, scatters = np.zeros((len(counts), d)), np.zeros((len(counts), d, d))
    stops = np.cumsum(counts)
    for k, (start, stop) in enumerate(zip(stops - counts, stops, strict=True)):
        if start == stop:
            continue
        own = _take(rows, order[start:stop])
        try:
            pilot = Sums.zeros(d, device=device)
            scatter(own[:: -(-(stop - start) // _PILOT_ROWS)], pilot, precision="float64", normalize=normalize)
            shift = _host(pilot.total) / pilot.n
            sums = Sums.zeros(d, device=device)
            scatter(own, sums, shift=shift, precision=precision, normalize=normalize)
        except RowError as error:
            raise _placed(error, rows, normalize) from None
        total = _host(sums.total)
        means[k] = shift + total / sums.n
        scatters[k] = sums.symmetric_gram() - np.outer(total, total) / sums.n
        # Where a class has collapsed, rounding may leave a hair below zero.
        diagonal = np.einsum("ii->i", scatters[k])
        np.maximum(diagonal, 0.0, out=diagonal)
    return means, scatters


def _take(rows: Rows, index: npt.NDArray[np.int64]) -> Rows:
    if isinstance(rows, np.ndarray):
        return rows[index]
    import torch

    return rows[torch.from_numpy(index).to(rows.device)]


def _host(values: Any) -> Float64Array:
    return values if isinstance(values, np.ndarray) else values.cpu().numpy()


def _placed(error: RowError, rows: Rows, normalize: str | None) -> Exception:
    """Returns the error for all rows that an error within one class stands for."""
    from featdiv.ops.scatter import reference

    try:
        reference.transformed(rows, normalize=None if isinstance(error, NonFiniteError) else normalize)
    except RowError as placed:
        return placed
    return error
