"""`Ranking`: what `featdiv.rank_models` returns."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError
from featdiv.results import Result
from featdiv.studies.ranking.store import Step

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Ranking(Result):
    """Result of `rank_models`.

    ``scores`` hold every cell of the table by ``"<model>: <column>"``, and ``intervals`` theirs.

    Attributes:
        models: (m,) names, the best one first.
        columns: (s,) names of the scores: the probes first, then ImageNet accuracy where it was given, then the others.
        values: (m, s) the table; None where a score is undefined.
        low: (m, s) lower ends of the 95 % intervals; None where there is none.
        high: (m, s) upper ends.
        criterion: the column by which models are ranked: ``"finetune"`` for those that were, else the first probe.
        best: the model of the highest criterion.
        p_best: (m,) probability of each model to be the best: the share of resamples of the images in which it is.
        contenders: names of the models that cannot be told from the best; they hold the truly best one with a
            probability of 95 %, whichever it is.
        regret: what the pick is expected to lose against the best model, in units of the criterion.
        recommendation: the same in words.
        agreement: for each other column ``{"score", "against", "tau", "low", "high"}``: weighted Kendall correlation of
            its order of the models with that of the criterion.
        failed: model to the reason why it is not in the table.
        steps: what was done for each model, and how long it took.
        n: images; ``folds`` and ``repeats``: how they were divided.
        correct: probe (or ``"finetune"``) to (m, repeats, n) whether each image was right when it was held out.
        curves: probe to model to (k or C, accuracy, low, high), ascending: the share of images that the probe with that
            setting gets right when their fold is held out, with Wilson's interval. For ``"linear"``, of the fits to the
            four fifths of each training part that C is chosen with.
        parts: model to the dictionaries of results that were computed on the way: spectrum, diversity, transferability,
            filter diversity, leading directions, and those that the best model has and the next one lacks.
        similarity: the dictionary of the `Comparison` of the models by debiased linear CKA, or None.
    """

    models: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    low: tuple[tuple[float | None, ...], ...]
    high: tuple[tuple[float | None, ...], ...]
    criterion: str
    best: str
    p_best: tuple[float, ...]
    contenders: tuple[str, ...]
    regret: float
    recommendation: str
    agreement: tuple[Mapping[str, Any], ...]
    failed: Mapping[str, str]
    steps: tuple[Step, ...]
    n: int
    folds: int
    repeats: int
    correct: Mapping[str, npt.NDArray[np.bool_]] = dataclasses.field(default_factory=dict, repr=False)
    curves: Mapping[str, Mapping[str, tuple[tuple[float, ...], ...]]] = dataclasses.field(default_factory=dict)
    parts: Mapping[str, tuple[Mapping[str, Any], ...]] = dataclasses.field(default_factory=dict, repr=False)
    similarity: Mapping[str, Any] | None = dataclasses.field(default=None, repr=False)

    _array_fields: ClassVar[tuple[str, ...]] = (
        "models",
        "columns",
        "values",
        "low",
        "high",
        "criterion",
        "best",
        "p_best",
        "contenders",
        "regret",
        "recommendation",
        "agreement",
        "failed",
        "steps",
        "n",
        "folds",
        "repeats",
        "curves",
        "parts",
        "similarity",
    )

    def table(self) -> list[dict[str, Any]]:
        """Returns one dictionary for each model, the best first: model, p_best, contender, and every column."""
        return [
            {
                "model": model,
                "p_best": self.p_best[i],
                "contender": model in self.contenders,
                **dict(zip(self.columns, self.values[i], strict=True)),
            }
            for i, model in enumerate(self.models)
        ]

    def to_pandas(self) -> pd.DataFrame:
        """Returns `table` as a data frame with the models as index.

        Raises:
            MissingDependency: if pandas is not installed.
        """
        from featdiv._optional import require

        pandas = require("pandas", extra="pandas", needed_by="Ranking.to_pandas")
        return pandas.DataFrame(self.table()).set_index("model")

    def column(self, name: str) -> dict[str, float | None]:
        """Returns model to value of one column.

        Raises:
            InputError: if there is no such column.
        """
        if name not in self.columns:
            raise InputError(f"Ranking.column: name: expected one of {', '.join(self.columns)}; got {name!r}")
        place = self.columns.index(name)
        return {model: row[place] for model, row in zip(self.models, self.values, strict=True)}

    def report(self, path: str | os.PathLike[str] | None = None, *, title: str | None = None) -> str:
        """Returns one self-contained HTML page: this ranking, and all that was found out about and between the models.

        Args:
            path: where to write it; None to write nothing.
            title: heading of the page.
        """
        from featdiv.reports import report

        return report(self, path, title=title)

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draws the criterion of each model with its interval, the best at the top.

        Args:
            ax: axes to draw on; None for a new figure.
        """
        from featdiv.studies.ranking import plot

        return plot.accuracies(self, ax)

    def cite(self) -> str:
        """Returns the sources of the columns, one a line, and of featdiv itself."""
        from featdiv.analyses.transferability_table import DEFINITIONS
        from featdiv.metrics import catalogue

        known = [name for name in self.columns if name not in ("linear", "knn", "finetune", "imagenet_top1")]
        return catalogue.citations(known, definition=DEFINITIONS)

    def __repr__(self) -> str:
        shown = ", ".join(f"{m} {p:.2f}" for m, p in list(zip(self.models, self.p_best, strict=True))[:3])
        more = ", …" if len(self.models) > 3 else ""
        return f"Ranking({len(self.models)} models by {self.criterion}; P(best): {shown}{more})"

    def _sheet(self) -> tuple[str, Sequence[str], list[list[str]]]:
        lines = [
            [model, f"{p:.2f}", *("" if value is None else f"{value:.4g}" for value in line)]
            for model, p, line in zip(self.models, self.p_best, self.values, strict=True)
        ]
        return self.recommendation, ("model", "P(best)", *self.columns), lines
