"""Probes: accuracy against k, C, the penalty and the number of examples, and the numbers of each model."""

from __future__ import annotations

from collections.abc import Sequence

from featdiv.reports import parts
from featdiv.reports.entries import Entry
from featdiv.reports.figures.line_chart import MOST_BANDED, Series, line_chart
from featdiv.reports.markup import Markup, tag
from featdiv.reports.section import Palette, Section
from featdiv.reports.sections import fold_curves, score_panels
from featdiv.reports.sections.probe_curves import CURVES, Curve, best_cell
from featdiv.reports.table import Cell, Column, number, table

KINDS = (*fold_curves.KINDS, *CURVES)


def build(entries: Sequence[Entry], palette: Palette) -> Section | None:
    """Returns the section, or None where there is no probe."""
    rankings = [entry for entry in entries if entry.kind in fold_curves.KINDS]
    blocks: list[Markup] = [block for entry in rankings for block in fold_curves.blocks(entry, palette)]
    for kind, curve in CURVES.items():
        held = [entry for entry in entries if entry.kind == kind]
        if held:
            blocks.append(tag("h3", curve.title))
            blocks += _probe(kind, curve, held, palette)
    if not blocks:
        return None
    single = [entry.name for entry in entries if entry.kind in CURVES]
    models = list(dict.fromkeys([*(name for entry in rankings for name in fold_curves.models(entry)), *single]))
    return Section(name="probes", title="Probes", body=parts.stacked(parts.legend(models, palette), *blocks))


def _probe(kind: str, curve: Curve, entries: Sequence[Entry], palette: Palette) -> list[Markup]:
    series = [_series(curve, entry, palette, banded=len(entries) <= MOST_BANDED) for entry in entries]
    blocks = []
    if any(len(line.x) > 1 for line in series):
        drawing = line_chart(
            series, x_label=curve.x_label, y_label="accuracy", title=curve.title, log_x=True, height=340
        )
        banded = " Bands are 95 % intervals." if any(line.low for line in series) else ""
        blocks.append(parts.figure(drawing, caption=f"{curve.caption}{banded}"))
    if kind == "KnnProbe":
        blocks.append(_knn_table(entries))
    else:
        blocks.append(score_panels.score_table(entries, score_panels.score_names(entries), caption=f"{curve.title}."))
    return blocks


def _series(curve: Curve, entry: Entry, palette: Palette, *, banded: bool) -> Series:
    points = curve.points(entry)
    banded = banded and any(point.low < point.high for point in points)
    return Series(
        name=entry.name,
        style=palette.style(entry.name),
        x=[point.x for point in points],
        y=[point.y for point in points],
        low=[point.low for point in points] if banded else (),
        high=[point.high for point in points] if banded else (),
    )


def _knn_table(entries: Sequence[Entry]) -> Markup:
    columns = [
        Column(name="model"),
        Column(name="best k", numeric=True),
        Column(name="vote"),
        Column(name="top-1", numeric=True),
        Column(name="top-5", numeric=True),
        Column(name="mean per class", numeric=True),
        Column(name="near duplicates", hint="Rows with an all but identical row among those that vote.", numeric=True),
    ]
    rows: list[list[Cell | str]] = []
    for entry in entries:
        best = best_cell(entry)
        ends = best.get("interval") or {}
        rows.append(
            [
                entry.name,
                number(best["k"]),
                str(best["vote"]),
                number(best["top1"], low=ends.get("low"), high=ends.get("high")),
                number(best["top5"]),
                number(best["mean_per_class"]),
                number(entry.content["near_duplicates"]),
            ]
        )
    same = any(entry.content.get("best_by") == "evaluated" for entry in entries)
    caption = "The best cell of each model." + (
        " It was chosen on the very rows that its accuracy is of, which makes that accuracy optimistic." if same else ""
    )
    return table(caption, columns, rows)
