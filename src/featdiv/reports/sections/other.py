"""Results that no other section shows: their scores, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from featdiv.reports import parts
from featdiv.reports.entries import Entry
from featdiv.reports.numbers import words
from featdiv.reports.section import Palette, Section
from featdiv.reports.table import Cell, Column, number, table


def build(entries: Sequence[Entry], palette: Palette) -> Section | None:
    """Returns the section, or None where every result is shown elsewhere."""
    from featdiv.reports.sections.registry import BUILDERS

    shown = {kind for builder in BUILDERS for kind in builder.kinds}
    left = [entry for entry in entries if entry.kind not in shown]
    if not left:
        return None
    tables = []
    for entry in left:
        rows: list[list[Cell | str]] = []
        for name, value in entry.scores.items():
            low, high = entry.interval(name)
            rows.append([words(name), number(value, low=low, high=high, reason=entry.undefined.get(name, ""))])
        columns = [Column(name="score"), Column(name="value", numeric=True)]
        tables.append(table(f"{entry.kind} of {entry.name}.", columns, rows))
    return Section(name="other", title="Other results", body=parts.stacked(*tables))
