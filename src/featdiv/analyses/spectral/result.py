"""`Spectrum`: what `featdiv.spectrum` returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from featdiv.metrics.spectral import noise
from featdiv.results import Result
from featdiv.stats.moments import Moments

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from featdiv.metrics.spectral.eigenvalues import Eigenvalues

Float64Array = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Spectrum(Result):
    """The spectrum of a set of rows, and the scores that follow from it.

    Every score is also an attribute that returns a plain float, or raises `NotEnoughData` where the score is
    undefined for these rows.

    Attributes:
        eigen: the eigenvalues with what they are of; the input of the cores in `featdiv.metrics`.
        mean: (d,) float64 mean of the rows.
        moments: second moments of the rows, or None where the method does not form them.
        fit: details of the power-law fit behind ``alpha_req``: range, standard error, R squared, intercept; empty
            where it is undefined.
        noise: details behind ``marchenko_pastur``: edge and noise variance; empty where it is undefined.
        per_class: label to the spectrum of that class, where labels were given.
        per_class_skipped: label to the reason why that class has no spectrum.
    """

    eigen: Eigenvalues
    mean: Float64Array
    moments: Moments | None = None
    fit: Mapping[str, float] = dataclasses.field(default_factory=dict)
    noise: Mapping[str, float] = dataclasses.field(default_factory=dict)
    per_class: Mapping[Any, Spectrum] = dataclasses.field(default_factory=dict)
    per_class_skipped: Mapping[Any, str] = dataclasses.field(default_factory=dict)

    _array_fields: ClassVar[tuple[str, ...]] = (
        "n",
        "d",
        "centered",
        "eigenvalues",
        "singular_values",
        "noise_floor",
        "mean",
        "fit",
        "noise",
        "baselines",
        "per_class",
        "per_class_skipped",
    )

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.eigen.n

    @property
    def d(self) -> int:
        """Number of features."""
        return self.eigen.d

    @property
    def centered(self) -> bool:
        """Whether the mean was subtracted."""
        return self.eigen.centered

    @property
    def eigenvalues(self) -> Float64Array:
        """(r,) descending eigenvalues of the covariance Xc^T Xc / (n - 1), or of X^T X / n when not centred."""
        return self.eigen.values

    @property
    def singular_values(self) -> Float64Array:
        """(r,) descending singular values of the centred rows, or of the rows when not centred."""
        return self.eigen.singular_values

    @property
    def noise_floor(self) -> float:
        """Singular value below which nothing is resolved: numerical noise of the method and precision used."""
        return float(self.eigen.floor * self.singular_values[0])

    @property
    def total_variance(self) -> float:
        """Sum of all eigenvalues, including those that were not computed."""
        return float(self.eigen.total)

    @property
    def explained_variance_ratio(self) -> Float64Array:
        """(r,) eigenvalues over the total variance."""
        return np.asarray(self.eigenvalues / self.total_variance)

    @property
    def baselines(self) -> dict[str, float]:
        """Score name to the value that isotropic noise of the same n and d gives, where it is known."""
        if not self.centered:
            return noise.baselines(["rankme", *(["vendi"] if "vendi" in self.scores else [])], self.n, self.d)
        return noise.baselines(list(self.scores), self.n, self.d)

    @property
    def effective_rank(self) -> float:
        """Exponential of the entropy of sigma / sum(sigma); Roy & Vetterli 2007."""
        return self.read("effective_rank")

    @property
    def rankme(self) -> float:
        """RankMe on the uncentred rows, whatever ``center``; Garrido et al. 2023."""
        return self.read("rankme")

    @property
    def participation_ratio(self) -> float:
        """(sum lambda)^2 / sum lambda^2; Gao et al. 2017."""
        return self.read("participation_ratio")

    @property
    def stable_rank(self) -> float:
        """Total variance over the largest eigenvalue; Rudelson & Vershynin 2007."""
        return self.read("stable_rank")

    @property
    def spectral_entropy(self) -> float:
        """Entropy of lambda / sum(lambda), in nats."""
        return self.read("spectral_entropy")

    @property
    def alpha_req(self) -> float:
        """Exponent of the power law fitted to the eigenvalues (range and error in `fit`); Agrawal et al. 2022."""
        return self.read("alpha_req")

    @property
    def condition_number(self) -> float:
        """sqrt(lambda_1 / lambda_min), lambda_min the smallest eigenvalue above the noise floor."""
        return self.read("condition_number")

    @property
    def marchenko_pastur(self) -> float:
        """Number of eigenvalues above the edge of pure noise (edge in `noise`); Gavish & Donoho 2014."""
        return self.read("marchenko_pastur")

    @property
    def vendi(self) -> float:
        """Vendi score of the cosine kernel, where rows have unit norm; Friedman & Dieng 2023."""
        return self.read("vendi")

    @property
    def mean_cosine(self) -> float:
        """Mean cosine over pairs of rows, where rows have unit norm."""
        return self.read("mean_cosine")

    @property
    def mean_squared_cosine(self) -> float:
        """Mean squared cosine over pairs of rows, where rows have unit norm."""
        return self.read("mean_squared_cosine")

    def components_for(self, q: float) -> int:
        """Returns the smallest k whose leading k eigenvalues hold a share ``q`` of the variance.

        Args:
            q: share, in (0, 1].

        Raises:
            NotEnoughData: if only leading eigenvalues were computed and they hold less.

        Example:
            >>> import featdiv, numpy as np
            >>> x = np.random.default_rng(0).normal(size=(500, 10)) * [9, 9, 1, 1, 1, 1, 1, 1, 1, 1]
            >>> featdiv.spectrum(x).components_for(0.9)
            2
        """
        from featdiv.metrics.spectral import components_for as metric

        metric.check_share(q, function="Spectrum.components_for")
        return int(metric.core(self.eigen, q=q))

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draws the spectrum on log-log axes with its power-law fit, noise floor and Marchenko-Pastur edge.

        Args:
            ax: axes to draw the spectrum on; None for a new figure, which also shows the cumulative variance.

        Returns:
            The figure that was drawn on.
        """
        from featdiv.analyses.spectral import plot

        return plot.draw(self, ax)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value:.5g}" for name, value in list(self.scores.items())[:4])
        return f"Spectrum({self.n} x {self.d}, {shown}, …)"
