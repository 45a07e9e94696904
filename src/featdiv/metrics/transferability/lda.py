"""LDA: how well a shrunk linear discriminant, fitted without a row, predicts the label of that row."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError, NotEnoughData
from featdiv.metrics.labelled.inputs import opened, provenance_of, read_classes, require_classes, speaking_for
from featdiv.metrics.transferability.labelled_blocks import labelled_blocks, require_two_readings
from featdiv.metrics.transferability.shrinkage import oracle_approximating
from featdiv.ops._blas import one_thread
from featdiv.results import Interval, Score
from featdiv.stats import ClassMoments, arguments, resampling
from featdiv.stats.group_means import GroupSums, standard_error
from featdiv.stats.moments import Float64Array


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Discriminant:
    """A shrunk linear discriminant.

    Attributes:
        classes: the class moments that it was fitted to.
        shrinkage: share of the identity in the covariance within classes.
        whiten: (d, r) matrix A with A A^T the inverse of (1 - a) W + a Tr(W)/d I, up to its null space.
    """

    classes: ClassMoments
    shrinkage: float
    whiten: Float64Array

    @property
    def degrees(self) -> int:
        """Degrees of freedom of the scatter within classes, n - c."""
        return self.classes.n - self.classes.c


def core(classes: ClassMoments, shrinkage: float | None = None) -> Discriminant:
    """Returns the discriminant of class moments: classes N(mu_c, S), S = ((1 - a) W + a Tr(W)/d I)/(n - c).

    Args:
        classes: class moments; W is their scatter within classes.
        shrinkage: a; None for the oracle approximating one.

    Raises:
        NotEnoughData: if there is one class, or no scatter within classes.
    """
    import scipy.linalg

    check_shrinkage(shrinkage)
    require_classes(classes)
    degrees = classes.n - classes.c
    if degrees < 2:
        raise NotEnoughData(
            f"a covariance within classes needs 2 rows more than classes; got {classes.n} rows of {classes.c}"
        )
    trace = float(np.trace(classes.within))
    if not trace > 0.0:
        raise NotEnoughData("every class is a point: there is no scatter within classes")
    a = oracle_approximating(classes.within, degrees) if shrinkage is None else shrinkage
    with one_thread(classes.d):
        values, vectors = scipy.linalg.eigh(classes.within, check_finite=False)
    values = (1.0 - a) * np.maximum(values, 0.0) + a * trace / classes.d
    kept = values > values[-1] * max(classes.n, classes.d) * np.finfo(np.float64).eps
    return Discriminant(classes=classes, shrinkage=a, whiten=vectors[:, kept] / np.sqrt(values[kept]))


def check_shrinkage(shrinkage: float | None) -> None:
    """Raises `InputError` unless the shrinkage is a share, or None."""
    expected = "a share from 0 to 1, or None to estimate it"
    if shrinkage is not None:
        arguments.number("lda", "shrinkage", shrinkage, expected, lambda share: 0.0 <= share <= 1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What the discriminant said of rows that it was fitted without.

    Attributes:
        log_likelihood: mean of ln P(label), over the rows whose class has other rows.
        correct: rows whose label had the largest probability.
        rows: rows in all.
        alone: rows that are alone in their class: without them it is gone, so they count as wrong.
        standard_error: of ``log_likelihood``, from its spread over rows, or over groups of rows; NaN for one group.
        groups: rows, or groups of them, whose spread it is.
        alike: how many rows of each group are right; None without groups.
    """

    log_likelihood: float
    standard_error: float
    correct: int
    rows: int
    alone: int
    groups: int
    alike: GroupSums | None = None

    def interval(self, *, d: int) -> Interval | None:
        """Returns the 95 % interval of the mean log-likelihood; None with one row, or one group of rows."""
        if self.groups < 2:
            return None
        return resampling.symmetric(
            self.log_likelihood,
            self.standard_error,
            groups=self.groups,
            method="standard error over rows" if self.alike is None else "standard error over groups",
            estimand=f"expected at n={self.rows}, d={d}",
        )


class LeaveOneOut:
    """What each row's label gets from the discriminant of all other rows, from one more reading.

    Taking a row out moves the mean of its class by -r/(n_c - 1), r its distance from it, and the scatter
    within classes by a matrix of rank one, -n_c/(n_c - 1) r r^T: Sherman & Morrison's identity gives all
    squared distances from the products that the whole's whitening makes. The ridge, a Tr(W)/d, stays the whole's.
    """

    def __init__(self, fitted: Discriminant, groups: Any = None) -> None:
        self._fitted = fitted
        self._alike = None if groups is None else GroupSums.of(groups)
        self._likelihoods = None if groups is None else GroupSums.of(groups)
        classes = fitted.classes
        self._means = (classes.means - classes.mean) @ fitted.whiten
        self._squares = np.einsum("ij,ij->i", self._means, self._means)
        self._counts = classes.counts.astype(np.float64)
        self._total = self._squared = 0.0
        self._correct = self._rows = self._alone = 0

    def add(self, rows: Float64Array, codes: npt.NDArray[np.int64], at: npt.NDArray[np.int64]) -> None:
        """Takes a block of rows, the index of each row's class, and its place in the source."""
        z = (rows - self._fitted.classes.mean) @ self._fitted.whiten
        index = np.arange(len(z))
        own = self._counts[codes]
        distances = np.einsum("ij,ij->i", z, z)[:, None] - 2.0 * (z @ self._means.T) + self._squares
        r = z - self._means[codes]
        leverage = np.einsum("ij,ij->i", r, r)
        # (x - mu_j)^T M^-1 r for every class j, M the shrunk scatter of all rows.
        across = np.einsum("ij,ij->i", z, r)[:, None] - r @ self._means.T
        keep = 1.0 - self._fitted.shrinkage
        lone = own < 2.0
        swell = own / np.maximum(own - 1.0, 1.0)
        rest = np.maximum(1.0 - keep * swell * leverage, np.finfo(np.float64).eps)
        distances += (keep * swell / rest)[:, None] * np.square(across)
        distances[index, codes] = np.square(swell) * leverage / rest
        logits = np.log(self._counts) - 0.5 * max(self._fitted.degrees - 1, 1) * distances
        logits[index, codes] -= np.log(swell)
        logits, truth = logits[~lone], codes[~lone]
        top = logits.max(axis=1)
        chosen = logits[np.arange(len(truth)), truth]
        likelihood = chosen - top - np.log(np.exp(logits - top[:, None]).sum(axis=1))
        self._total += float(likelihood.sum())
        self._squared += float(likelihood @ likelihood)
        right = logits.argmax(axis=1) == truth
        if self._alike is not None and self._likelihoods is not None:
            self._alike.add(at[~lone], right)
            self._alike.count(at)
            self._likelihoods.add(at[~lone], likelihood)
            self._likelihoods.count(at[~lone])
        self._correct += int(right.sum())
        self._rows += len(z)
        self._alone += int(lone.sum())

    def result(self) -> LeftOut:
        """Returns what was found.

        Raises:
            NotEnoughData: if every row is alone in its class, or the log-likelihood overflows.
        """
        if self._rows == self._alone:
            raise NotEnoughData("every class has one row: without it there is nothing to predict it from")
        judged = self._rows - self._alone
        likelihood = self._total / judged
        if not math.isfinite(likelihood):
            raise NotEnoughData("the log-likelihood overflows float64; scale the rows down")
        variance = max(self._squared / judged - likelihood * likelihood, 0.0)
        groups, error = judged, math.sqrt(variance / max(judged - 1, 1))
        if self._likelihoods is not None:
            sums, counts = self._likelihoods.seen()
            groups, error = len(counts), standard_error(sums, counts) if len(counts) > 1 else math.nan
        return LeftOut(
            log_likelihood=likelihood,
            standard_error=error,
            groups=groups,
            alike=self._alike,
            correct=self._correct,
            rows=self._rows,
            alone=self._alone,
        )


def lda(
    x: Any,
    labels: Any = None,
    *,
    shrinkage: float | None = None,
    normalize: str | None = None,
    ignore: int | str | None = None,
    precision: str = "float64",
    backend: str = "auto",
    groups: Any = None,
) -> Score:
    """LDA: the mean over rows of ln P(label), by the shrunk linear discriminant of all other rows.

    Classes are Gaussians with their means, one covariance S = ((1 - a) W + a Tr(W)/d I)/(n - c), W the scatter
    within classes, and their shares of the rows as priors. Leaving a row out is exact, by a correction of rank
    one, except that a Tr(W)/d stays that of all rows.

    Args:
        x: rows (array, path, source) that can be read twice.
        labels: one integer or string for each row; None where ``x`` carries them.
        shrinkage: the share a; None for the oracle approximating shrinkage (Chen et al. 2010).
        normalize: ``"l2"`` to divide each row by its norm first.
        ignore: rows with this label are left out; -1, which marks a missing label, is refused otherwise.
        precision: arithmetic of the second moments.
        backend: backend of the second moments.
        groups: (n,) group of each row (video, patient, document), integers or strings: the interval takes the rows of a
            group for alike.

    Returns:
        A `Score` of at most 0, in nats for each row; its scores also hold ``lda_accuracy``, the share of rows
        whose label is the most probable one. The interval is of the spread over rows, or over groups of rows. Rows that
        are alone in their class are left out of the first and count as wrong in the second; ``details["alone"]`` says
        how many.

    Raises:
        NotEnoughData: if there is one class, or no scatter within classes.
        InputError: if an argument cannot be used, labels are missing, or the rows can be read only once.

    Complexity:
        O(n d^2 + n c d) time in two readings; memory O(d^2 + c d).

    Source:
        Friedman 1989 for the shrunk discriminant; Chen et al. 2010 for the amount.

    Example:
        >>> import featdiv, numpy as np
        >>> labels = np.repeat([0, 1], 50)
        >>> x = np.random.default_rng(0).normal(size=(100, 3)) + 4.0 * labels[:, None]
        >>> score = featdiv.lda(x, labels)
        >>> score.scores["lda_accuracy"], float(score) > -0.01
        (1.0, True)
    """
    check_shrinkage(shrinkage)
    if isinstance(x, ClassMoments):
        raise InputError("lda: x: expected labelled rows; got ClassMoments, which no longer hold them. Pass the rows")
    with opened(x, labels, function="lda", groups=groups) as source:
        require_two_readings(source, function="lda", what="leaving out each row")
        classes = read_classes(
            source, function="lda", normalize=normalize, ignore=ignore, precision=precision, backend=backend
        )
        provenance = provenance_of(classes, function="lda", source=source, precision=precision)
        try:
            fitted = core(classes, shrinkage)
            with speaking_for("lda"):
                judge = LeaveOneOut(fitted, source.groups)
                for rows, codes, at in labelled_blocks(
                    source, classes.classes, function="lda", normalize=normalize, ignore=ignore
                ):
                    judge.add(rows, codes, at)
            found = judge.result()
            interval = found.interval(d=classes.d)
        except NotEnoughData as error:
            raise NotEnoughData(f"lda: {error}") from None
    return Score(
        name="lda",
        scores={"lda": found.log_likelihood, "lda_accuracy": found.correct / found.rows},
        intervals={} if interval is None else {"lda": interval},
        details={"shrinkage": fitted.shrinkage, "classes": classes.c, "alone": found.alone},
        provenance=dataclasses.replace(
            provenance,
            passes=2,
            method="class moments, leave-one-out",
            arguments={**provenance.arguments, "shrinkage": fitted.shrinkage},
        ),
    )
