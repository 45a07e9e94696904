"""`Eigenvalues`: the one input of every score that is a function of a spectrum."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError, NotEnoughData
from featdiv.ops._blas import one_thread

if TYPE_CHECKING:
    from featdiv.stats import Moments

Float64Array = npt.NDArray[np.float64]

EPSILON = float(np.finfo(np.float64).eps)
LOWEST_FLOOR = math.sqrt(EPSILON)
"""Relative floor on singular values that come from a float64 matrix of second moments: 1.5e-8."""

SOLVER_NOISE = 4.0 * EPSILON
"""Eigenvalues below this share of the largest are rounding of the symmetric eigensolver, and set to zero."""

CONSTANT = (16.0 * EPSILON) ** 2
"""Sum of squares about the mean, relative to that of the mean, up to which a column counts as constant."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Eigenvalues:
    """Eigenvalues of a second-moment matrix of n rows of d features.

    Centred: eigenvalues of S = Xc^T Xc / (n - 1), and sigma = sqrt((n - 1) lambda), the singular values of
    Xc. Not centred: eigenvalues of X^T X / n, and sigma = sqrt(n lambda), the singular values of X.

    Attributes:
        values: float64, descending, not negative: all r = min(n, d) eigenvalues, or only the leading ones
            where a randomised method computed no more. Zeros are kept.
        n: number of rows.
        d: number of features.
        centered: whether the mean was subtracted.
        floor: singular values below ``floor`` times the largest are numerical noise.
        total: trace of the matrix; the sum of all r eigenvalues, also where `values` holds fewer.
        unit_rows: whether every row has Euclidean norm one.
        unresolved: sum of the magnitudes that the solver gave for singular values below the floor. Rounding makes
            eigenvalues there negative as often as not; `values` holds zero for those.

    Raises:
        InputError: if the values are not a descending 1-D array of at least one entry, none negative.
        NotEnoughData: if all of them are zero.
    """

    values: Float64Array
    n: int
    d: int
    centered: bool
    floor: float
    total: float
    unit_rows: bool = False
    unresolved: float = 0.0

    def __post_init__(self) -> None:
        values = self.values
        if values.ndim != 1 or not 1 <= values.size <= min(self.n, self.d):
            raise InputError(
                f"Eigenvalues: values: expected 1 to {min(self.n, self.d)} of them for {self.n} x {self.d}; "
                f"got shape {values.shape}"
            )
        if not (values[-1] >= 0.0 and np.all(values[1:] <= values[:-1])):
            raise InputError("Eigenvalues: values: expected finite, descending values, none negative")
        if not (values[0] > 0.0 and self.total > 0.0):
            raise NotEnoughData(_no_spectrum(self.centered))

    @property
    def rank_limit(self) -> int:
        """R = min(n, d): how many eigenvalues there are, computed or not."""
        return min(self.n, self.d)

    @property
    def complete(self) -> bool:
        """Whether all r eigenvalues are here."""
        return self.values.size == self.rank_limit

    @property
    def singular_values(self) -> Float64Array:
        """Singular values of the (centred) rows, descending."""
        scale = self.n - 1 if self.centered else self.n
        return np.asarray(np.sqrt(self.values * scale))

    @property
    def resolved(self) -> int:
        """How many eigenvalues lie above the noise floor."""
        threshold = self.values[0] * self.floor**2
        return int(np.count_nonzero(self.values > threshold))

    @property
    def share_below_floor(self) -> float:
        """Share of the sum of singular values that lies, or may lie, below the noise floor."""
        roots = np.sqrt(self.values)
        return max(self.unresolved, float(roots[self.resolved :].sum())) / float(roots.sum())

    def shares(self) -> Float64Array:
        """Returns lambda / sum(lambda), of all r eigenvalues.

        Raises:
            NotEnoughData: if only the leading eigenvalues were computed.
        """
        self.require_complete()
        return np.asarray(self.values / self.values.sum())

    def singular_shares(self) -> Float64Array:
        """Returns sigma / sum(sigma), of all r singular values.

        Raises:
            NotEnoughData: if only the leading eigenvalues were computed.
        """
        self.require_complete()
        roots = np.sqrt(self.values)
        return np.asarray(roots / roots.sum())

    def require_complete(self) -> None:
        """Raises `NotEnoughData` if only the leading eigenvalues were computed."""
        if not self.complete:
            raise NotEnoughData(
                f"it needs all {self.rank_limit} eigenvalues, and only the leading {self.values.size} were "
                "computed; use method='gram' or 'svd'"
            )

    def require_centered(self, centered: bool, *, function: str) -> None:
        """Raises `InputError` unless the eigenvalues are centred, or not, as ``function`` wants them."""
        if self.centered != centered:
            raise InputError(
                f"{function}: eigenvalues: expected {_kind(centered)} ones; got {_kind(self.centered)} ones. "
                f"Make them with center={centered}."
            )

    @classmethod
    def of_moments(cls, moments: Moments, center: bool = True) -> Eigenvalues:
        """Returns the eigenvalues of the second moments.

        Args:
            moments: moments of n rows of d features.
            center: whether to take them about the mean.

        Returns:
            All min(n, d) eigenvalues, with the noise floor sqrt(moments.error_bound), or `LOWEST_FLOOR` if
            that is higher.

        Raises:
            NotEnoughData: if there are no rows, only one when centred, or if the features are constant
                (centred) or zero (not centred).

        Complexity:
            O(d^3) time, O(d^2) memory.
        """
        import scipy.linalg

        matrix = _matrix(moments, center)
        with one_thread(len(matrix)):
            raw = scipy.linalg.eigh(matrix, eigvals_only=True, check_finite=False, driver="evd")
        return cls._of_raw(raw, moments, center)

    @classmethod
    def both_of_moments(cls, moments: Moments) -> tuple[Eigenvalues, Eigenvalues]:
        """Returns (centred, uncentred) eigenvalues for little more than the price of one.

        The two matrices differ by n mean mean^T. In a basis whose first vector is along the mean that is one
        entry, and a Householder reduction to tridiagonal form keeps the first basis vector: one reduction
        serves both.

        Raises:
            NotEnoughData: as `of_moments`.
        """
        _matrix(moments, True)
        centred, uncentred = both_raw(moments.scatter, moments.mean, moments.n)
        return cls._of_raw(centred, moments, True), cls._of_raw(uncentred, moments, False)

    @classmethod
    def _of_raw(cls, raw: Float64Array, moments: Moments, center: bool) -> Eigenvalues:
        n = moments.n
        scale = n - 1 if center else n
        kept = raw[::-1][: min(n, raw.size) - (center and n <= raw.size)] / scale
        values = _clean(raw[::-1] / scale, n=n, centered=center)
        floor = _floor(moments, values[0] * scale, center)
        of_mean = 0.0 if center else n * float(moments.mean @ moments.mean)
        return cls(
            values=values,
            n=n,
            d=moments.d,
            centered=center,
            floor=floor,
            total=(float(np.trace(moments.scatter)) + of_mean) / scale,
            unit_rows=has_unit_rows(moments),
            unresolved=float(np.sqrt(np.abs(kept[kept <= floor**2 * values[0]])).sum()),
        )

    @classmethod
    def of_rows(cls, rows: npt.NDArray[Any], center: bool = True) -> Eigenvalues:
        """Returns the eigenvalues of rows in memory, by an exact float64 singular value decomposition.

        It squares nothing, so its floor is that of float64 itself: max(n, d) times 2.2e-16.

        Args:
            rows: (n, d), any real dtype.
            center: whether to subtract the mean.

        Raises:
            InputError: if rows is not 2-D.
            NotEnoughData: as `of_moments`.

        Complexity:
            O(n d min(n, d)) time, O(n d) memory.
        """
        import scipy.linalg

        if rows.ndim != 2:
            raise InputError(f"Eigenvalues.of_rows: rows: expected shape (n, d); got {rows.shape}")
        n, d = rows.shape
        _require_rows(n, center)
        x = np.asarray(rows, dtype=np.float64)
        norms = np.einsum("ij,ij->i", x, x)
        mean = x.mean(axis=0)
        if center:
            x = x - mean
        sigma = scipy.linalg.svd(x, compute_uv=False)
        if sigma[0] ** 2 <= (CONSTANT * n * float(mean @ mean) if center else 0.0):
            raise NotEnoughData(_no_spectrum(center))
        floor = max(n, d) * EPSILON
        sigma[sigma < floor * sigma[0]] = 0.0
        if center and n <= d:
            sigma[n - 1 :] = 0.0
        values = sigma**2 / (n - 1 if center else n)
        return cls(
            values=values,
            n=n,
            d=d,
            centered=center,
            floor=floor,
            total=float(values.sum()),
            unit_rows=bool(np.all(np.abs(norms - 1.0) < UNIT_TOLERANCE)),
        )


_REDUCTION_PAYS = 64
"""From this many features on, one reduction for two spectra is faster than two decompositions."""

UNIT_TOLERANCE = 1e-5
"""How far squared norms may lie from one in unit rows (those rounded to float32: about 1e-7)."""


def has_unit_rows(moments: Moments) -> bool:
    """Returns whether the moments prove that every row has norm one.

    They do if the rows were normalised on the way in, or if the norm sums are there and say so: with k_i =
    |x_i|^2, mean(k) = 1 and mean(k^2) = 1 leave no room for any other k_i.
    """
    if moments.normalize == "l2":
        return True
    if moments.norm_sums is None or moments.n == 0:
        return False
    n = moments.n
    mean_square = (float(np.trace(moments.scatter)) + n * float(moments.mean @ moments.mean)) / n
    fourth = moments.norm_sums.moved(moments.mean, n, moments.scatter).fourth / n
    return abs(mean_square - 1.0) < UNIT_TOLERANCE and abs(fourth - 1.0) < 4.0 * UNIT_TOLERANCE


def both_raw(scatter: Float64Array, mean: Float64Array, n: int) -> tuple[Float64Array, Float64Array]:
    """Returns the ascending eigenvalues of ``scatter`` and of ``scatter + n mean mean^T``.

    Raises:
        NotEnoughData: if LAPACK does not converge, which finite input does not make it do.
    """
    from scipy.linalg import lapack

    if len(mean) < _REDUCTION_PAYS:
        about_zero = scatter + n * np.outer(mean, mean)
        return np.asarray(np.linalg.eigvalsh(scatter)), np.asarray(np.linalg.eigvalsh(about_zero))
    length = float(np.linalg.norm(mean))
    reduced = scatter.copy()
    if length > 0.0:
        reflector = mean / length
        reflector[0] += math.copysign(1.0, reflector[0])
        reflector /= np.linalg.norm(reflector)
        along = reduced @ reflector
        along -= reflector * (reflector @ along)
        update = np.outer(2.0 * reflector, along)
        reduced -= update
        reduced -= update.T
    # The lower variant leaves the first basis vector alone; the transpose hands LAPACK its own storage order.
    with one_thread(len(mean)):
        _, diagonal, off, _, info = lapack.dsytrd(reduced.T, lower=1, overwrite_a=1, lwork=64 * len(mean))
    if info:
        raise NotEnoughData(f"LAPACK could not reduce the second moments (info={info})")
    centred = _tridiagonal(lapack, diagonal, off)
    diagonal = diagonal.copy()
    diagonal[0] += n * length * length
    return centred, _tridiagonal(lapack, diagonal, off)


def _tridiagonal(lapack: Any, diagonal: Float64Array, off: Float64Array) -> Float64Array:
    values, info = lapack.dsterf(diagonal, off)
    if info:
        raise NotEnoughData(f"LAPACK found no eigenvalues of the second moments (info={info})")
    return np.asarray(values)


def _matrix(moments: Moments, center: bool) -> Float64Array:
    """Returns the second moments about the mean or zero, if they have a spectrum."""
    _require_rows(moments.n, center)
    matrix = moments.scatter if center else moments.gram
    of_mean = moments.n * float(moments.mean @ moments.mean)
    if float(np.trace(matrix)) <= (CONSTANT * of_mean if center else 0.0):
        raise NotEnoughData(_no_spectrum(center))
    return matrix


def _floor(moments: Moments, largest: float, center: bool) -> float:
    """Returns the relative floor on singular values that the error bound of the scatter implies.

    The bound is relative to the scatter. About zero the mean adds a part that is known in float64, so what
    the bound allows is small against a large mean.
    """
    share = 1.0 if center else min(1.0, float(np.linalg.norm(moments.scatter / largest)))
    return max(math.sqrt(moments.error_bound * share), LOWEST_FLOOR)


def _clean(values: Float64Array, *, n: int, centered: bool) -> Float64Array:
    kept = np.array(values[: min(n, values.size)])
    kept[kept < SOLVER_NOISE * kept[0]] = 0.0
    if centered and n <= values.size:
        # n centred rows sum to zero: they span n - 1 dimensions at most.
        kept[n - 1 :] = 0.0
    return kept


def _require_rows(n: int, center: bool) -> None:
    if n < (2 if center else 1):
        raise NotEnoughData(f"a spectrum needs at least {'2 rows when centred' if center else '1 row'}; got {n}")


def _no_spectrum(centered: bool) -> str:
    if centered:
        return "the features are constant: every row is the same, so there is no variance and no spectrum"
    return "every entry of the rows is zero, so there is no spectrum"


def _kind(centered: bool) -> str:
    return "centred" if centered else "uncentred"
