"""Scores of several models side by side: a table that sorts, and a panel of bars for each score."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from featdiv.reports import parts
from featdiv.reports.entries import Entry
from featdiv.reports.figures.bar_chart import Bar, bar_chart
from featdiv.reports.markup import Markup, tag
from featdiv.reports.numbers import is_number, words
from featdiv.reports.section import Palette
from featdiv.reports.sections import metric_lookup
from featdiv.reports.table import Cell, Column, number, table


def score_names(entries: Sequence[Entry], wanted: Callable[[str], bool] = lambda name: True) -> list[str]:
    """Returns the names of the scores that any entry has, in the order in which they first appear."""
    return [name for name in dict.fromkeys(name for entry in entries for name in entry.scores) if wanted(name)]


def holder(entries: Sequence[Entry], model: str, score: str) -> Entry | None:
    """Returns the entry to show a score from: the first that has its value, else the first where it is undefined."""
    named = [entry for entry in entries if entry.name == model and score in entry.scores]
    return next((entry for entry in named if is_number(entry.scores[score])), named[0] if named else None)


def score_table(entries: Sequence[Entry], names: Sequence[str], *, caption: str) -> Markup:
    """Returns the table models x scores, each value over its interval."""
    columns = [Column(name="model")]
    columns += [Column(name=words(name), hint=metric_lookup.hint(name), numeric=True) for name in names]
    rows: list[list[Cell | str]] = []
    for model in dict.fromkeys(entry.name for entry in entries):
        cells: list[Cell | str] = [model]
        for name in names:
            entry = holder(entries, model, name)
            if entry is None:
                cells.append(Cell(content=""))
                continue
            low, high = entry.interval(name)
            value = entry.scores[name]
            cells.append(number(value, low=low, high=high, reason="undefined" if value is None else ""))
        rows.append(cells)
    return table(caption, columns, rows)


def panels(entries: Sequence[Entry], names: Sequence[str], palette: Palette) -> list[Markup]:
    """Returns a panel of bars for each score that some model defines."""
    made = []
    for name in names:
        held = [
            (model, entry)
            for model in dict.fromkeys(entry.name for entry in entries)
            if (entry := holder(entries, model, name)) is not None
        ]
        if any(is_number(entry.scores[name]) for _, entry in held):
            bars = [_bar(model, entry, name, palette) for model, entry in held]
            made.append(_panel(name, bars))
    return made


def _bar(model: str, entry: Entry, name: str, palette: Palette) -> Bar:
    value = entry.scores[name]
    low, high = entry.interval(name)
    lines = (entry.content.get("lines") or ()) if entry.kind == "Diversity" else ()
    reference = next((line["noise"] for line in lines if line["name"] == name), None)
    return Bar(
        name=model,
        style=palette.style(model),
        value=value if is_number(value) else None,
        low=low,
        high=high,
        reference=reference if is_number(reference) else None,
        remark=entry.undefined.get(name, ""),
    )


def _panel(name: str, bars: Sequence[Bar]) -> Markup:
    direction = metric_lookup.direction(name)
    return tag(
        "div",
        tag("h3", words(name), class_="panel-title"),
        parts.paragraph(direction, class_="panel-note") if direction else None,
        tag("div", bar_chart(bars, title=words(name)), class_="scroll"),
        class_="panel",
    )
