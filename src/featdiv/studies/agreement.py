"""`featdiv.rank_agreement`: does a score rank models as the ground truth does?"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from featdiv import __version__
from featdiv.errors import InputError
from featdiv.io.embeddings import positive
from featdiv.results import Interval, Provenance, Result
from featdiv.stats.moments import Float64Array
from featdiv.studies import bootstrap, coefficients, tables
from featdiv.studies.tables import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FUNCTION = "featdiv.rank_agreement"
LEAST_MODELS = 3
MEAN = "mean over truths"
"""The comparison with all ground truths at once, where scores are not of data sets."""

FEW_TRUTHS = 3
"""Ground truths of which each pair is compared without being asked for."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RankAgreement(Result):
    """Result of `rank_agreement`.

    ``scores`` hold ``"<measure>"`` where there is one ground truth, else ``"<truth>: <measure>"``, and
    ``"<truth> ~ <other truth>: <measure>"`` for the agreement of two ground truths: where it is low, no
    score can agree with both. Where one list of scores meets several ground truths, such as a table of data sets,
    ``"mean over truths: <measure>"`` comes first. `print` shows one line for each comparison and data set, with the
    interval of the first measure; `table` has all.

    Attributes:
        models: names of the models.
        datasets: names of the data sets; empty where values are not of a data set.
        truths: names of the ground truths; empty for one without a name.
        measures: names of the measures.
        cells: one dictionary for each comparison and data set (or ground truth, of their mean): ``comparison``,
            ``dataset``, ``models`` (how many have both values), and the measures (None where undefined).
    """

    models: tuple[str, ...]
    datasets: tuple[str, ...]
    truths: tuple[str, ...]
    measures: tuple[str, ...]
    cells: tuple[Mapping[str, Any], ...]

    _array_fields: ClassVar[tuple[str, ...]] = ("models", "datasets", "truths", "measures", "cells")

    @property
    def comparisons(self) -> tuple[str, ...]:
        """What was compared: each ground truth, then each pair of them; empty text for one without a name."""
        return tuple(dict.fromkeys(cell["comparison"] for cell in self.cells))

    def table(self) -> list[dict[str, Any]]:
        """Returns one dictionary for each comparison and measure: comparison, measure, value, low, high, undefined."""
        lines = []
        for comparison in self.comparisons:
            for measure in self.measures:
                name = _name(comparison, measure)
                interval = self.intervals.get(name)
                lines.append(
                    {
                        "comparison": comparison,
                        "measure": measure,
                        "value": self.scores.get(name),
                        "low": interval.low if interval else None,
                        "high": interval.high if interval else None,
                        "undefined": self.undefined.get(name, ""),
                    }
                )
        return lines

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draws the coefficients with their intervals, ground truths side by side.

        Args:
            ax: axes to draw on; None for a new figure.

        Returns:
            The figure that was drawn on.
        """
        from featdiv.studies import plot

        return plot.agreement(self, ax)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value:.4g}" for name, value in list(self.scores.items())[:4])
        more = ", …" if len(self.scores) > 4 else ""
        datasets = f", {len(self.datasets)} data sets" if len(self.datasets) > 1 else ""
        return f"RankAgreement({len(self.models)} models{datasets}, {shown}{more})"

    def _sheet(self) -> tuple[str, Sequence[str], list[list[str]]]:
        level = f"{100 * self.provenance.arguments['level']:g} % interval"
        title = f"RankAgreement of {len(self.models)} models"
        if len(self.cells) > 1:
            return title, ("", self.measures[0], level, *self.measures[1:]), list(self._lines())
        lines = []
        for line in self.table():
            interval = "" if line["low"] is None else f"[{line['low']:.4g}, {line['high']:.4g}]"
            lines.append([line["comparison"], line["measure"], _shown(line["value"]), interval or line["undefined"]])
        heads = ("", "measure", "value", level)
        first = 0 if any(self.comparisons) else 1  # without the names of ground truths, where the only one has none
        return title, heads[first:], [line[first:] for line in lines]

    def _lines(self) -> Iterator[list[str]]:
        """Yields a line of the printed table for each comparison, the data sets of each below it."""
        for comparison in self.comparisons:
            interval = self.intervals.get(_name(comparison, self.measures[0]))
            first, *others = (_shown(self.scores.get(_name(comparison, measure))) for measure in self.measures)
            span = "" if interval is None else f"[{interval.low:.4g}, {interval.high:.4g}]"
            yield [comparison or "mean", first, span, *others]
            for cell in self.cells if len(self.datasets) > 1 else ():
                if cell["comparison"] == comparison:
                    first, *others = (_shown(cell[measure]) for measure in self.measures)
                    yield [f"  {cell['dataset']}", first, "", *others]


def rank_agreement(
    scores: Any,
    ground_truth: Any,
    *,
    k: int | Sequence[int] = (1, 3),
    pairs: bool | None = None,
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> RankAgreement:
    """How well a score ranks models, measured against one ground truth or several.

    For each data set, over the models that have both values:

    * ``weighted_kendall``: additive hyperbolic weighted tau, ranks by either side averaged, as
      `scipy.stats.weightedtau` (``rank=True``, ``weigher=None``) gives it: agreement at the top counts most;
    * ``kendall``: tau-b; ``spearman``; ``pearson``;
    * ``regret@k``: best truth, less the best truth among the k highest scores, in units of the ground truth. Among
      equal scores the worse model comes first, so that ties earn no luck;
    * ``top1_hit``: 1 if the highest score picks a model with the best truth, else 0.

    The value is the mean over data sets on which the measure exists. Intervals are percentiles of a bootstrap that
    draws models, the same on every data set, and data sets where there are several. No value depends on the order in
    which models or data sets are given. O(draws datasets models^2), in bounded memory.

    Args:
        scores: higher is better: a mapping from model to value, a mapping from data set to such mappings, or a data
            frame, models as index and data sets as columns. NaN and None are missing values.
        ground_truth: the same models and data sets; or a mapping from name to such tables, for several ground truths
            side by side. One list of scores with a table of data sets is compared with each of them, and on average.
        k: the k of ``regret@k``, one or several.
        pairs: whether to compare ground truths with one another as well: where their agreement is low, so is what any
            score can reach on all of them. None does so for up to three ground truths.
        draws: number of resamples; 0 for no intervals.
        level: coverage of the intervals.
        seed: seed of the resamples.

    Returns:
        A `RankAgreement`.

    Raises:
        InputError: if scores and ground truth name different models or data sets, or hold fewer than 3 models.

    Source: Vigna (2015), A weighted correlation index for rankings with ties; You et al. (2021) judge LogME by it.

    Example:
        >>> import featdiv
        >>> scores = {"a": 0.1, "b": 0.5, "c": 0.4, "d": 0.9}
        >>> accuracy = {"a": 60.0, "b": 70.0, "c": 72.0, "d": 80.0}
        >>> found = featdiv.rank_agreement(scores, accuracy)
        >>> round(found.read("kendall"), 4), found.read("top1_hit"), found.read("regret@1")  # 5 of 6 pairs agree
        (0.6667, 1.0, 0.0)
    """
    among = tuple(positive(value, f"{FUNCTION}: k") for value in (k if isinstance(k, Sequence) else (k,)))
    if pairs is not None and not isinstance(pairs, bool):
        raise InputError(f"{FUNCTION}: pairs: expected True, False or None; got {pairs!r}")
    bootstrap.check(function=FUNCTION, level=level, seed=seed, draws=draws)
    table = tables.read(scores, function=FUNCTION, argument="scores")
    truths = _truths(ground_truth, table)
    if len(table.models) < LEAST_MODELS:
        raise InputError(f"{FUNCTION}: scores: expected at least {LEAST_MODELS} models; got {len(table.models)}")
    measures = _measures(among)
    comparisons = [(name, table, truth) for name, truth in truths.items()]
    if len(truths) > 1 and table.datasets == ("",):
        comparisons.insert(0, (MEAN, *_side_by_side(table, truths)))
    if pairs if pairs is not None else len(truths) <= FEW_TRUTHS:
        comparisons += [(f"{a} ~ {b}", truths[a], truths[b]) for a, b in combinations(truths, 2)]
    found: dict[str, float] = {}
    undefined: dict[str, str] = {}
    intervals: dict[str, Interval] = {}
    cells: list[Mapping[str, Any]] = []
    for comparison, one, other in comparisons:
        by_dataset = {name: _on_datasets(measure, one, other, None) for name, measure in measures.items()}
        cells += _cells(comparison, one, other, by_dataset)
        resampled = _resampled(measures, one, other, draws=draws, seed=seed)
        for measure, values in by_dataset.items():
            name = _name(comparison, measure)
            if np.isnan(values).all():
                undefined[name] = "too few models with both values, or all of them equal"
                continue
            found[name] = float(np.nanmean(values))
            interval = bootstrap.percentile_interval(
                resampled[measure],
                level=level,
                estimand=_estimand(comparison, one),
                groups=len(one.models),
            )
            if interval is not None:
                intervals[name] = interval
    return RankAgreement(
        scores=found,
        undefined=undefined,
        intervals=intervals,
        models=table.models,
        datasets=tuple(filter(None, table.datasets)),
        truths=tuple(filter(None, truths)),
        measures=tuple(measures),
        cells=tuple(cells),
        provenance=Provenance(
            function=FUNCTION,
            version=__version__,
            arguments={"k": among, "pairs": pairs, "draws": draws, "level": level},
            method="mean over data sets, percentile bootstrap",
            n=len(table.models),
            seed=seed,
            notes=_notes(cells, table),
        ),
    )


def _truths(ground_truth: Any, table: Table) -> dict[str, Table]:
    levels = 1 if table.datasets == ("",) else 2
    argument = "ground_truth"
    if tables.depth(ground_truth) == levels + 1:
        named = {
            str(name): tables.read(value, function=FUNCTION, argument=f"{argument}[{name!r}]")
            for name, value in dict(ground_truth).items()
        }
    elif tables.depth(ground_truth) == levels:
        named = {"": tables.read(ground_truth, function=FUNCTION, argument=argument)}
    else:
        shape = "a mapping from models to values" if levels == 1 else "a table of models on data sets, as scores"
        raise InputError(f"{FUNCTION}: {argument}: expected {shape}, or a mapping from names to several of them")
    for name, truth in named.items():
        which = f"{argument}[{name!r}]" if name else argument
        tables.require_same_models(table, truth, function=FUNCTION, arguments=("scores", which))
        tables.require_same_datasets(table, truth, function=FUNCTION, arguments=("scores", which))
    return named


def _side_by_side(table: Table, truths: Mapping[str, Table]) -> tuple[Table, Table]:
    """Returns the scores, once for each ground truth, and the ground truths as the data sets of one table."""
    names = tuple(sorted(truths))
    return (
        Table(models=table.models, datasets=names, values=np.repeat(table.values, len(names), axis=1)),
        Table(models=table.models, datasets=names, values=np.hstack([truths[name].values for name in names])),
    )


def _estimand(comparison: str, table: Table) -> str:
    if comparison == MEAN:
        return "models and ground truths"
    return "models and data sets" if len(table.datasets) > 1 else "models"


def _measures(k: tuple[int, ...]) -> dict[str, coefficients.Coefficient]:
    measures: dict[str, coefficients.Coefficient] = dict(coefficients.COEFFICIENTS)
    for value in dict.fromkeys(k):
        measures[f"regret@{value}"] = _regret(value)
    measures["top1_hit"] = lambda x, y: _hit(coefficients.regret(x, y, 1))
    return measures


def _regret(k: int) -> Callable[[Float64Array, Float64Array], Float64Array]:
    return lambda x, y: coefficients.regret(x, y, k)


def _hit(regret: Float64Array) -> Float64Array:
    return np.where(np.isnan(regret), np.nan, regret == 0.0)


def _on_datasets(measure: coefficients.Coefficient, one: Table, other: Table, places: Any) -> Float64Array:
    """Values of a measure, (b, data sets), over models at ``places`` (b, models), or (1, data sets) over all."""
    columns = []
    for j in range(len(one.datasets)):
        x, y = one.values[:, j], other.values[:, j]
        columns.append(measure(x[None] if places is None else x[places], y[None] if places is None else y[places]))
    return np.stack(columns, axis=1)


def _resampled(
    measures: Mapping[str, coefficients.Coefficient], one: Table, other: Table, *, draws: int, seed: int
) -> dict[str, Float64Array]:
    rng = np.random.default_rng(seed)
    n, datasets = one.values.shape
    parts: dict[str, list[Float64Array]] = {name: [] for name in measures}
    for size in bootstrap.chunks(draws, n):
        places = rng.integers(0, n, size=(size, n))
        chosen = rng.integers(0, datasets, size=(size, datasets))
        for name, measure in measures.items():
            values = np.take_along_axis(_on_datasets(measure, one, other, places), chosen, axis=1)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
                parts[name].append(np.nanmean(values, axis=1))
    return {name: np.concatenate(values) if values else np.empty(0) for name, values in parts.items()}


def _cells(comparison: str, one: Table, other: Table, by_dataset: Mapping[str, Float64Array]) -> list[dict[str, Any]]:
    both = np.isfinite(one.values) & np.isfinite(other.values)
    return [
        {
            "comparison": comparison,
            "dataset": dataset,
            "models": int(both[:, j].sum()),
            **{name: None if np.isnan(values[0, j]) else float(values[0, j]) for name, values in by_dataset.items()},
        }
        for j, dataset in enumerate(one.datasets)
    ]


def _notes(cells: list[Mapping[str, Any]], table: Table) -> tuple[str, ...]:
    cells = [cell for cell in cells if cell["comparison"] != MEAN]  # which are those of each ground truth once more
    short = [cell for cell in cells if cell["models"] < len(table.models)]
    if not short:
        return ()
    least = min(short, key=lambda cell: int(cell["models"]))
    where = " of ".join(filter(None, [least["dataset"], least["comparison"]])) or "the ground truth"
    return (
        f"values are missing: {len(short)} of {len(cells)} comparisons are over fewer models than {len(table.models)}, "
        f"the fewest, {least['models']}, on {where}",
    )


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"


def _name(comparison: str, measure: str) -> str:
    return f"{comparison}: {measure}" if comparison else measure
