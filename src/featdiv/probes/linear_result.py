"""`LinearProbe`: what `featdiv.linear_probe` returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError
from featdiv.ops.scatter import reference
from featdiv.results import Result
from featdiv.stats import grouped
from featdiv.stats.moments import Float64Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


SOURCES = (
    "Liu & Nocedal 1989, On the limited memory BFGS method for large scale optimization. Mathematical Programming 45",
    "Böhning 1992, Multinomial logistic regression algorithm. Annals of the Institute of Statistical Mathematics 44",
)
MOST_FOR_TOP5 = 5
"""Classes up to which the accuracy among the five largest logits says nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitted:
    """One C: the fit, how well it was solved, and how well it did on held-out rows.

    With folds, seeds or several labels a row, a C has several fits: the numbers here are of the worst solved one, the
    objective is their mean.

    Attributes:
        C: inverse strength of the penalty.
        objective: C sum_i s_i loss_i + |W|^2 / 2, as in scikit-learn.
        gradient_norm: largest entry of the gradient of the objective over C sum_i s_i: what scikit-learn's ``tol``
            bounds.
        gap: bound on how far the objective is above its minimum, relative to it: |grad_W|^2 / 2, by the strong
            convexity that the penalty gives. The intercept has no penalty: with one, the bound leaves out what the
            slope along it, which ``gradient_norm`` bounds, still allows.
        decrement: estimate of the same, from the curvature that the last steps showed; what the tolerance bounds.
        iterations: steps taken.
        converged: whether the tolerance was reached.
        selection: value of the selection metric on held-out rows, mean over folds and seeds; None without any.
    """

    C: float
    objective: float
    gradient_norm: float
    gap: float
    decrement: float
    iterations: int
    converged: bool
    selection: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LinearProbe(Result):
    """Result of `linear_probe`.

    ``scores`` hold ``C``, then on the rows on which C was chosen (prefix ``val_``, ``holdout_`` or ``folds_``) and on
    ``test`` (prefix ``test_``): ``accuracy``, ``top5_accuracy`` (with more than five classes) and ``mean_per_class``;
    with several labels a row ``map`` and ``map_voc2007``.

    Attributes:
        path: one `Fitted` for each C, ascending.
        chosen: index of the C that was chosen; None where there were several and no held-out rows to choose on.
        chosen_by: ``"val"``, ``"holdout"``, ``"folds"``, or ``"given"`` for a single C; None where none was chosen.
        metric: what C was chosen by.
        classes: the labels, sorted; numbers of the columns where there are several a row.
        several: whether a row may have several labels.
        coefficients: (k, d) weights at the chosen C, for rows as they are (after ``normalize``); k is 1 for two
            classes, whose second one the logit speaks for, else the number of classes. Without a choice, those of
            the largest C.
        intercept: (k,) intercepts there.
        path_coefficients: (p, k, d) weights of every C, of the fit to the selection's training rows where there is one
            such fit, else None.
        path_intercepts: (p, k) their intercepts, or None.
        per_class: label to accuracy (average precision) on ``test``, or on the rows on which C was chosen.
    """

    path: tuple[Fitted, ...]
    chosen: int | None
    chosen_by: str | None
    metric: str
    classes: npt.NDArray[Any]
    several: bool
    coefficients: Float64Array
    intercept: Float64Array
    path_coefficients: Float64Array | None
    path_intercepts: Float64Array | None
    per_class: Mapping[Any, float] = dataclasses.field(default_factory=dict)

    _array_fields: ClassVar[tuple[str, ...]] = ("path", "chosen", "chosen_by", "metric", "classes", "per_class")

    @property
    def C(self) -> float:  # noqa: N802 - the name that everyone uses
        """The C that was chosen.

        Raises:
            NotEnoughData: if none was.
        """
        return self.read("C")

    @property
    def converged(self) -> bool:
        """Whether every C reached the tolerance."""
        return all(fitted.converged for fitted in self.path)

    def decision_function(self, x: Any) -> Float64Array:
        """Returns logits of rows: (m,) for two classes, positive for the second, else (m, k).

        Raises:
            InputError: if the rows have another number of features.
        """
        with grouped.opened(x, function="LinearProbe.decision_function") as source:
            d = self.coefficients.shape[1]
            if source.d != d:
                raise InputError(f"LinearProbe.decision_function: x: expected {d} features; got {source.d}")
            normalize = self.provenance.arguments.get("normalize")
            weights = self.coefficients.T
            parts = [reference.transformed(chunk.rows, normalize=normalize) @ weights for chunk in source.chunks()]
        logits: Float64Array = np.concatenate(parts) + self.intercept
        return logits[:, 0] if logits.shape[1] == 1 and not self.several else logits

    def predict_proba(self, x: Any) -> Float64Array:
        """Returns (m, c) probabilities of rows; of each label by itself where a row may have several."""
        from scipy.special import expit, softmax

        logits = self.decision_function(x)
        if self.several:
            return np.asarray(expit(logits))
        if logits.ndim == 1:
            return np.stack([expit(-logits), expit(logits)], axis=1)
        return np.asarray(softmax(logits, axis=1))

    def predict(self, x: Any) -> npt.NDArray[Any]:
        """Returns the label of each row; (m, l) zeros and ones where a row may have several."""
        logits = self.decision_function(x)
        if self.several:
            return (logits > 0).astype(np.int64)
        found: npt.NDArray[Any] = self.classes[(logits > 0).astype(np.int64) if logits.ndim == 1 else logits.argmax(1)]
        return found

    def table(self) -> list[dict[str, Any]]:
        """Returns one dictionary for each C, the fields of `Fitted`."""
        return [dataclasses.asdict(fitted) for fitted in self.path]

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draws the selection metric against C; the objective where there were no held-out rows."""
        from featdiv.probes import linear_plot

        return linear_plot.path(self, ax)

    def cite(self) -> str:
        """Returns the sources of the probe, one a line, and of featdiv itself."""
        from featdiv.metrics import catalogue

        return "\n".join([*SOURCES, catalogue.citations([])])

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value:.4g}" for name, value in self.scores.items())
        failed = sum(not fitted.converged for fitted in self.path)
        return f"LinearProbe({shown}, {len(self.path)} C{f', {failed} not converged' if failed else ''})"
