"""What all figures share: the drawing with its title for screen readers, axes, grid, and the styles of series."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from featdiv.reports.figures.scales import Scale
from featdiv.reports.markup import Markup, escape, join, tag

COLOURS = 8
"""Colours that the style sheet has for series, as the classes c0, c1, …; then come dashes, as d1 and d2."""

DASHES = 3

SMALLEST = 0.66
"""Share of its width below which a drawing scrolls rather than shrinks: its labels would not be legible."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Box:
    """Where the data lie in a drawing, in its own units, which are CSS pixels at full width."""

    left: float
    top: float
    right: float
    bottom: float


def style(index: int) -> str:
    """Returns the classes of a series: first colours change, then dashes.

    Example:
        >>> style(0), style(9)
        ('c0 d0', 'c1 d1')
    """
    return f"c{index % COLOURS} d{index // COLOURS % DASHES}"


def drawing(*children: Any, width: float, height: float, title: str, description: str = "") -> Markup:
    """Returns an SVG element that a screen reader announces by its title and description."""
    return tag(
        "svg",
        *children,
        viewBox=f"0 0 {place(width)} {place(height)}",
        width=place(width),
        height=place(height),
        style=f"min-width:{place(SMALLEST * width)}px",
        role="img",
        aria_label=f"{title}. {description}" if description else title,
    )


def place(value: float) -> str:
    """Returns a coordinate, to a tenth of a pixel.

    Example:
        >>> place(12.04), place(12.06), place(-0.01)
        ('12', '12.1', '0')
    """
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")


def path(points: Sequence[tuple[float, float]], *, class_: str | None = None) -> Markup:
    """Returns a line through the points."""
    data = "M" + "L".join(f"{place(x)} {place(y)}" for x, y in points)
    return tag("path", d=data, class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, *, class_: str | None = None) -> Markup:
    """Returns a straight line."""
    return tag("line", x1=place(x1), y1=place(y1), x2=place(x2), y2=place(y2), class_=class_)


def text(x: float, y: float, content: Any, *, class_: str | None = None, anchor: str = "start") -> Markup:
    """Returns a label."""
    return tag("text", escape(content), x=place(x), y=place(y), text_anchor=anchor, class_=class_)


def axes(box: Box, x: Scale, y: Scale, *, x_label: str, y_label: str) -> Markup:
    """Returns grid, ticks and labels of both axes."""
    parts = []
    width, height = box.right - box.left, box.bottom - box.top
    for value, label in x.ticks(max(2, int(width / 70))):
        parts.append(line(x(value), box.top, x(value), box.bottom, class_="grid"))
        parts.append(text(x(value), box.bottom + 17, label, class_="tick", anchor="middle"))
    for value, label in y.ticks(max(2, int(height / 40))):
        parts.append(line(box.left, y(value), box.right, y(value), class_="grid"))
        parts.append(text(box.left - 8, y(value) + 4, label, class_="tick", anchor="end"))
    parts.append(line(box.left, box.bottom, box.right, box.bottom, class_="axis"))
    middle = (box.top + box.bottom) / 2
    parts.append(text((box.left + box.right) / 2, box.bottom + 38, x_label, class_="axis-label", anchor="middle"))
    parts.append(
        tag(
            "text",
            escape(y_label),
            transform=f"translate({place(box.left - 50)} {place(middle)}) rotate(-90)",
            text_anchor="middle",
            class_="axis-label",
        )
    )
    return join(parts)
