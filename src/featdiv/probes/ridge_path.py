"""The ridge solutions at every strength, from one eigendecomposition of the scatter of the features."""

from __future__ import annotations

import dataclasses

import numpy as np

from featdiv.errors import NotEnoughData
from featdiv.metrics.transferability.regression import LinearMoments
from featdiv.ops._blas import one_thread
from featdiv.stats.moments import Float64Array

DEFAULT_STRENGTHS = np.logspace(-6.0, 3.0, 19)
"""Multiples of the mean eigenvalue of the scatter: no choice of units matters."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RidgePath:
    """Least squares with an L2 penalty, minimising |y - b - X w|^2 + lambda |w|^2, for many lambda.

    Attributes:
        moments: what it was fitted to.
        lambdas: (l,) strengths, ascending.
        values: (d,) eigenvalues of the scatter.
        vectors: (d, d) its eigenvectors, as columns.
        along: (d, t) products of features and targets in those directions.
    """

    moments: LinearMoments
    lambdas: Float64Array
    values: Float64Array
    vectors: Float64Array
    along: Float64Array

    @classmethod
    def of(cls, moments: LinearMoments, lambdas: Float64Array | None = None) -> RidgePath:
        """Decomposes the scatter once.

        Raises:
            NotEnoughData: if all rows are equal.
        """
        import scipy.linalg

        with one_thread(len(moments.scatter)):
            values, vectors = scipy.linalg.eigh(moments.scatter, check_finite=False)
        values = np.maximum(values, 0.0)
        if not values[-1] > 0.0:
            raise NotEnoughData("all rows are equal: there is nothing to regress on")
        if lambdas is None:
            lambdas = DEFAULT_STRENGTHS * float(values.mean())
        return cls(moments=moments, lambdas=lambdas, values=values, vectors=vectors, along=vectors.T @ moments.cross)

    @property
    def degrees(self) -> Float64Array:
        """(l,) effective degrees of freedom: the trace of the hat matrix, the intercept included."""
        shares = self.values / (self.values + self.lambdas[:, None])
        degrees: Float64Array = 1.0 + shares.sum(axis=1)
        return degrees

    def generalised_cross_validation(self) -> Float64Array:
        """Returns (l,) mean squared error / (1 - degrees/n)^2, summed over targets; from moments alone.

        Source:
            Golub, Heath & Wahba 1979.
        """
        lambdas = self.lambdas[:, None]
        squares = np.square(self.along).sum(axis=1)
        explained = (squares * (self.values + 2.0 * lambdas) / np.square(self.values + lambdas)).sum(axis=1)
        n = self.moments.n
        error = np.maximum(float(self.moments.target_scatter.sum()) - explained, 0.0) / n
        # n <= d: all degrees are used up as lambda goes to 0, and both sides of the quotient vanish.
        left = np.maximum(1.0 - self.degrees / n, np.finfo(np.float64).eps)
        return np.asarray(error / left**2)

    def coefficients(self, at: int) -> tuple[Float64Array, Float64Array]:
        """Returns ((d, t) weights, (t,) intercepts) at one strength."""
        weights = self.vectors @ (self.along / (self.values + self.lambdas[at])[:, None])
        return weights, self.moments.target_mean - self.moments.mean @ weights

    def rotated(self, rows: Float64Array) -> Float64Array:
        """Returns rows about the mean, in the directions of the eigenvectors."""
        turned: Float64Array = (rows - self.moments.mean) @ self.vectors
        return turned

    def predicted(self, turned: Float64Array, at: int) -> Float64Array:
        """Returns (b, t) predictions for rotated rows at one strength."""
        predicted: Float64Array = turned @ (self.along / (self.values + self.lambdas[at])[:, None])
        return predicted + self.moments.target_mean

    def leverage(self, turned: Float64Array) -> Float64Array:
        """Returns (b, l) diagonal entries of the hat matrix for rotated rows that were fitted to."""
        inverse = 1.0 / (self.values[:, None] + self.lambdas)
        leverage: Float64Array = np.square(turned) @ inverse
        return leverage + 1.0 / self.moments.n

    def without_own(self, predicted: Float64Array, targets: Float64Array, leverage: Float64Array) -> Float64Array:
        """Returns what a fit without each row predicts for it: (y_hat - h y)/(1 - h)."""
        rest = np.maximum(1.0 - leverage, np.finfo(np.float64).eps)[:, None]
        return np.asarray((predicted - leverage[:, None] * targets) / rest)
