"""`RidgeProbe`: what `featdiv.ridge_probe` returns."""

from __future__ import annotations

import dataclasses
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


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RidgeProbe(Result):
    """Result of `ridge_probe`.

    ``scores`` hold ``loo_accuracy``, ``val_accuracy``, ``test_accuracy`` and ``test_mean_per_class``, those that
    there is data for, at the chosen strength; with targets ``loo_r2``, ``val_r2``, ``test_r2`` in their place.

    Attributes:
        lambdas: (l,) strengths of the penalty, ascending.
        degrees_of_freedom: (l,) trace of the hat matrix.
        gcv: (l,) generalised cross-validation, lower is better.
        loo: (l,) leave-one-out accuracy, or R^2 with targets; None where it was not computed.
        val: (l,) accuracy or R^2 on ``val``; None without it.
        chosen: index of the strength that was chosen.
        chosen_by: ``"validation"``, ``"leave-one-out"`` or ``"gcv"``.
        classes: the labels, sorted; None with targets.
        coefficients: (d, t) weights at the chosen strength.
        intercept: (t,) intercepts there.
        per_class: (c,) accuracy of each class on ``test``, NaN for one without rows; None without ``test``.
    """

    lambdas: Float64Array
    degrees_of_freedom: Float64Array
    gcv: Float64Array
    loo: Float64Array | None
    val: Float64Array | None
    chosen: int
    chosen_by: str
    classes: npt.NDArray[Any] | None
    coefficients: Float64Array
    intercept: Float64Array
    per_class: Float64Array | None = None

    _array_fields: ClassVar[tuple[str, ...]] = (
        "lambdas",
        "degrees_of_freedom",
        "gcv",
        "loo",
        "val",
        "chosen",
        "chosen_by",
        "classes",
        "per_class",
    )

    @property
    def best_lambda(self) -> float:
        """The strength that was chosen."""
        return float(self.lambdas[self.chosen])

    def decision(self, x: Any) -> Float64Array:
        """Returns (m, t) predicted targets for rows: of classes, the larger the more likely."""
        with grouped.opened(x, function="RidgeProbe.decision") as source:
            if source.d != len(self.coefficients):
                raise InputError(f"RidgeProbe.decision: x: expected {len(self.coefficients)} features; got {source.d}")
            normalize = self.provenance.arguments.get("normalize")
            parts = [reference.transformed(chunk.rows, normalize=normalize) for chunk in source.chunks()]
        return np.concatenate([part @ self.coefficients for part in parts]) + self.intercept

    def predict(self, x: Any) -> npt.NDArray[Any]:
        """Returns the predicted label of each row, or the (m, t) predicted targets."""
        decision = self.decision(x)
        return decision if self.classes is None else self.classes[decision.argmax(axis=1)]

    def table(self) -> list[dict[str, float | None]]:
        """Returns one dictionary for each strength: lambda, degrees_of_freedom, gcv, loo, val."""
        return [
            {
                "lambda": float(self.lambdas[i]),
                "degrees_of_freedom": float(self.degrees_of_freedom[i]),
                "gcv": float(self.gcv[i]),
                "loo": None if self.loo is None else float(self.loo[i]),
                "val": None if self.val is None else float(self.val[i]),
            }
            for i in range(len(self.lambdas))
        ]

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draws accuracy (or R^2) against the strength of the penalty; without either, generalised cross-validation."""
        from featdiv.probes import ridge_plot

        return ridge_plot.path(self, ax)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value:.4f}" for name, value in self.scores.items())
        return f"RidgeProbe({shown}{', ' if shown else ''}lambda={self.best_lambda:.3g} by {self.chosen_by})"
