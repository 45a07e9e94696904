"""The probes of a ranking: accuracy on held-out folds against k and C, a line for each model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from featdiv.reports import parts
from featdiv.reports.entries import Entry
from featdiv.reports.figures.line_chart import MOST_BANDED, Series, line_chart
from featdiv.reports.markup import Markup, tag
from featdiv.reports.section import Palette

KINDS = ("Ranking",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """How the lines of one probe are drawn.

    Attributes:
        title: of the figure.
        x_label: of the horizontal axis.
        caption: what the reader should know of the lines.
    """

    title: str
    x_label: str
    caption: str


HELD_OUT = "the share of images that are right when their fold is held out"
FIGURES: Mapping[str, Figure] = {
    "linear": Figure(
        title="Linear probe, fold by fold",
        x_label="C, inverse strength of the penalty",
        caption=f"Accuracy of logistic regression against C: {HELD_OUT}. The fits are those that C is chosen with, to "
        "four fifths of each training part; the ranking has fits to all of it.",
    ),
    "knn": Figure(
        title="k-nearest-neighbour probe, fold by fold",
        x_label="k, neighbours that vote",
        caption=f"Accuracy of the vote of k neighbours: {HELD_OUT}.",
    ),
}
"""Probe to how it is drawn, in the order of the page."""


def models(entry: Entry) -> list[str]:
    """Returns the models that have a line."""
    lines = [line for probe in FIGURES for line in _lines(entry, probe)]
    return list(dict.fromkeys(lines))


def blocks(entry: Entry, palette: Palette) -> list[Markup]:
    """Returns a heading and a figure for each probe whose lines have more than a point."""
    found: list[Markup] = []
    for probe, figure in FIGURES.items():
        lines = _lines(entry, probe)
        banded = len(lines) <= MOST_BANDED
        series = [_series(name, points, palette, banded=banded) for name, points in lines.items()]
        if not any(len(line.x) > 1 for line in series):
            continue
        drawing = line_chart(
            series, x_label=figure.x_label, y_label="accuracy", title=figure.title, log_x=True, height=340
        )
        found += [
            tag("h3", figure.title),
            parts.figure(drawing, caption=figure.caption + (" Bands are 95 % intervals." if banded else "")),
        ]
    return found


def _lines(entry: Entry, probe: str) -> Mapping[str, Sequence[Sequence[float]]]:
    found: Mapping[str, Sequence[Sequence[float]]] = (entry.content.get("curves") or {}).get(probe) or {}
    return found


def _series(name: str, points: Sequence[Sequence[float]], palette: Palette, *, banded: bool) -> Series:
    x, y, low, high = (tuple(column) for column in zip(*points, strict=True))
    style = palette.style(name)
    return Series(name=name, style=style, x=x, y=y, low=low if banded else (), high=high if banded else ())
