"""`ClassMoments`: what the labelled scores need to know about rows and their labels, in one mergeable value.

Everything is kept about the class means: merging two parts moves each common class by Chan's formula, and the
scatter within classes is only ever a sum of scatters about class means. It is never the total scatter less
that between classes, a difference that loses every digit once the classes have collapsed.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError, NotEnoughData
from featdiv.stats.class_labels import check_same_kind
from featdiv.stats.moments import Float64Array, Moments, agreed

if TYPE_CHECKING:
    import torch.distributed

    from featdiv.io.progress import Progress


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ClassMoments:
    """Counts, class means and within-class scatter of labelled rows; immutable, with an associative merge.

    Attributes:
        classes: (c,) labels that occur, sorted: int64 or strings.
        counts: (c,) int64 rows of each class, all at least 1.
        means: (c, d) float64 class means.
        within: (d, d) float64, symmetric: sum over all rows of (x - m)(x - m)^T, m the mean of the row's
            class. Not divided by anything.
        scatters: (c, d, d) float64 scatter of each class about its mean, or None where not asked for.
        normalize: ``"l2"`` if every row was divided by its Euclidean norm first, else None.
        dropped: rows left out, because of their label (``ignore=``) or because they were not finite.
        error_bound: relative error bound of the scatters, the worst of the parts merged.
        measured_error: largest relative error seen in spot checks of the parts merged, or None.
        dtype: element type of the rows, or ``"mixed"`` after merging parts of different types.
        backend: scatter backends that made it, comma-separated; empty for the identity.
        extraction: what the rows were extracted with, as in `Moments`.

    Example:
        >>> import numpy as np
        >>> from featdiv import ClassMoments
        >>> x = np.array([[0.0, 1.0], [0.0, 3.0], [4.0, 0.0]])
        >>> moments = ClassMoments.of(x, ["cat", "cat", "dog"])
        >>> moments.classes.tolist(), moments.counts.tolist()
        (['cat', 'dog'], [2, 1])
        >>> moments.within.tolist()
        [[0.0, 0.0], [0.0, 2.0]]
    """

    classes: npt.NDArray[Any]
    counts: npt.NDArray[np.int64]
    means: Float64Array
    within: Float64Array
    scatters: Float64Array | None = None
    normalize: str | None = None
    dropped: int = 0
    error_bound: float = 0.0
    measured_error: float | None = None
    dtype: str = ""
    backend: str = ""
    extraction: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        unit = ", normalize='l2'" if self.normalize else ""
        return f"ClassMoments({self.n} x {self.d} {self.dtype}".rstrip() + f", {self.c} classes{unit})"

    def __post_init__(self) -> None:
        c, d = self.means.shape if self.means.ndim == 2 else (-1, -1)
        fits = self.classes.shape == self.counts.shape == (c,) and self.within.shape == (d, d)
        if not fits or (self.scatters is not None and self.scatters.shape != (c, d, d)):
            raise InputError(
                "ClassMoments: expected classes (c,), counts (c,), means (c, d), within (d, d), "
                f"scatters (c, d, d); got {self.classes.shape}, {self.counts.shape}, {self.means.shape}, "
                f"{self.within.shape} and {None if self.scatters is None else self.scatters.shape}"
            )
        for array in (self.classes, self.counts, self.means, self.within, self.scatters):
            if array is not None:
                array.setflags(write=False)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Unpickled arrays are writable again.
        self.__dict__.update(state)
        self.__post_init__()

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.counts.sum())

    @property
    def d(self) -> int:
        """Number of features."""
        return int(self.means.shape[1])

    @property
    def c(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def mean(self) -> Float64Array:
        """(d,) mean of all rows."""
        return _weighted_mean(self.means, self.counts / max(self.n, 1))

    @classmethod
    def empty(cls, d: int, *, normalize: str | None = None, per_class: bool = False) -> ClassMoments:
        """Returns the identity of `merge`: the class moments of no rows."""
        return cls(
            classes=np.zeros(0, dtype=np.int64),
            counts=np.zeros(0, dtype=np.int64),
            means=np.zeros((0, d)),
            within=np.zeros((d, d)),
            scatters=np.zeros((0, d, d)) if per_class else None,
            normalize=normalize,
        )

    @classmethod
    def of(
        cls,
        rows: Any,
        labels: Any,
        *,
        per_class: bool = False,
        normalize: str | None = None,
        ignore: int | str | None = None,
        precision: str = "float32",
        backend: str = "auto",
        memory: int | float | str | None = None,
    ) -> ClassMoments:
        """Returns the class moments of an array of rows; short for `from_source` on it.

        Args:
            rows: (n, d) NumPy array, torch tensor, or anything else that `featdiv.open` takes.
            labels: (n,) integers or strings.
            per_class: as in `from_source`.
            normalize: as in `from_source`.
            ignore: as in `from_source`.
            precision: as in `from_source`.
            backend: as in `from_source`.
            memory: as in `from_source`.
        """
        return cls.from_source(
            rows,
            labels=labels,
            per_class=per_class,
            normalize=normalize,
            ignore=ignore,
            precision=precision,
            backend=backend,
            memory=memory,
        )

    @classmethod
    def from_source(
        cls,
        source: Any,
        *,
        labels: Any = None,
        per_class: bool = False,
        normalize: str | None = None,
        ignore: int | str | None = None,
        precision: str = "float32",
        backend: str = "auto",
        device: str | None = None,
        nonfinite: str = "raise",
        memory: int | float | str | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> ClassMoments:
        """Reads a labelled source once and returns the moments of its classes.

        Args:
            source: an `Embeddings`, or anything that `featdiv.open` takes.
            labels: one integer or string for each row; None where the source carries its labels. The label
                -1 means "not known" and is refused unless it is the one to ignore.
            per_class: also keep the scatter of each class: c d^2 numbers.
            normalize: ``"l2"`` divides each row by its Euclidean norm first.
            ignore: rows with this label are left out, and counted in ``dropped``.
            precision: as in `Moments.from_source`.
            backend: scatter backend, or ``"auto"``.
            device: torch device on which to work; None for where the rows are.
            nonfinite: ``"raise"``, or ``"drop"`` for leaving out rows with NaN or infinity.
            memory: budget in bytes or as text (``"8GB"``); None for a quarter of the machine's RAM.
            seed: seed of the spot checks that give ``measured_error``.
            progress: called with (rows done, rows in all or None) after every chunk.

        Raises:
            InputError: if an argument, the labels or the rows cannot be used.
            NonFiniteError: if a row holds NaN or infinity.
            ZeroNormError: with ``normalize="l2"``, if a row has norm zero.
            BudgetExceeded: if the result does not fit the budget. Raised before rows are read where the
                labels are known by then.

        Complexity:
            n d^2 multiply-adds, whatever c; memory O(d^2 + c d) beside one chunk of rows, with
            ``per_class`` c d^2.
        """
        from featdiv.stats.class_accumulate import read

        return read(
            source,
            labels=labels,
            per_class=per_class,
            normalize=normalize,
            ignore=ignore,
            precision=precision,
            backend=backend,
            device=device,
            nonfinite=nonfinite,
            memory=memory,
            seed=seed,
            progress=progress,
        )

    def merge(self, other: ClassMoments) -> ClassMoments:
        """Returns the class moments of both sets of rows together; a class may be absent on either side.

        Args:
            other: class moments of other rows with the same d, normalize and per_class setting.

        Raises:
            InputError: if the two do not describe the same kind of rows and labels.
        """
        self._check_mergeable(other)
        if self.c == 0 or other.c == 0:
            kept = other if self.c == 0 else self
            return dataclasses.replace(kept, dropped=self.dropped + other.dropped)
        classes = np.union1d(self.classes, other.classes)
        at, other_at = np.searchsorted(classes, self.classes), np.searchsorted(classes, other.classes)
        counts = np.zeros(len(classes), dtype=np.int64)
        means = np.zeros((len(classes), self.d))
        counts[at], means[at] = self.counts, self.means
        share = other.counts / (counts[other_at] + other.counts)
        delta = np.where(share[:, None] < 1.0, other.means - means[other_at], 0.0)
        weight = counts[other_at] * share
        # The class that is new has share 1: its mean is taken as it is, not rebuilt from a difference.
        means[other_at] = np.where(share[:, None] < 1.0, means[other_at] + delta * share[:, None], other.means)
        counts[other_at] += other.counts
        common = weight > 0.0
        step = delta[common] * np.sqrt(weight[common])[:, None]
        scatters = None
        if self.scatters is not None and other.scatters is not None:
            if len(classes) == self.c == other.c:
                scatters = self.scatters + other.scatters
            else:
                scatters = np.zeros((len(classes), self.d, self.d))
                scatters[at] = self.scatters
                scatters[other_at] += other.scatters
            for place, row in zip(other_at[common], step, strict=True):
                scatters[place] += np.outer(row, row)
        measured = [error for error in (self.measured_error, other.measured_error) if error is not None]
        return ClassMoments(
            classes=classes,
            counts=counts,
            means=means,
            within=self.within + other.within + step.T @ step,
            scatters=scatters,
            normalize=self.normalize,
            dropped=self.dropped + other.dropped,
            error_bound=max(self.error_bound, other.error_bound),
            measured_error=max(measured) if measured else None,
            dtype=self.dtype if self.dtype == other.dtype else "mixed",
            backend=",".join(sorted({*self.backend.split(","), *other.backend.split(",")} - {""})),
            extraction=agreed(self.extraction, other.extraction),
        )

    __add__ = merge

    def __radd__(self, zero: object) -> ClassMoments:
        """Adds nothing to 0, from which `sum` starts."""
        return self if isinstance(zero, int) and zero == 0 else NotImplemented

    def between(self, *, balanced: bool = False) -> Float64Array:
        """Returns the (d, d) scatter between classes: the scatter if every row lay at the mean of its class.

        With mu_k the mean of class k, it is sum_k n_k (mu_k - mu)(mu_k - mu)^T, mu the mean of all rows,
        so that ``within + between()`` is the total scatter.

        Args:
            balanced: give every class the same weight: n/c for n_k, and the mean of class means for mu.

        Raises:
            NotEnoughData: if there are no rows.
        """
        if not self.c:
            raise NotEnoughData("ClassMoments.between: expected at least one class; got no rows")
        weights = np.full(self.c, self.n / self.c) if balanced else self.counts.astype(np.float64)
        centred = self.means - _weighted_mean(self.means, weights / self.n)
        centred *= np.sqrt(weights)[:, None]
        between: Float64Array = centred.T @ centred
        return between

    def total(self) -> Moments:
        """Returns the `Moments` of all rows, whatever their class: scatter = within + between()."""
        return Moments(
            n=self.n,
            mean=self.mean,
            scatter=self.within + self.between() if self.c else np.zeros((self.d, self.d)),
            **self._provenance(),
        )

    def moments_of(self, label: int | str) -> Moments:
        """Returns the `Moments` of the rows of one class.

        Raises:
            InputError: if there is no such class, or the scatters of the classes were not kept.
        """
        place = np.flatnonzero(self.classes == label)
        if not len(place):
            shown = ", ".join(repr(one) for one in self.classes[:8].tolist())
            raise InputError(
                f"ClassMoments.moments_of: label: expected one of the {self.c} classes ({shown}"
                f"{', …' if self.c > 8 else ''}); got {label!r}"
            )
        if self.scatters is None:
            raise InputError(
                "ClassMoments.moments_of: needs the scatter of each class, which these moments lack. "
                "Make them with per_class=True."
            )
        k = int(place[0])
        return Moments(n=int(self.counts[k]), mean=self.means[k], scatter=self.scatters[k], **self._provenance())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the class moments to a ``.npz`` file that `load` reads; see `featdiv.stats.storage`.

        The file appears under its name only when it is complete.
        """
        from featdiv.stats import storage

        storage.save_class_moments(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ClassMoments:
        """Reads what `save` wrote.

        Raises:
            FormatError: if the file is not a complete class moments file of a version this featdiv knows.
            SourceNotFound: if there is no such file.
        """
        from featdiv.stats import storage

        return storage.load_class_moments(path)

    def all_reduce(self, group: torch.distributed.ProcessGroup | None = None) -> ClassMoments:
        """Returns the class moments of the rows of all processes, merged in rank order.

        A collective call: every process of ``group`` makes it, one without rows with `empty`, and all get the
        same bits.

        Args:
            group: process group of ``torch.distributed``; None for the default one.

        Raises:
            InputError: on every rank, if the ranks differ in d, normalize, per_class or the kind of labels.
        """
        from featdiv.stats import distributed

        return distributed.all_reduce_class_moments(self, group)

    def _provenance(self) -> dict[str, Any]:
        names = ("normalize", "error_bound", "measured_error", "dtype", "backend", "extraction")
        return {name: getattr(self, name) for name in names}

    def _check_mergeable(self, other: ClassMoments) -> None:
        if not isinstance(other, ClassMoments):
            raise InputError(f"ClassMoments.merge: other: expected ClassMoments; got {type(other).__name__}")
        if self.d != other.d:
            raise InputError(f"ClassMoments.merge: other: expected d={self.d} features; got d={other.d}")
        if self.normalize != other.normalize:
            raise InputError(
                f"ClassMoments.merge: other: expected normalize={self.normalize!r}; got {other.normalize!r}. "
                "Moments of raw and of normalised rows do not mix."
            )
        if (self.scatters is None) != (other.scatters is None):
            raise InputError(
                "ClassMoments.merge: one side has the scatter of each class and the other has not; "
                "make both with the same per_class="
            )
        check_same_kind(self.classes, other.classes, function="ClassMoments.merge")


def _weighted_mean(means: Float64Array, shares: Float64Array) -> Float64Array:
    """Returns the mean for shares that sum to one, taken about the first row: a common offset stays exact."""
    if not len(means):
        return np.zeros(means.shape[1])
    mean: Float64Array = means[0] + shares @ (means - means[0])
    return mean
