"""The scores of all models, one table a family of metrics."""

from __future__ import annotations

from collections.abc import Sequence

from featdiv.reports import parts
from featdiv.reports.entries import Entry
from featdiv.reports.section import Palette, Section
from featdiv.reports.sections import metric_lookup, score_panels

KINDS = ("Spectrum", "Diversity", "FilterDiversity", "Score")

MOST_COLUMNS = 7
"""Scores of a table: more would scroll on a screen and not fit on paper."""


def build(entries: Sequence[Entry], palette: Palette) -> Section | None:
    """Returns the section, or None where there are no scores of single models."""
    names = score_panels.score_names(entries, metric_lookup.headline)
    if not names:
        return None
    tables = []
    for family, members in _families(names).items():
        count = -(-len(members) // MOST_COLUMNS)
        size = -(-len(members) // count)
        for start in range(0, len(members), size):
            subject = "Scores of the weights" if family == "Weights" else f"{family} scores"
            caption = subject + (", continued." if start else ", with 95 % intervals where there are any.")
            tables.append(score_panels.score_table(entries, members[start : start + size], caption=caption))
    return Section(name="scores", title="Scores at a glance", body=parts.stacked(*tables))


def _families(names: Sequence[str]) -> dict[str, list[str]]:
    """Returns the scores by the family of their metric, families and scores in the order in which they come."""
    found: dict[str, list[str]] = {}
    for name in names:
        metric = metric_lookup.metric_of(name)
        found.setdefault(metric.family.capitalize() if metric else "Other", []).append(name)
    return found
