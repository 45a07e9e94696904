"""Pictures of comparisons, drawn with matplotlib on request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from featdiv.analyses.comparison.result import Comparison

_MOST_NUMBERED = 12
_LETTER = 0.085


def heat_map(comparison: Comparison, ax: Axes | None = None) -> Figure:
    """Draws a comparison as a heat map; see `Comparison.plot`."""
    values = comparison.values
    r, c = values.shape
    ax = (
        ax
        if ax is not None
        else _new_axes(2.0 + 0.45 * c + _width(comparison.rows), 1.4 + 0.42 * r + 0.7 * _width(comparison.columns))
    )
    top = float(np.nanmax(values)) if comparison.distance and np.isfinite(values).any() else 1.0
    bottom = min(0.0, float(np.nanmin(values))) if np.isfinite(values).any() else 0.0
    colours = "viridis_r" if comparison.distance else "viridis"
    image = ax.imshow(values, vmin=bottom, vmax=max(top, bottom + 1e-12), cmap=colours, aspect="auto")
    ax.set_xticks(range(c), comparison.columns, rotation=45, ha="right")
    ax.set_yticks(range(r), comparison.rows)
    if max(r, c) <= _MOST_NUMBERED:
        for (i, j), value in np.ndenumerate(values):
            share = (value - bottom) / max(top - bottom, 1e-12)
            light = share < 0.6 if not comparison.distance else share > 0.4
            text = "–" if np.isnan(value) else f"{round(value, 2) + 0.0:.2f}"
            ax.text(j, i, text, ha="center", va="center", fontsize=8, color="white" if light else "black")
    definition = comparison.provenance.definition
    title = f"{comparison.metric} ({definition})" if definition else comparison.metric
    ax.set_title(f"{title}, {comparison.provenance.n:,} rows", fontsize=10)
    figure = _figure_of(ax)
    figure.colorbar(image, ax=ax, shrink=0.8)
    return figure


def dendrogram(comparison: Comparison, ax: Axes | None = None) -> Figure:
    """Draws a comparison as a tree; see `Comparison.dendrogram`."""
    from scipy.cluster import hierarchy

    tree = comparison.linkage()
    ax = ax if ax is not None else _new_axes(4.5 + _width(comparison.rows), 1.2 + 0.32 * len(comparison.rows))
    hierarchy.dendrogram(
        tree,
        labels=list(comparison.rows),
        orientation="right",
        ax=ax,
        color_threshold=0.0,
        above_threshold_color="#1f4e79",
    )
    ax.set_xlabel(comparison.metric if comparison.distance else f"1 - {comparison.metric}")
    return _figure_of(ax)


def _width(names: Sequence[str]) -> float:
    """Returns the inches that the longest of some names takes beside the axes."""
    return _LETTER * max(map(len, names))


def _new_axes(width: float, height: float) -> Axes:
    from matplotlib.figure import Figure

    axes: Axes = Figure(figsize=(width, height), layout="constrained").subplots()
    return axes


def _figure_of(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure
