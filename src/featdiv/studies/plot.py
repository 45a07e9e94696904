"""Pictures of studies, drawn with matplotlib on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from featdiv.studies.agreement import RankAgreement
    from featdiv.studies.correlate import Correlation
    from featdiv.studies.transfer_scores import TransferScores

_MOST_NAMED = 40
"""Points above which names would cover one another."""

_NAME_SIZE, _LONGEST_NAME = 7, 30
"""Of the names of points: points of type, characters."""

_Rectangle = tuple[float, float, float, float]
"""Left, bottom, right and top, in points."""

_COEFFICIENTS = ("weighted_kendall", "kendall", "spearman", "pearson")


def agreement(found: RankAgreement, ax: Axes | None = None) -> Figure:
    """Draws the coefficients of a rank agreement; see `RankAgreement.plot`."""
    comparisons = found.comparisons
    alone = ax is None
    ax = ax if ax is not None else new_axes(5.6, 1.4 + (0.22 * len(_COEFFICIENTS) + 0.2) * len(comparisons))
    step = 0.8 / len(comparisons)
    colours = _colours(len(comparisons))
    lines = [line for line in found.table() if line["measure"] in _COEFFICIENTS and line["value"] is not None]
    for comparison, colour in zip(comparisons, colours, strict=True):
        mine = [line for line in lines if line["comparison"] == comparison]
        shift = (comparisons.index(comparison) - (len(comparisons) - 1) / 2) * step
        heights = [_COEFFICIENTS.index(line["measure"]) + shift for line in mine]
        values = np.array([line["value"] for line in mine])
        ceiling = " ~ " in comparison and comparison not in found.truths
        label = f"{comparison} (the truths themselves)" if ceiling else comparison
        ax.plot(values, heights, "D" if ceiling else "o", color=colour, label=label, markersize=5)
        for line, height in zip(mine, heights, strict=True):
            if line["low"] is not None:
                ax.plot([line["low"], line["high"]], [height, height], color=colour, linewidth=1.5)
    ax.axvline(0.0, color="0.7", linewidth=0.8, zorder=0)
    ax.set_yticks(range(len(_COEFFICIENTS)), [name.replace("_", " ") for name in _COEFFICIENTS])
    ax.invert_yaxis()
    ax.set_xlim(-1.05, 1.05)
    several = f", {len(found.datasets)} data sets" if len(found.datasets) > 1 else ""
    level = f"{100 * found.provenance.arguments['level']:g} % intervals"
    ax.set_xlabel(f"agreement of {len(found.models)} models{several}" + (f", {level}" if found.intervals else ""))
    if comparisons != ("",):
        # Inside the axes, long names of data sets cover the points.
        (figure_of(ax) if alone else ax).legend(
            frameon=False, fontsize=8, loc="outside upper left" if alone else "best"
        )
    return figure_of(ax)


def scatter(found: Correlation, ax: Axes | None = None) -> Figure:
    """Draws a correlation as a scatter of models with its line and band; see `Correlation.plot`."""
    ax = ax if ax is not None else new_axes(6.0, 4.4)
    margin = 0.06 * (float(np.ptp(found.x)) or 1.0)
    grid = np.linspace(found.x.min() - margin, found.x.max() + margin, 100)
    intercept, slope = found.line
    if np.isfinite(slope):
        low, high = found.band(grid)
        ax.fill_between(grid, low, high, color="#1f4e79", alpha=0.15, linewidth=0, label="95 % band of the line")
        ax.plot(grid, intercept + slope * grid, color="#1f4e79", linewidth=1.5)
    ax.plot(found.x, found.y, "o", color="#c55a11", markersize=5)
    height = 0.1 * (float(np.ptp(found.y)) or 1.0)
    ax.set_xlim(grid[0], grid[-1] + 2 * margin)
    ax.set_ylim(found.y.min() - height, found.y.max() + height)
    if len(found.models) <= _MOST_NAMED:
        _name_points(found, ax)
    ax.set_xlabel(found.labels[0])
    ax.set_ylabel(found.labels[1])
    if "pearson" in found.scores:
        interval = found.intervals.get("pearson")
        span = f" [{interval.low:.2f}, {interval.high:.2f}]" if interval else ""
        ax.set_title(f"r = {found.scores['pearson']:.2f}{span}, {len(found.models)} models", fontsize=10)
    return figure_of(ax)


def _name_points(found: Correlation, ax: Axes) -> None:
    """Writes each name at that corner of its point where it covers least of the points and names before it."""
    figure = figure_of(ax)
    frame = np.asarray(figure.dpi_scale_trans.inverted().transform_bbox(ax.bbox).size) * 72.0
    points = (ax.transScale + ax.transLimits).transform(np.column_stack([found.x, found.y])) * frame
    taken = [(x - 3.0, y - 3.0, x + 3.0, y + 3.0) for x, y in points]
    for i in np.argsort(found.x, kind="stable"):
        x, y = points[i]
        name = found.models[i]
        if len(name) > _LONGEST_NAME:
            name = f"{name[: _LONGEST_NAME // 2]}…{name[-_LONGEST_NAME // 2 + 1 :]}"
        width = _NAME_SIZE * 0.56 * len(name)
        boxes = {}
        for across, upwards in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            left = x + 4.0 if across > 0 else x - 4.0 - width
            low = y + 2.0 if upwards > 0 else y - 2.0 - _NAME_SIZE
            boxes[across, upwards] = (left, low, left + width, low + _NAME_SIZE)
        corner = min(boxes, key=lambda corner: _covered(boxes[corner], taken, frame[0]))
        taken.append(boxes[corner])
        ax.annotate(
            name,
            (float(found.x[i]), float(found.y[i])),
            xytext=(4 * corner[0], 2 * corner[1]),
            textcoords="offset points",
            ha="left" if corner[0] > 0 else "right",
            va="bottom" if corner[1] > 0 else "top",
            fontsize=_NAME_SIZE,
            color="0.3",
        ).set_in_layout(False)


def _covered(box: _Rectangle, others: list[_Rectangle], width: float) -> float:
    """Returns the area of a rectangle that lies on others or beyond the sides of axes of some width."""
    left, low, right, high = box
    beyond = (max(-left, 0.0) + max(right - width, 0.0)) * (high - low)
    return beyond + sum(
        max(min(right, r) - max(left, x), 0.0) * max(min(high, t) - max(low, y), 0.0) for x, y, r, t in others
    )


def error_bars(found: TransferScores, ax: Axes | None = None) -> Figure:
    """Draws models with their error bars; see `TransferScores.plot`."""
    names = list(found.scores)
    ax = ax if ax is not None else new_axes(5.6, 1.0 + 0.26 * len(names))
    values = np.array([found.scores[name] for name in names])
    ends = np.array([(found.intervals[name].low, found.intervals[name].high) for name in names])
    reach = np.abs(ends - values[:, None]).T
    ax.errorbar(values, np.arange(len(names)), xerr=reach, fmt="o", color="#1f4e79", markersize=5, linewidth=1.5)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    kind = "accuracy" if found.provenance.arguments["scale"] == "raw" else "log odds"
    level = f"{100 * found.provenance.arguments['level']:g} % intervals"
    ax.set_xlabel(f"mean {kind} over {len(found.datasets)} data sets, {level}")
    return figure_of(ax)


def new_axes(width: float, height: float) -> Axes:
    """Returns axes in a new figure of that size, in inches."""
    from matplotlib.figure import Figure

    axes: Axes = Figure(figsize=(width, height), layout="constrained").subplots()
    return axes


def figure_of(ax: Axes) -> Figure:
    """Returns the figure of axes."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def _colours(count: int) -> list[str]:
    palette = ["#1f4e79", "#c55a11", "#548235", "#7030a0", "#7f7f7f", "#bf9000"]
    return [palette[i % len(palette)] for i in range(count)]
