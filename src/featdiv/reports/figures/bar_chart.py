"""Horizontal bars with their intervals: one score of several models."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from featdiv.reports.figures import frame
from featdiv.reports.figures.scales import Linear, domain
from featdiv.reports.markup import Markup, join, tag
from featdiv.reports.numbers import shown, span

LINE = 24
LETTER = 7.2
"""Width of an average letter of a label in a wide font, in CSS pixels."""

LONGEST_NAME = 26


def _three_digits(value: float) -> str:
    return shown(value, 3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar.

    Attributes:
        name: what it belongs to.
        style: index of its colour.
        value: its length, or None where it is undefined.
        low: lower end of the interval, or None.
        high: upper end, or None.
        reference: a value to compare with, drawn as a tick, or None.
        remark: why there is no value.
    """

    name: str
    style: int
    value: float | None
    low: float | None = None
    high: float | None = None
    reference: float | None = None
    remark: str = ""


def bar_chart(
    bars: Sequence[Bar], *, title: str, width: float = 430, number: Callable[[float], str] = _three_digits
) -> Markup:
    """Returns one bar a line, from zero, with whiskers for intervals and the number at the right.

    Args:
        bars: from top to bottom.
        title: what a screen reader announces, with every value.
        width: in CSS pixels.
        number: how values are written.
    """
    longest = max(len(cut(bar.name)) for bar in bars)
    left = 14 + LETTER * longest
    # The numbers stand at the right, clear of the longest bar.
    widest = max((len(number(bar.value)) for bar in bars if bar.value is not None), default=0)
    right, height = width - max(66.0, 12 + LETTER * widest), 6 + LINE * len(bars) + 22
    ends = [
        end
        for bar in bars
        for end in (bar.value, bar.low, bar.high, bar.reference)
        if end is not None and bar.value is not None
    ]
    scale = Linear(*domain(ends or [0.0, 1.0], zero=True), left, right)
    bottom = 6.0 + LINE * len(bars)
    parts = []
    for value, label in scale.ticks(max(3, int((right - left) / 60))):
        parts.append(frame.line(scale(value), 4, scale(value), bottom, class_="grid"))
        parts.append(frame.text(scale(value), bottom + 16, label, class_="tick", anchor="middle"))
    parts.append(frame.line(scale(0.0), 4, scale(0.0), bottom, class_="axis"))
    parts += [
        _bar(bar, scale, 6 + LINE * index, left=left, right=width, number=number) for index, bar in enumerate(bars)
    ]
    spoken = "; ".join(f"{bar.name} {'undefined' if bar.value is None else shown(bar.value)}" for bar in bars)
    return frame.drawing(*parts, width=width, height=height, title=title, description=spoken)


def cut(name: str, longest: int = LONGEST_NAME) -> str:
    """Returns a name, its middle left out where it is long: its ends tell names apart.

    Example:
        >>> cut("vit_base_patch16_clip_224.openai", 17)
        'vit_base…4.openai'
    """
    if len(name) <= longest:
        return name
    return f"{name[: longest // 2]}…{name[-((longest - 1) // 2) :]}"


def _bar(bar: Bar, scale: Linear, top: float, *, left: float, right: float, number: Callable[[float], str]) -> Markup:
    middle = top + LINE / 2
    name = frame.text(left - 8, middle + 4, cut(bar.name), class_="bar-name", anchor="end")
    if bar.value is None:
        label = frame.text(left + 6, middle + 4, "undefined", class_="tick")
        return tag("g", tag("title", f"{bar.name}: undefined: {bar.remark}"), name, label, class_="series")
    start, stop = sorted((scale(0.0), scale(bar.value)))
    interval = "" if bar.low is None or bar.high is None else f" ({span(bar.low, bar.high)})"
    parts = [
        tag("title", f"{bar.name}: {shown(bar.value)}{interval}"),
        name,
        tag(
            "rect",
            x=frame.place(start),
            y=frame.place(top + 5),
            width=frame.place(max(stop - start, 0.5)),
            height=LINE - 10,
            class_="bar",
        ),
    ]
    if bar.reference is not None:
        at = scale(bar.reference)
        parts.append(frame.line(at, top + 2, at, top + LINE - 2, class_="reference"))
    if bar.low is not None and bar.high is not None:
        low, high = scale(bar.low), scale(bar.high)
        parts.append(frame.line(low, middle, high, middle, class_="whisker"))
        parts += [frame.line(end, middle - 4, end, middle + 4, class_="whisker") for end in (low, high)]
    parts.append(frame.text(right - 2, middle + 4, number(bar.value), class_="bar-value", anchor="end"))
    return tag("g", join(parts), class_=f"series {frame.style(bar.style)}", data_series=bar.style)
