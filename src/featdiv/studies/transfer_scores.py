"""`featdiv.transfer_scores`: means over data sets, with error bars that leave out how hard these are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from featdiv import __version__
from featdiv.errors import InputError, NotEnoughData
from featdiv.results import Interval, Provenance, Result, Score
from featdiv.stats.moments import Float64Array
from featdiv.studies import log_odds, tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FUNCTION = "featdiv.transfer_scores"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TransferScores(Result):
    """Result of `transfer_scores`: ``scores`` has a value for each model, the best first.

    Attributes:
        datasets: names of the data sets.
        logits: model to its (datasets,) logits, or accuracies as they are on the scale ``"raw"``.
    """

    datasets: tuple[str, ...]
    logits: Mapping[str, Float64Array]

    _array_fields: ClassVar[tuple[str, ...]] = ("datasets", "logits")

    def __post_init__(self) -> None:
        for array in self.logits.values():
            array.setflags(write=False)

    def difference(self, model: str, other: str) -> Score:
        """Returns how much better a model does than another, by the paired t-test over data sets.

        Args:
            model: name of a model.
            other: name of another.

        Returns:
            A `Score` named ``difference`` with its interval at the level of the others; ``details`` hold ``p_value``,
            two-sided, and ``degrees_of_freedom``.

        Raises:
            InputError: if there is no such model.
        """
        for name in (model, other):
            if name not in self.logits:
                raise InputError(f"{FUNCTION}: difference: no model {name!r}; there are {', '.join(self.logits)}")
        gaps = self.logits[model] - self.logits[other]
        mean, error = float(gaps.mean()), float(gaps.std(ddof=1) / np.sqrt(len(gaps)))
        level = self.provenance.arguments["level"]
        return Score(
            name="difference",
            scores={"difference": mean},
            intervals={"difference": _interval(mean, error, level, len(gaps), method="paired t")},
            details={"p_value": _two_sided(mean, error, len(gaps) - 1), "degrees_of_freedom": len(gaps) - 1},
            provenance=dataclasses.replace(self.provenance, n=len(gaps), method="paired t-test over data sets"),
        )

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draws models with their error bars, the best on top.

        Args:
            ax: axes to draw on; None for a new figure.

        Returns:
            The figure that was drawn on.
        """
        from featdiv.studies import plot

        return plot.error_bars(self, ax)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value:.4g}" for name, value in list(self.scores.items())[:4])
        more = ", …" if len(self.scores) > 4 else ""
        return f"TransferScores({len(self.scores)} models, {len(self.datasets)} data sets, {shown}{more})"

    def _sheet(self) -> tuple[str, Sequence[str], list[list[str]]]:
        lines = []
        for name, value in self.scores.items():
            made = self.intervals[name]
            lines.append([name, f"{value:.4g}", f"{made.standard_error:.2g}", f"[{made.low:.4g}, {made.high:.4g}]"])
        heads = ("model", "score", "error", f"{100 * self.provenance.arguments['level']:g} % interval")
        return f"Transfer scores of {len(self.scores)} models on {len(self.datasets)} data sets", heads, lines


def transfer_scores(
    accuracies: Any,
    *,
    scale: str = "fraction",
    test_images: int | Mapping[str, int] | None = None,
    level: float = 0.95,
) -> TransferScores:
    """Mean logit of each model over data sets, with error bars from which the difficulty of the data sets is removed.

    With L_ij the logit of model i on data set j, of c models and m data sets, the score is ``mean_j L_ij``. All models
    are judged on the same data sets, so that how much these differ says nothing of how models do. Error bars are those
    of designs within subjects: ``e_i = std_j(L_ij - mean_i L_ij) sqrt(c / (c - 1)) / sqrt(m)`` (Cousineau 2005, with
    the correction of Morey 2008), intervals the score plus or minus t_(m-1) e_i. Two bars are for looking at; whether
    one model does better than another, `TransferScores.difference` tests. O(models datasets).

    Args:
        accuracies: a mapping from data set to a mapping from model to accuracy, or a data frame with models as index
            and data sets as columns.
        scale: ``"fraction"`` for accuracies in [0, 1], ``"percent"`` for [0, 100], ``"raw"`` to average what is given.
        test_images: number of test images, one for all or by data set: an accuracy is first clipped to half an image
            from 0 and 1. None clips nothing.
        level: coverage of the intervals.

    Returns:
        A `TransferScores`.

    Raises:
        InputError: if an accuracy lies outside its scale, or is 0 or 1 without ``test_images``.
        NotEnoughData: if there are fewer than two models or data sets, or a model lacks a data set.

    Source: Kornblith et al. (2019), section 3, for the mean of the logits; Morey (2008), Confidence intervals from
    normalized data.

    Example:
        >>> import featdiv
        >>> table = {"pets": {"a": 0.9, "b": 0.8}, "cars": {"a": 0.5, "b": 0.4}, "food": {"a": 0.7, "b": 0.55}}
        >>> found = featdiv.transfer_scores(table)
        >>> [(name, round(value, 3)) for name, value in found.scores.items()]
        [('a', 1.015), ('b', 0.394)]
        >>> better = found.difference("a", "b")
        >>> round(float(better), 3), round(better.details["p_value"], 3)
        (0.621, 0.034)
    """
    if not 0.0 < level < 1.0:
        raise InputError(f"{FUNCTION}: level: expected a number between 0 and 1; got {level!r}")
    table = tables.read(accuracies, function=FUNCTION, argument="accuracies")
    if table.datasets == ("",):
        raise InputError(
            f"{FUNCTION}: accuracies: expected a table, data set to model to accuracy; got one value a name. "
            "featdiv.log_odds averages one model over data sets"
        )
    if len(table.models) < 2 or len(table.datasets) < 2:
        raise NotEnoughData(
            f"{FUNCTION}: accuracies: expected at least 2 models and 2 data sets; got {len(table.models)} and "
            f"{len(table.datasets)}"
        )
    if np.isnan(table.values).any():
        row, column = np.argwhere(np.isnan(table.values))[0]
        raise NotEnoughData(
            f"{FUNCTION}: accuracies: expected every model on every data set; {table.models[row]!r} lacks "
            f"{table.datasets[column]!r}. Leave out one of them"
        )
    logits = log_odds.logit(table.values, scale, test_images, table.datasets, function=FUNCTION, argument="accuracies")
    c, m = logits.shape
    adjusted = logits - logits.mean(axis=0)
    errors = adjusted.std(axis=1, ddof=1) * np.sqrt(c / (c - 1) / m)
    means = logits.mean(axis=1)
    order = np.argsort(-means, kind="stable")
    return TransferScores(
        scores={table.models[i]: float(means[i]) for i in order},
        intervals={
            table.models[i]: _interval(float(means[i]), float(errors[i]), level, m, method="Cousineau-Morey")
            for i in order
        },
        datasets=table.datasets,
        logits={table.models[i]: logits[i].copy() for i in order},
        provenance=Provenance(
            function=FUNCTION,
            version=__version__,
            arguments={"scale": scale, "test_images": test_images, "level": level},
            method="mean over data sets, errors within data sets",
            n=c,
        ),
    )


def _interval(mean: float, error: float, level: float, m: int, *, method: str) -> Interval:
    from scipy.stats import t

    half = float(t.ppf(0.5 + level / 2, m - 1)) * error
    return Interval(
        low=mean - half,
        high=mean + half,
        level=level,
        standard_error=error,
        method=method,
        estimand="data sets",
        groups=m,
    )


def _two_sided(mean: float, error: float, degrees: int) -> float:
    from scipy.stats import t

    if error == 0.0:
        return 1.0 if mean == 0.0 else 0.0
    return float(2.0 * t.sf(abs(mean) / error, degrees))
