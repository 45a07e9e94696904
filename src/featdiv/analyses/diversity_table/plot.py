"""The picture of a table of scores: a bar for each, with its interval and a mark where noise lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from featdiv.metrics import catalogue

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from featdiv.analyses.diversity_table.result import Diversity, Line

_BAR, _NOISE = "#1f4e79", "#c0392b"
_DIMENSIONS = "dimensions (vendi: rows)"
_SHARES = "shares, cosines and distances of unit rows"
_WIDE = 50.0
_MANY, _SMALL = 1_000_000, 2.0
_OTHER = "other units"
_NUMBER = 0.1
"""Share of the width of a panel that a number takes."""


def draw(result: Diversity, ax: Axes | None = None) -> Figure:
    """Draws a table of scores; see `Diversity.plot`."""
    defined = [line for line in result.lines if line.value is not None]
    if ax is not None:
        _panel(defined, ax)
        figure = ax.get_figure(root=True)
        assert figure is not None
        return figure
    from matplotlib.figure import Figure

    panels = [part for part in _by_unit(defined) if part[1]]
    heights = [max(1.2, len(lines)) for _, lines in panels]
    figure = Figure(figsize=(7.6, 1.2 + 0.34 * sum(heights) + 0.5 * len(panels)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(len(panels), 1, height_ratios=heights))
    for (label, lines), panel in zip(panels, axes, strict=True):
        _panel(lines, panel)
        panel.set_xlabel(label)
    figure.suptitle(
        f"Diversity of {result.provenance.n:,} x {result.provenance.d:,} (red: isotropic noise of this shape)",
        fontsize=11,
    )
    return figure


def _by_unit(lines: Sequence[Line]) -> list[tuple[str, list[Line]]]:
    """Returns the panels: numbers of dimensions, what lies about one, and the rest, whose sizes may differ widely."""
    found: dict[str, list[Line]] = {_DIMENSIONS: [], _SHARES: [], _OTHER: []}
    for line in lines:
        metric = catalogue.get(line.metric)
        units = metric.unit.split("; ")
        unit = units[metric.scores.index(line.name) if len(units) == len(metric.scores) else 0]
        upper = metric.bounds[line.name].upper
        small = upper is not None and upper(_MANY, _MANY) <= _SMALL
        found[_DIMENSIONS if unit in ("dimensions", "rows") else _SHARES if small else _OTHER].append(line)
    return list(found.items())


def _across(x: float, ax: Axes) -> float:
    """Returns where a value lies between the sides of a panel, 0 to 1."""
    return float((ax.transScale + ax.transLimits).transform((x, 0.0))[0])


def _panel(lines: Sequence[Line], ax: Axes) -> None:
    place = np.arange(len(lines))[::-1]
    values = np.array([line.value for line in lines], dtype=np.float64)
    ax.barh(place, values, color=_BAR, height=0.62)
    for at, line in zip(place, lines, strict=True):
        if line.interval is not None:
            middle = (line.interval.low + line.interval.high) / 2.0
            half = (line.interval.high - line.interval.low) / 2.0
            ax.errorbar(middle, at, xerr=half, color="black", capsize=3, linewidth=1.2)
        if line.noise is not None:
            ax.plot([line.noise] * 2, [at - 0.38, at + 0.38], color=_NOISE, linewidth=2.0)
    ends = [line.interval.high for line in lines if line.interval] + list(values) + [0.0]
    ends += [line.noise for line in lines if line.noise is not None]
    starts = [line.interval.low for line in lines if line.interval] + list(values) + [0.0]
    starts += [line.noise for line in lines if line.noise is not None]
    span = (max(ends) - min(starts)) or 1.0
    if span > _WIDE * float(np.median(np.abs(values))):
        ax.set_xscale("symlog", linthresh=1.0)
        span = 0.0
    ax.set_xlim(min(starts) - 0.03 * span * (min(starts) < 0), max(ends) + 0.16 * span if span else 8.0 * max(ends))
    for at, line in zip(place, lines, strict=True):
        end = max(line.value or 0.0, line.interval.high if line.interval else 0.0, 0.0)
        if line.noise is not None and 0.0 < _across(line.noise, ax) - _across(end, ax) < _NUMBER:
            end = line.noise
        ax.annotate(f" {line.value:.4g}", (end, at), va="center", fontsize=8)
    ax.set_yticks(place, [line.name for line in lines], fontsize=8)
    ax.axvline(0.0, color="black", linewidth=0.8)
    ax.grid(visible=True, axis="x", alpha=0.3)
    ax.set_axisbelow(True)
