"""`Moments`: everything that the second-moment scores need to know about the rows, in one mergeable value.

The state is central: the scatter is kept about the mean of the rows it has seen, so merging never subtracts two
large numbers. For parts A and B with delta = mean_B - mean_A and n = n_A + n_B (Chan, Golub & LeVeque 1983):

    mean    = mean_A + delta n_B / n
    scatter = scatter_A + scatter_B + delta delta^T n_A n_B / n

The optional norm-weighted sums (`NormSums`) follow by the binomial expansion of |z + delta|^2.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError

if TYPE_CHECKING:
    import torch.distributed

    from featdiv.io.progress import Progress

Float64Array = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class NormSums:
    """Sums weighted by squared row norms, about the mean: z_i = x_i - mean, k_i = |z_i|^2.

    Attributes:
        weighted: (d,) float64, sum of k_i z_i. Debiased CKA needs it.
        fourth: sum of k_i^2. Debiased CKA and Ledoit-Wolf shrinkage need it.
    """

    weighted: Float64Array
    fourth: float

    def __post_init__(self) -> None:
        self.weighted.setflags(write=False)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()

    def moved(self, offset: Float64Array, n: int, scatter: Float64Array) -> NormSums:
        """Returns the sums about ``mean - offset``, where z_i becomes z_i + offset (the z_i still sum to zero)."""
        square = float(offset @ offset)
        trace = float(np.trace(scatter))
        along = scatter @ offset
        return NormSums(
            weighted=self.weighted + 2.0 * along + offset * (trace + n * square),
            fourth=max(
                0.0,
                self.fourth
                + 4.0 * float(offset @ self.weighted)
                + 4.0 * float(offset @ along)
                + 2.0 * square * trace
                + n * square * square,
            ),
        )

    def __add__(self, other: NormSums) -> NormSums:
        return NormSums(weighted=self.weighted + other.weighted, fourth=self.fourth + other.fourth)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Count, mean and scatter of rows; an immutable value with an identity and an associative merge.

    Attributes:
        n: number of rows.
        mean: (d,) float64.
        scatter: (d, d) float64, symmetric: sum over rows of (x - mean)(x - mean)^T. Not divided by n.
        normalize: ``"l2"`` if every row was divided by its Euclidean norm first, else None.
        norm_sums: the norm-weighted sums, or None where they were not asked for.
        error_bound: relative error bound of the scatter, the worst of the parts merged.
        measured_error: largest relative error seen in spot checks of the parts merged, or None.
        dtype: element type of the rows, or ``"mixed"`` after merging parts of different types.
        backend: scatter backend that made it, comma-separated after merging different ones; empty for the identity.
        extraction: what the rows were extracted with (`Provenance.extraction`), as far as all parts merged agree; None
            where it is not known of all of them.

    Example:
        >>> import numpy as np
        >>> from featdiv import Moments
        >>> x = np.random.default_rng(0).normal(size=(1000, 4))
        >>> whole = Moments.of(x, precision="float64")
        >>> halves = Moments.of(x[:300], precision="float64") + Moments.of(x[300:], precision="float64")
        >>> bool(np.allclose(whole.scatter, halves.scatter, rtol=1e-12, atol=0))
        True
    """

    n: int
    mean: Float64Array
    scatter: Float64Array
    normalize: str | None = None
    norm_sums: NormSums | None = None
    error_bound: float = 0.0
    measured_error: float | None = None
    dtype: str = ""
    backend: str = ""
    extraction: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        unit = ", normalize='l2'" if self.normalize else ""
        return f"Moments({self.n} x {self.d} {self.dtype}".rstrip() + f"{unit})"

    def __post_init__(self) -> None:
        if self.mean.ndim != 1 or self.scatter.shape != (self.mean.size, self.mean.size):
            raise InputError(
                "Moments: expected mean of shape (d,) and scatter of shape (d, d); "
                f"got {self.mean.shape} and {self.scatter.shape}"
            )
        for array in (self.mean, self.scatter):
            array.setflags(write=False)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Unpickled arrays are writable again.
        self.__dict__.update(state)
        self.__post_init__()

    @property
    def d(self) -> int:
        """Number of features."""
        return int(self.mean.size)

    @property
    def covariance(self) -> Float64Array:
        """(d, d) scatter / (n - 1), the unbiased covariance.

        Raises:
            NotEnoughData: if n < 2.
        """
        if self.n < 2:
            from featdiv.errors import NotEnoughData

            raise NotEnoughData(f"Moments.covariance: expected at least 2 rows; got {self.n}")
        return self.scatter / (self.n - 1)

    @property
    def gram(self) -> Float64Array:
        """(d, d) uncentred X^T X = scatter + n mean mean^T."""
        return self.scatter + self.n * np.outer(self.mean, self.mean)

    @classmethod
    def empty(cls, d: int, *, normalize: str | None = None, norm_sums: bool = False) -> Moments:
        """Returns the identity of `merge`: the moments of no rows."""
        return cls(
            n=0,
            mean=np.zeros(d),
            scatter=np.zeros((d, d)),
            normalize=normalize,
            norm_sums=NormSums(weighted=np.zeros(d), fourth=0.0) if norm_sums else None,
        )

    @classmethod
    def of(
        cls,
        rows: Any,
        *,
        normalize: str | None = None,
        norm_sums: bool = False,
        precision: str = "float32",
        backend: str = "auto",
    ) -> Moments:
        """Returns the moments of an array of rows; short for `from_source` on it.

        Args:
            rows: (n, d) NumPy array, torch tensor, or anything else that `featdiv.open` takes.
            normalize, norm_sums, precision, backend: as in `from_source`.
        """
        return cls.from_source(rows, normalize=normalize, norm_sums=norm_sums, precision=precision, backend=backend)

    @classmethod
    def from_source(
        cls,
        source: Any,
        *,
        normalize: str | None = None,
        norm_sums: bool = False,
        precision: str = "float32",
        backend: str = "auto",
        device: str | None = None,
        nonfinite: str = "raise",
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Moments:
        """Reads a source once and returns the moments of its rows.

        Args:
            source: an `Embeddings`, or anything that `featdiv.open` takes.
            normalize: ``"l2"`` divides each row by its Euclidean norm first.
            norm_sums: also keep the norm-weighted sums.
            precision: ``"float64"``, ``"float32"``, ``"mixed"`` or ``"bfloat16"``: the bound on the relative error
                of the scatter is 1e-14, 1e-6, 2^-14 or 5e-3.
            backend: scatter backend, or ``"auto"``.
            device: torch device on which to work; None for where the rows are.
            nonfinite: ``"raise"``, or ``"drop"`` for leaving out rows with NaN or infinity.
            seed: seed of the spot checks that give ``measured_error``.
            progress: called with (rows done, rows in all or None) after every chunk.

        Raises:
            InputError: if an argument or the rows cannot be used.
            NonFiniteError: if a row holds NaN or infinity.
            ZeroNormError: with ``normalize="l2"``, if a row has norm zero.

        Complexity:
            n d^2 multiply-adds; memory O(d^2) beside one chunk of rows.
        """
        from featdiv.stats import arguments, grouped

        arguments.check(
            "Moments.from_source",
            normalize=normalize,
            precision=precision,
            backend=backend,
            nonfinite=nonfinite,
            seed=seed,
            progress=progress,
        )
        device = grouped.check_device(device, function="Moments.from_source")
        with grouped.opened(source, function="Moments.from_source", argument="source") as embeddings:
            read = grouped.read(
                embeddings,
                function="Moments.from_source",
                normalize=normalize,
                norm_sums=norm_sums,
                precision=precision,
                backend=backend,
                device=device,
                nonfinite=nonfinite,
                seed=seed,
                progress=progress,
            )
        return read.total

    def merge(self, other: Moments) -> Moments:
        """Returns the moments of both sets of rows together.

        Args:
            other: moments of other rows with the same d, normalize and norm_sums setting.

        Raises:
            InputError: if the two do not describe the same kind of rows.
        """
        self._check_mergeable(other)
        if self.n == 0:
            return other
        if other.n == 0:
            return self
        n = self.n + other.n
        delta = other.mean - self.mean
        share = other.n / n
        scatter = self.scatter + other.scatter
        step = delta * np.sqrt(self.n * share)
        scatter += np.outer(step, step)
        norm_sums = None
        if self.norm_sums is not None and other.norm_sums is not None:
            norm_sums = self.norm_sums.moved(-delta * share, self.n, self.scatter) + other.norm_sums.moved(
                delta * (1.0 - share), other.n, other.scatter
            )
        measured = [error for error in (self.measured_error, other.measured_error) if error is not None]
        return Moments(
            n=n,
            mean=self.mean + delta * share,
            scatter=scatter,
            normalize=self.normalize,
            norm_sums=norm_sums,
            error_bound=max(self.error_bound, other.error_bound),
            measured_error=max(measured) if measured else None,
            dtype=self.dtype if self.dtype == other.dtype else "mixed",
            backend=",".join(sorted({*self.backend.split(","), *other.backend.split(",")} - {""})),
            extraction=agreed(self.extraction, other.extraction),
        )

    __add__ = merge

    def __radd__(self, zero: object) -> Moments:
        """Adds nothing to 0, from which `sum` starts."""
        return self if isinstance(zero, int) and zero == 0 else NotImplemented

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the moments to a ``.npz`` file that `load` reads; see `featdiv.stats.storage`.

        The file appears under its name only when it is complete.
        """
        from featdiv.stats import storage

        storage.save_moments(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Moments:
        """Reads what `save` wrote.

        Raises:
            FormatError: if the file is not a complete moments file of a version this featdiv knows.
            SourceNotFound: if there is no such file.
        """
        from featdiv.stats import storage

        return storage.load_moments(path)

    def all_reduce(self, group: torch.distributed.ProcessGroup | None = None) -> Moments:
        """Returns the moments of the rows of all processes, merged in rank order; every rank gets the same bits.

        A collective call: every process of ``group`` makes it, one without rows with `empty`.

        Args:
            group: process group of ``torch.distributed``; None for the default one.

        Raises:
            InputError: on every rank, if the ranks differ in d, normalize or norm_sums.
        """
        from featdiv.stats import distributed

        return distributed.all_reduce_moments(self, group)

    def _check_mergeable(self, other: Moments) -> None:
        if not isinstance(other, Moments):
            raise InputError(f"Moments.merge: other: expected Moments; got {type(other).__name__}")
        if self.d != other.d:
            raise InputError(f"Moments.merge: other: expected d={self.d} features; got d={other.d}")
        if self.normalize != other.normalize:
            raise InputError(
                f"Moments.merge: other: expected normalize={self.normalize!r}; got {other.normalize!r}. "
                "Moments of raw and of normalised rows do not mix."
            )
        if (self.norm_sums is None) != (other.norm_sums is None):
            raise InputError(
                "Moments.merge: one side has norm sums and the other has not; make both with the same norm_sums="
            )


def agreed(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Returns the facts of two extractions that are the same in both; None where one is not known, or none is.

    Example:
        >>> agreed({"model": "resnet18", "data": "a"}, {"model": "resnet18", "data": "b"})
        {'model': 'resnet18'}
    """
    if one is None or other is None:
        return None
    return {name: fact for name, fact in one.items() if name in other and other[name] == fact} or None


def clear_negative_squares(scatter: Float64Array) -> None:
    """Sets negative diagonal entries to zero, in place: rounding leaves some where a column is constant.

    Args:
        scatter: (..., d, d) sums of squares and products from which means have been subtracted.
    """
    diagonal = np.einsum("...ii->...i", scatter)
    np.maximum(diagonal, 0.0, out=diagonal)
