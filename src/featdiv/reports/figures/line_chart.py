"""Lines over an axis: spectra, accuracy against k, against C."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from featdiv.reports.figures import frame
from featdiv.reports.figures.frame import Box
from featdiv.reports.figures.scales import Linear, Log, Scale, domain
from featdiv.reports.markup import Markup, join, tag
from featdiv.reports.numbers import shown

MOST_MARKED = 40
"""A line of more points is drawn without a mark on each."""

MOST_BANDED = 6
"""Bands of more lines than that hide one another; the callers leave them out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """One line.

    Attributes:
        name: as the legend has it.
        style: index of its colour; the same model has the same one in every figure.
        x: places along the axis, ascending.
        y: values.
        low: lower ends of a band about the line, or empty.
        high: upper ends.
        floor: value below which the line is noise, or None: it is drawn there as a faint dotted line.
    """

    name: str
    style: int
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    floor: float | None = None


def line_chart(
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    title: str,
    log_x: bool = False,
    log_y: bool = False,
    least_y: float | None = None,
    marked: bool = True,
    width: float = 720,
    height: float = 400,
) -> Markup:
    """Returns the lines on common axes.

    Points that the axes cannot show (not finite; not positive on a logarithmic axis) are left out.

    Args:
        series: the lines.
        x_label: of the horizontal axis.
        y_label: of the vertical axis.
        title: what a screen reader announces, with the names of the lines.
        log_x: logarithmic horizontal axis.
        log_y: logarithmic vertical axis.
        least_y: values below are cut off, or None.
        marked: whether each point of a short line has a mark.
        width: in CSS pixels.
        height: in CSS pixels.
    """
    kept = [_drawable(one, log_x=log_x, log_y=log_y) for one in series]
    kept = [one for one in kept if one.x]
    box = Box(left=66, top=12, right=width - 14, bottom=height - 48)
    names = ", ".join(one.name for one in kept)
    if not kept:
        return frame.drawing(
            frame.text(width / 2, height / 2, "nothing to draw", class_="tick", anchor="middle"),
            width=width,
            height=height,
            title=title,
        )
    values = [value for one in kept for value in (*one.y, *one.low, *one.high)]
    if least_y is not None:
        values = [max(value, least_y) for value in values]
    x = _scale([place for one in kept for place in one.x], box.left, box.right, log=log_x)
    y = _scale(values, box.bottom, box.top, log=log_y)
    lines = [_line(one, x, y, box, marked=marked) for one in kept]
    return frame.drawing(
        frame.axes(box, x, y, x_label=x_label, y_label=y_label),
        *lines,
        width=width,
        height=height,
        title=title,
        description=f"Lines of {names}",
    )


def _drawable(series: Series, *, log_x: bool, log_y: bool) -> Series:
    bands = len(series.low) == len(series.y) == len(series.high)
    kept = [
        index
        for index, (x, y) in enumerate(zip(series.x, series.y, strict=True))
        if math.isfinite(x) and math.isfinite(y) and (x > 0 or not log_x) and (y > 0 or not log_y)
    ]
    return dataclasses.replace(
        series,
        x=[series.x[index] for index in kept],
        y=[series.y[index] for index in kept],
        low=[series.low[index] for index in kept] if bands else (),
        high=[series.high[index] for index in kept] if bands else (),
    )


def _scale(values: Sequence[float], start: float, stop: float, *, log: bool) -> Scale:
    if log:
        low, high = min(values), max(values)
        if low == high:
            low, high = low / 2.0, high * 2.0
        room = (high / low) ** 0.02
        return Log(low / room, high * room, start, stop)
    return Linear(*domain(values), start, stop)


def _line(series: Series, x: Scale, y: Scale, box: Box, *, marked: bool) -> Markup:
    points = [(x(a), min(y(b), box.bottom)) for a, b in zip(series.x, series.y, strict=True)]
    resolved = len(points)
    if series.floor is not None:
        resolved = next((i for i, value in enumerate(series.y) if value <= series.floor), resolved)
    parts = []
    if series.low:
        around = [(x(a), y(b)) for a, b in zip(series.x, series.high, strict=True)]
        back = [(x(a), y(b)) for a, b in zip(series.x, series.low, strict=True)]
        parts.append(frame.path([*around, *back[::-1]], class_="band"))
    if resolved:
        parts.append(frame.path(points[:resolved], class_="line"))
    if resolved < len(points) and series.floor is not None:
        parts.append(frame.path(points[max(0, resolved - 1) :], class_="line below-floor"))
        level = min(y(series.floor), box.bottom)
        parts.append(frame.line(box.left, level, box.right, level, class_="floor"))
    if marked and len(points) <= MOST_MARKED:
        parts += [
            tag(
                "circle",
                tag("title", f"{series.name}: {shown(b)} at {shown(a)}"),
                cx=frame.place(px),
                cy=frame.place(py),
                r=3,
            )
            for (px, py), a, b in zip(points[:resolved], series.x, series.y, strict=False)
        ]
    title = tag("title", series.name)
    return tag("g", title, join(parts), class_=f"series {frame.style(series.style)}", data_series=series.style)
