"""`featdiv.correlate`: does one property of models go with another, and does a third add anything?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from featdiv import __version__
from featdiv.errors import InputError, NotEnoughData
from featdiv.results import Interval, Provenance, Result
from featdiv.stats.moments import Float64Array
from featdiv.studies import bootstrap, coefficients, log_odds, regression, tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FUNCTION = "featdiv.correlate"
LEAST_MODELS = 4

_ORDER = ("pearson", "spearman", "kendall", "weighted_kendall")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Correlation(Result):
    """Result of `correlate`.

    Attributes:
        models: names of the models that have every value, alphabetical.
        x: (n,) values that were correlated, after the logit where one was taken.
        y: (n,) the same of y, means over data sets where there are several.
        diversity: (n,) values of the second predictor, or None.
        dropped: names of the models that lack a value.
        p_values: score name to the p-value of its permutation test.
        line: intercept and slope of the least-squares line of y over x.
        labels: what the axes show: x, y.
    """

    models: tuple[str, ...]
    x: Float64Array
    y: Float64Array
    diversity: Float64Array | None
    dropped: tuple[str, ...]
    p_values: Mapping[str, float]
    line: tuple[float, float]
    labels: tuple[str, str]

    _array_fields: ClassVar[tuple[str, ...]] = (
        "models",
        "x",
        "y",
        "diversity",
        "dropped",
        "p_values",
        "line",
        "labels",
    )

    def __post_init__(self) -> None:
        for array in (self.x, self.y, self.diversity):
            if array is not None:
                array.setflags(write=False)

    def table(self) -> list[dict[str, Any]]:
        """Returns one dictionary for each score: score, value, low, high, p_value (None without one), undefined."""
        lines = []
        for name in self.names():
            interval = self.intervals.get(name)
            lines.append(
                {
                    "score": name,
                    "value": self.scores.get(name),
                    "low": interval.low if interval else None,
                    "high": interval.high if interval else None,
                    "p_value": self.p_values.get(name),
                    "undefined": self.undefined.get(name, ""),
                }
            )
        return lines

    def points(self) -> list[dict[str, Any]]:
        """Returns one dictionary for each model: model, x, y, diversity (None without one), residual.

        The residual is what the line of y over x leaves of y: which models do better than their x would say.
        """
        intercept, slope = self.line
        diversity = [None] * len(self.models) if self.diversity is None else self.diversity.tolist()
        left = self.y - intercept - slope * self.x
        cells = zip(self.models, self.x.tolist(), self.y.tolist(), diversity, left.tolist(), strict=True)
        return [dict(zip(("model", "x", "y", "diversity", "residual"), line, strict=True)) for line in cells]

    def band(self, at: Any) -> tuple[Float64Array, Float64Array]:
        """Returns the lower and upper ends of the 95 % bootstrap band of the line, at values of x.

        Args:
            at: (g,) values of x, on the scale of `x`.
        """
        grid = np.asarray(at, dtype=np.float64)
        rng = np.random.default_rng(self.provenance.seed)
        n = len(self.models)
        draws = max(200, int(self.provenance.arguments["draws"]))
        places = rng.integers(0, n, size=(draws, n))
        slope, intercept = regression.line(self.x[places], self.y[places])
        low, high = np.nanquantile(intercept[:, None] + slope[:, None] * grid, [0.025, 0.975], axis=0)
        return low, high

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draws models as named points, with the least-squares line and its 95 % bootstrap band.

        Args:
            ax: axes to draw on; None for a new figure.

        Returns:
            The figure that was drawn on.
        """
        from featdiv.studies import plot

        return plot.scatter(self, ax)

    def _sheet(self) -> tuple[str, Sequence[str], list[list[str]]]:
        lines = []
        for line in self.table():
            value = "undefined" if line["value"] is None else f"{line['value']:.4g}"
            interval = "" if line["low"] is None else f"[{line['low']:.4g}, {line['high']:.4g}]"
            p = "" if line["p_value"] is None else f"{line['p_value']:.2g}"
            lines.append([line["score"], value, interval or line["undefined"], p])
        title = f"{self.labels[1]} against {self.labels[0]}, {len(self.models)} models"
        return title, ("score", "value", f"{100 * self.provenance.arguments['level']:g} % interval", "p"), lines

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name}={self.scores[name]:.4g}" + (f" {self.intervals[name]}" if name in self.intervals else "")
            for name in _ORDER[:2]
            if name in self.scores
        )
        return f"Correlation({len(self.models)} models, {shown})"


def correlate(
    x: Any,
    y: Any,
    *,
    diversity: Any = None,
    x_scale: str = "raw",
    y_scale: str = "raw",
    test_images: int | Mapping[str, int] | None = None,
    draws: int = 2000,
    permutations: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
    labels: tuple[str, str] = ("x", "y"),
) -> Correlation:
    """Correlation of two properties of models, over models, with bootstrap intervals and permutation tests.

    ``pearson``, ``spearman``, ``kendall`` (tau-b) and ``weighted_kendall`` (as `scipy.stats.weightedtau` by default)
    of x and y. What is bounded by 0 and 1 belongs on the logit scale, on which equal steps are equal changes of
    the odds; a table over data sets is averaged there: the mean of the logits. With a second predictor D
    (``diversity``):

    * least squares ``y = a + b x + c D``: ``intercept``, ``slope_x``, ``slope_diversity``, ``r2``, and ``r2_gain``, the
      R² that D adds to x alone;
    * ``partial_x``, r of y and x given D; ``partial_diversity``, r of y and D given x.

    p-values: for r, y permuted among models; for what D adds, the residuals of y over x permuted (Freedman & Lane
    1983), with ``partial_diversity`` for the statistic, as good as F; (1 + extreme draws) / (1 + draws). Intervals are
    percentiles of a bootstrap over models. O(draws models^2).

    Args:
        x: a mapping from model to value, or a pandas Series; or a table, a mapping from data set to such mappings or a
            data frame with data sets as columns, of which each model has the mean. NaN and None are missing, and drop
            the model.
        y: the same models, likewise; the data sets may be others.
        diversity: the same models; a second predictor.
        x_scale: ``"raw"`` correlates x as it is; ``"fraction"`` takes the logit of values in [0, 1], ``"percent"`` of
            values in [0, 100].
        y_scale: the same of y.
        test_images: number of test images of y, one for all or by data set: y is clipped to half an image from 0 and 1.
        draws: number of resamples; 0 for no intervals.
        permutations: number of permutations; 0 for no p-values.
        level: coverage of the intervals.
        seed: seed of all draws.
        labels: names of x and y, for the plot.

    Returns:
        A `Correlation`.

    Raises:
        InputError: if x, y and diversity name different models, or a value lies outside its scale.
        NotEnoughData: if fewer than 4 models have every value.

    Source: Kornblith et al. (2019) and Ericsson et al. (2021) for logits and r over models; the joint regression is a
    convention of featdiv, after the claim of Nayman et al. (2022) that diversity and accuracy jointly make transfer.

    Example:
        >>> import featdiv
        >>> imagenet = {"a": 60.0, "b": 70.0, "c": 75.0, "d": 77.0, "e": 80.0}
        >>> transfer = {"a": 0.1, "b": 0.4, "c": 0.9, "d": 0.8, "e": 1.1}
        >>> found = featdiv.correlate(imagenet, transfer, x_scale="percent")
        >>> round(found.read("pearson"), 3), round(found.read("kendall"), 3)
        (0.969, 0.8)
    """
    bootstrap.check(function=FUNCTION, level=level, seed=seed, draws=draws, permutations=permutations)
    names, columns, dropped = _columns(x, y, diversity, x_scale, y_scale, test_images)
    a, b, c = columns["x"], columns["y"], columns.get("diversity")
    statistics = {name: coefficients.COEFFICIENTS[name](a[None], b[None])[0] for name in _ORDER}
    if c is not None:
        statistics |= {name: values[0] for name, values in _with_diversity(a[None], b[None], c[None]).items()}
    resampled = _resampled(a, b, c, draws=draws, seed=seed)
    scores = {name: float(value) for name, value in statistics.items() if np.isfinite(value)}
    intervals: dict[str, Interval] = {}
    for name in scores:
        interval = bootstrap.percentile_interval(resampled[name], level=level, estimand="models", groups=len(names))
        if interval is not None:
            intervals[name] = interval
    slope, intercept = regression.line(a[None], b[None])
    return Correlation(
        scores=scores,
        undefined={name: _reason(name) for name in statistics if name not in scores},
        intervals=intervals,
        models=names,
        x=a,
        y=b,
        diversity=c,
        dropped=dropped,
        p_values=_p_values(a, b, c, scores, permutations=permutations, seed=seed),
        line=(float(intercept[0]), float(slope[0])),
        labels=(_axis_label(labels[0], x_scale, x), _axis_label(labels[1], y_scale, y)),
        provenance=Provenance(
            function=FUNCTION,
            version=__version__,
            arguments={
                "x_scale": x_scale,
                "y_scale": y_scale,
                "test_images": test_images,
                "draws": draws,
                "permutations": permutations,
                "level": level,
            },
            method="percentile bootstrap over models",
            n=len(names),
            seed=seed,
            notes=(f"left out, because a value is missing: {', '.join(dropped)}",) if dropped else (),
        ),
    )


def _columns(
    x: Any, y: Any, diversity: Any, x_scale: str, y_scale: str, test_images: int | Mapping[str, int] | None
) -> tuple[tuple[str, ...], dict[str, Float64Array], tuple[str, ...]]:
    """Names of the complete models, their values by argument, and the names of the others."""
    given = {"x": x, "y": y} | ({} if diversity is None else {"diversity": diversity})
    read = {name: tables.read(value, function=FUNCTION, argument=name) for name, value in given.items()}
    for name, table in read.items():
        if name == "diversity" and table.datasets != ("",):
            raise InputError(f"{FUNCTION}: {name}: expected a mapping from models to values; got a table of data sets")
        tables.require_same_models(read["x"], table, function=FUNCTION, arguments=("x", name))
    scales = {"x": x_scale, "y": y_scale, "diversity": "raw"}
    values = {}
    for name, table in read.items():
        images = test_images if name == "y" else None
        at_ends = log_odds.CLIP if name == "y" else "leave such a model out with NaN, or correlate x as it is"
        logits = log_odds.logit(
            table.values, scales[name], images, table.datasets, function=FUNCTION, argument=name, at_ends=at_ends
        )
        values[name] = logits.mean(axis=1)
    complete = np.isfinite(np.stack(list(values.values()))).all(axis=0)
    models = read["x"].models
    if complete.sum() < LEAST_MODELS:
        raise NotEnoughData(
            f"{FUNCTION}: x: expected at least {LEAST_MODELS} models with every value; got {int(complete.sum())}"
        )
    names = tuple(name for name, whole in zip(models, complete, strict=True) if whole)
    dropped = tuple(name for name, whole in zip(models, complete, strict=True) if not whole)
    return names, {name: column[complete] for name, column in values.items()}, dropped


def _with_diversity(x: Float64Array, y: Float64Array, diversity: Float64Array) -> dict[str, Float64Array]:
    fit = regression.joint(x, diversity, y)
    return {
        "intercept": fit.coefficients[:, 0],
        "slope_x": fit.coefficients[:, 1],
        "slope_diversity": fit.coefficients[:, 2],
        "r2": fit.r2,
        "r2_gain": fit.r2 - fit.r2_x,
        "partial_x": regression.partial_correlation(x, y, diversity),
        "partial_diversity": regression.partial_correlation(diversity, y, x),
    }


def _resampled(
    x: Float64Array, y: Float64Array, diversity: Float64Array | None, *, draws: int, seed: int
) -> dict[str, Float64Array]:
    rng = np.random.default_rng(seed)
    names = (*_ORDER, *(() if diversity is None else _with_diversity(x[None], y[None], diversity[None])))
    parts: dict[str, list[Float64Array]] = {name: [] for name in names}
    for size in bootstrap.chunks(draws, len(x)):
        places = rng.integers(0, len(x), size=(size, len(x)))
        values = {name: coefficients.COEFFICIENTS[name](x[places], y[places]) for name in _ORDER}
        if diversity is not None:
            values |= _with_diversity(x[places], y[places], diversity[places])
        for name, value in values.items():
            parts[name].append(value)
    return {name: np.concatenate(value) if value else np.empty(0) for name, value in parts.items()}


def _p_values(
    x: Float64Array,
    y: Float64Array,
    diversity: Float64Array | None,
    scores: Mapping[str, float],
    *,
    permutations: int,
    seed: int,
) -> dict[str, float]:
    """Permutation tests of Pearson's r and Spearman's rho, and of what the second predictor adds."""
    if not permutations:
        return {}
    rng = np.random.default_rng((seed, 1))
    statistics = {"pearson": "pearson", "spearman": "spearman", "r2_gain": "partial_diversity"}
    statistics = {name: statistic for name, statistic in statistics.items() if statistic in scores}
    extreme = dict.fromkeys(statistics, 0)
    fitted, rest = regression.residuals(x, y)
    for size in bootstrap.chunks(permutations, len(x)):
        places = rng.permuted(np.broadcast_to(np.arange(len(x)), (size, len(x))), axis=1)
        same_x = np.broadcast_to(x, places.shape)
        drawn = {name: np.abs(coefficients.COEFFICIENTS[name](same_x, y[places])) for name in extreme if name in _ORDER}
        if diversity is not None and "r2_gain" in extreme:
            # The R² gained itself would not do: it is relative to a variance of y that differs from draw to draw.
            same_d = np.broadcast_to(diversity, places.shape)
            drawn["r2_gain"] = np.abs(regression.partial_correlation(same_d, fitted + rest[places], same_x))
        for name, values in drawn.items():
            extreme[name] += int((values >= abs(scores[statistics[name]]) - 1e-12).sum())
    return {name: (1 + count) / (1 + permutations) for name, count in extreme.items()}


def _reason(name: str) -> str:
    if name in _ORDER:
        return "x or y is the same for every model"
    return "x and diversity are constant, or one is a line of the other"


def _axis_label(label: str, scale: str, value: Any) -> str:
    mean = "mean " if tables.depth(value) == 2 else ""
    return f"{mean}{label}" if scale == "raw" else f"{mean}logit({label})"
