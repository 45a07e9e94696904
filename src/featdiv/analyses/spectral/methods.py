"""The algorithms behind a spectrum other than the Gram matrix: direct SVD, the n x n dual, TSQR, randomised.

Each returns a `Decomposition`. What squares the rows has a floor of about 1.5e-8 of the largest singular value in
float64; `svd` and `tsqr` square nothing and resolve values down to rounding.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from featdiv.errors import NonFiniteError, NotEnoughData, RowError
from featdiv.metrics.spectral.eigenvalues import EPSILON, LOWEST_FLOOR, Eigenvalues
from featdiv.ops.scatter import reference
from featdiv.stats.moments import Moments

if TYPE_CHECKING:
    from featdiv.io import Embeddings
    from featdiv.io.progress import Progress

Float64Array = npt.NDArray[np.float64]

LEADING = 256
"""Leading components that the randomised method computes."""

_OVERSAMPLING = 32
_SUBSPACE_PASSES = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decomposition:
    """What an algorithm found.

    Attributes:
        wanted: eigenvalues about the mean or about zero, as asked.
        uncentered: eigenvalues about zero, or None where the algorithm has them only as asked.
        mean: (d,) mean of the rows.
        n: rows read.
        dropped: rows left out because they hold NaN or infinity.
        passes: how often the rows were read.
        moments: moments of the rows, where they fall out.
        unit_rows: whether every row has norm one.
    """

    wanted: Eigenvalues
    uncentered: Eigenvalues | None
    mean: Float64Array
    n: int
    dropped: int
    passes: int
    moments: Moments | None = None


class RowReader:
    """Yields float64 chunks of a source, normalised and cleaned as the caller asked."""

    def __init__(
        self,
        source: Embeddings,
        *,
        function: str,
        normalize: str | None,
        nonfinite: str,
        progress: Progress | None,
    ) -> None:
        self._source = source
        self._function = function
        self._normalize = normalize
        self._nonfinite = nonfinite
        self._progress = progress
        self.n = 0
        self.dropped = 0
        self.d = source.d
        self.extraction = source.extraction

    def chunks(self) -> Iterator[Float64Array]:
        """Yields (m, d) float64 chunks; `n` and `dropped` are those of the last complete reading."""
        n = dropped = 0
        for chunk in self._source.chunks():
            rows = reference.to_float64(chunk.rows)
            if self._nonfinite == "drop":
                good = np.isfinite(rows).all(axis=1)
                dropped += int((~good).sum())
                rows = rows[good]
            try:
                z = reference.transformed(rows, normalize=self._normalize)
            except RowError as error:
                first = chunk.start + error.first_row
                advice = (
                    "Use nonfinite='drop' to leave such rows out."
                    if isinstance(error, NonFiniteError)
                    else "Leave them out, or use normalize=None."
                )
                raise type(error)(
                    f"{self._function}: x: {error} of the chunk that starts at row {chunk.start}. {advice}",
                    count=error.count,
                    first_row=first,
                ) from None
            n += len(z)
            if self._progress is not None:
                self._progress(chunk.start + int(chunk.rows.shape[0]), self._source.n)
            yield z
        self.n, self.dropped = n, dropped

    def all(self) -> Float64Array:
        """Returns all rows at once."""
        parts = list(self.chunks())
        return np.concatenate(parts) if parts else np.empty((0, self.d))


def dual(reader: RowReader, *, center: bool) -> Decomposition:
    """Eigenvalues through the n x n matrix of inner products, for fewer rows than features."""
    x = reader.all()
    n = len(x)
    if n < 2:
        raise NotEnoughData(f"a spectrum needs at least 2 rows; got {n}")
    mean = x.mean(axis=0)
    uncentered = kernel_eigenvalues(x, mean, centered=False)
    wanted = kernel_eigenvalues(x - mean, mean, centered=True) if center else uncentered
    return Decomposition(wanted=wanted, uncentered=uncentered, mean=mean, n=n, dropped=reader.dropped, passes=1)


def kernel_eigenvalues(x: Float64Array, mean: Float64Array, *, centered: bool) -> Eigenvalues:
    """Returns eigenvalues from the n x n inner products of the rows.

    Args:
        x: (n, d) rows, about their mean if ``centered``.
        mean: (d,) mean that they had: a variance below its rounding is none.
        centered: whether the eigenvalues are about the mean.

    Raises:
        NotEnoughData: if there is no variance.
    """
    n, d = x.shape
    kernel = x @ x.T
    trace = float(np.trace(kernel))
    if trace <= ((16 * EPSILON) ** 2 * n * float(mean @ mean) if centered else 0.0):
        raise NotEnoughData("the features are constant: every row is the same, so there is no variance and no spectrum")
    values = np.linalg.eigvalsh(kernel)[::-1][: min(n, d)].copy()
    values[values < n * EPSILON * values[0]] = 0.0
    if centered:
        values[n - 1 :] = 0.0
    scale = n - 1 if centered else n
    return Eigenvalues(values=values / scale, n=n, d=d, centered=centered, floor=LOWEST_FLOOR, total=trace / scale)


def tsqr(reader: RowReader, *, center: bool) -> Decomposition:
    """Singular values from a QR factorisation updated chunk by chunk, which squares nothing.

    With a column of ones in front, [1 | X - s] = Q R. Projecting the ones out is what centring does, so the block
    R[1:, 1:] has the singular values of the centred rows, and R [s^T; I] those of the rows themselves.

    Demmel, Grigori, Hoemmen & Langou 2012, "Communication-optimal parallel and sequential QR and LU".
    """
    d = reader.d
    r = np.zeros((0, d + 1))
    shift: Float64Array | None = None
    for z in reader.chunks():
        if not len(z):
            continue
        if shift is None:
            shift = z.mean(axis=0)
        block = np.concatenate([np.ones((len(z), 1)), z - shift], axis=1)
        r = np.asarray(np.linalg.qr(np.concatenate([r, block]), mode="r"))
    n = reader.n
    if n < 2 or shift is None:
        raise NotEnoughData(f"a spectrum needs at least 2 rows; got {n}")
    centred_factor = r[1:, 1:]
    mean = shift + r[0, 1:] / r[0, 0]
    factor = r @ np.concatenate([shift[None, :], np.eye(d)])
    uncentered = _factor_eigenvalues(factor, n, mean, centered=False)
    wanted = _factor_eigenvalues(centred_factor, n, mean, centered=True) if center else uncentered
    scatter = centred_factor.T @ centred_factor
    moments = Moments(
        n=n,
        mean=mean,
        scatter=(scatter + scatter.T) / 2,
        error_bound=1e-14,
        dtype="float64",
        backend="tsqr",
        extraction=reader.extraction,
    )
    return Decomposition(
        wanted=wanted,
        uncentered=uncentered,
        mean=mean,
        n=n,
        dropped=reader.dropped,
        passes=1,
        moments=moments,
    )


def _factor_eigenvalues(factor: Float64Array, n: int, mean: Float64Array, *, centered: bool) -> Eigenvalues:
    d = factor.shape[1]
    floor = max(n, d) * EPSILON
    sigma = np.zeros(min(n, d))
    found = np.linalg.svd(factor, compute_uv=False)[: sigma.size] if len(factor) else sigma
    sigma[: found.size] = found
    scale = n - 1 if centered else n
    # Rounding in the mean is all that constant rows leave behind.
    if sigma[0] <= (16 * EPSILON * math.sqrt(n) * float(np.linalg.norm(mean)) if centered else 0.0):
        raise NotEnoughData("the features are constant: every row is the same, so there is no variance and no spectrum")
    sigma[sigma < floor * sigma[0]] = 0.0
    values = sigma**2 / scale
    return Eigenvalues(values=values, n=n, d=d, centered=centered, floor=floor, total=float(values.sum()))


def randomized(reader: RowReader, *, center: bool, seed: int) -> Decomposition:
    """The leading part of a spectrum by subspace iteration on a random block; the trace is exact.

    Halko, Martinsson & Tropp 2011, algorithm 4.4 on the second-moment matrix, with one pass over the rows for each
    iteration and O(d k) memory. The eigenvalues are Rayleigh-Ritz values: never above the true ones.
    """
    d = reader.d
    random = np.random.default_rng(seed)
    mean, trace = _mean_and_trace(reader, center=center)
    n = reader.n
    if n < 2:
        raise NotEnoughData(f"a spectrum needs at least 2 rows; got {n}")
    if trace <= (16 * EPSILON) ** 2 * n * float(mean @ mean) * center:
        raise NotEnoughData("the features are constant: every row is the same, so there is no variance and no spectrum")
    width = min(LEADING + _OVERSAMPLING, n, d)
    origin = mean if center else np.zeros(d)

    def multiply(block: Float64Array) -> Float64Array:
        product = np.zeros_like(block)
        for z in reader.chunks():
            moved = z - origin
            product += moved.T @ (moved @ block)
        return product

    basis = np.linalg.qr(random.standard_normal((d, width)))[0]
    for _ in range(_SUBSPACE_PASSES):
        basis = np.linalg.qr(multiply(basis))[0]
    projected = basis.T @ multiply(basis)
    kept = min(LEADING, n - 1 if center else n, d)
    values = np.clip(np.linalg.eigvalsh((projected + projected.T) / 2)[::-1][:kept], 0.0, None)
    scale = n - 1 if center else n
    wanted = Eigenvalues(values=values / scale, n=n, d=d, centered=center, floor=LOWEST_FLOOR, total=trace / scale)
    return Decomposition(
        wanted=wanted,
        uncentered=None if center else wanted,
        mean=mean,
        n=n,
        dropped=reader.dropped,
        passes=2 + _SUBSPACE_PASSES,
    )


def _mean_and_trace(reader: RowReader, *, center: bool) -> tuple[Float64Array, float]:
    """Returns the mean and the sum of squares about it (or about zero), merged chunk by chunk."""
    n = 0
    mean, squares = np.zeros(reader.d), 0.0
    for z in reader.chunks():
        if not len(z):
            continue
        part = z.mean(axis=0)
        delta = part - mean
        total = n + len(z)
        squares += float(np.square(z - part).sum()) + float(delta @ delta) * n * len(z) / total
        mean += delta * (len(z) / total)
        n = total
    return mean, squares if center else squares + n * float(mean @ mean)


def in_memory(reader: RowReader, *, center: bool) -> Decomposition:
    """Exact float64 singular values of rows that fit in memory."""
    x = reader.all()
    if len(x) < 2:
        raise NotEnoughData(f"a spectrum needs at least 2 rows; got {len(x)}")
    uncentered = _or_none(lambda: Eigenvalues.of_rows(x, center=False))
    wanted = Eigenvalues.of_rows(x, center=center)
    return Decomposition(
        wanted=wanted,
        uncentered=uncentered,
        mean=x.mean(axis=0),
        n=len(x),
        dropped=reader.dropped,
        passes=1,
    )


def _or_none(make: Callable[[], Eigenvalues]) -> Eigenvalues | None:
    try:
        return make()
    except NotEnoughData:
        return None
