"""The scatter op: first and second moment sums of rows about a shift, one triangle, in float64 accumulators.

For rows x_i (or u_i = x_i / |x_i| with ``normalize="l2"``), a shift s and column exponents e, with
z_i = (x_i - s) 2^e (column by column), a backend adds

    n += m,   total += sum z_i,   gram += sum z_i z_i^T (upper triangle),
    weighted += sum |z_i|^2 z_i,  fourth += sum |z_i|^4   (only where `Sums.weighted` is kept)

to the accumulators it is given. Rows are multiplied in the working precision of ``precision``; tile products are
added in float64. Every backend keeps the bound `PRECISIONS[precision]` on the relative error of the products, in
Frobenius norm and entrywise against sqrt(S_ii S_jj), never uses TF32, gives the same result for any number of
threads, and writes nothing but its accumulators.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.ops._arrays import takes_arrays
from featdiv.ops._dispatch import PRECISIONS, Request, choose, load

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

__all__ = ["PRECISIONS", "Sums", "scatter"]


@dataclasses.dataclass(kw_only=True)
class Sums:
    """Float64 accumulators of the op, on the device of the rows (NumPy on the CPU, torch on a GPU).

    Attributes:
        n: rows seen.
        total: (d,) sum of z.
        gram: (d, d) sum of z z^T; only the upper triangle (with the diagonal) is kept up to date.
        weighted: (d,) sum of |z|^2 z, or None where it is not wanted.
        fourth: (1,) sum of |z|^4, or None where it is not wanted.
        tiles: tiles multiplied.
        tiles_in_float64: those of them that were multiplied in float64 although the precision asked for less,
            because float32 sums would have broken its bound.
        suspect_tiles: tiles whose float32 product drifted on the diagonal by more than half of the bound.
        drifted_tiles: tiles whose float32 product was found to break the bound, and was thrown away.
    """

    n: int
    total: Any
    gram: Any
    weighted: Any = None
    fourth: Any = None
    tiles: int = 0
    tiles_in_float64: int = 0
    suspect_tiles: int = 0
    drifted_tiles: int = 0
    _scratch: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)

    @classmethod
    def zeros(
        cls, d: int, *, norm_sums: bool = False, device: str = "cpu", scratch: dict[str, Any] | None = None
    ) -> Sums:
        """Returns empty accumulators.

        Args:
            d: features.
            norm_sums: whether to keep the norm-weighted sums.
            device: where to keep them.
            scratch: buffers to share with other accumulators that are never in use at the same time.
        """
        if device == "cpu":
            return cls(
                _scratch={} if scratch is None else scratch,
                n=0,
                total=np.zeros(d),
                gram=np.zeros((d, d)),
                weighted=np.zeros(d) if norm_sums else None,
                fourth=np.zeros(1) if norm_sums else None,
            )
        import torch

        def on_device(*shape: int) -> torch.Tensor:
            return torch.zeros(shape, dtype=torch.float64, device=device)

        return cls(
            n=0,
            total=on_device(d),
            gram=on_device(d, d),
            weighted=on_device(d) if norm_sums else None,
            fourth=on_device(1) if norm_sums else None,
        )

    def scratch(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Returns a buffer that later calls with the same accumulators reuse; its content is arbitrary."""
        size = int(np.prod(shape))
        buffer = self._scratch.get(name)
        if buffer is None or buffer.size < size:
            buffer = self._scratch[name] = np.empty(size, dtype=dtype)
        return buffer[:size].reshape(shape)

    def symmetric_gram(self) -> npt.NDArray[np.float64]:
        """Returns the whole (d, d) matrix, on the host, from the triangle that was kept."""
        gram = self.gram if isinstance(self.gram, np.ndarray) else self.gram.cpu().numpy()
        upper = np.triu(gram)
        return upper + np.triu(upper, 1).T


def describe_rows(rows: Rows) -> tuple[str, str]:
    """Returns (device type, dtype name) of rows, as `Request` wants them."""
    if isinstance(rows, np.ndarray):
        return "cpu", rows.dtype.name
    return rows.device.type, str(rows.dtype).removeprefix("torch.")


@takes_arrays
def scatter(
    rows: Rows,
    sums: Sums,
    *,
    shift: npt.NDArray[np.float64] | None = None,
    exponent: npt.NDArray[np.int32] | None = None,
    precision: str = "float32",
    normalize: str | None = None,
    backend: str = "auto",
) -> str:
    """Adds the moment sums of ``rows`` to ``sums`` and returns the name of the backend that did it.

    Args:
        rows: (m, d) NumPy, torch or CuPy array on any device, of any float or integer type, of any strides.
        sums: accumulators of the same d, on the device of the rows; changed in place. After an error their
            content is undefined.
        shift: (d,) float64, subtracted from the rows (after normalisation); None for no shift.
        exponent: (d,) int32 powers of two that multiply the columns after the shift; None for none.
        precision: key of `PRECISIONS`.
        normalize: ``"l2"`` divides each row by its Euclidean norm (computed in float32 or wider) first.
        backend: backend name or ``"auto"``.

    Raises:
        NonFiniteError: if a row holds NaN or infinity; ``count`` and ``first_row`` count within ``rows``.
        ZeroNormError: with ``normalize="l2"``, if a row has norm zero; likewise.
        BackendUnavailable: if no backend can run this.

    Complexity:
        m d^2 multiply-adds at most (half by symmetry); memory O(d^2) beside a tile of rows.
    """
    device, dtype = describe_rows(rows)
    request = Request(
        op="scatter", device=device, dtype=dtype, n=int(rows.shape[0]), d=int(rows.shape[1]), precision=precision
    )
    name = choose(request, backend)
    if rows.shape[0]:
        load("scatter", name).scatter(
            rows, sums, shift=shift, exponent=exponent, precision=precision, normalize=normalize
        )
    return name
