"""Pictures of studies, drawn with matplotlib on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from featdiv.studies.agreement import RankAgreement

_COEFFICIENTS = ("weighted_kendall", "kendall", "spearman", "pearson")


def agreement(found: RankAgreement, ax: Axes | None = None) -> Figure:
    """Draws the coefficients of a rank agreement; see `RankAgreement.plot`."""
    comparisons = found.comparisons
    ax = ax if ax is not None else new_axes(5.6, 1.4 + 0.22 * len(_COEFFICIENTS) * len(comparisons))
    step = 0.8 / len(comparisons)
    colours = _colours(len(comparisons))
    lines = [line for line in found.table() if line["measure"] in _COEFFICIENTS and line["value"] is not None]
    for comparison, colour in zip(comparisons, colours, strict=True):
        mine = [line for line in lines if line["comparison"] == comparison]
        shift = (comparisons.index(comparison) - (len(comparisons) - 1) / 2) * step
        heights = [_COEFFICIENTS.index(line["measure"]) + shift for line in mine]
        values = np.array([line["value"] for line in mine])
        ceiling = " ~ " in comparison and comparison not in found.truths
        label = f"{comparison} (ceiling)" if ceiling else comparison
        ax.plot(values, heights, "D" if ceiling else "o", color=colour, label=label, markersize=5)
        for line, height in zip(mine, heights, strict=True):
            if line["low"] is not None:
                ax.plot([line["low"], line["high"]], [height, height], color=colour, linewidth=1.5)
    ax.axvline(0.0, color="0.7", linewidth=0.8, zorder=0)
    ax.set_yticks(range(len(_COEFFICIENTS)), [name.replace("_", " ") for name in _COEFFICIENTS])
    ax.invert_yaxis()
    ax.set_xlim(-1.05, 1.05)
    several = f", {len(found.datasets)} data sets" if len(found.datasets) > 1 else ""
    ax.set_xlabel(f"agreement of {len(found.models)} models{several}")
    if comparisons != ("",):
        ax.legend(frameon=False, fontsize=8, loc="best")
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
