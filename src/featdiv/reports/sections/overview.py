"""The scores of all models in one table."""

from __future__ import annotations

from collections.abc import Sequence

from featdiv.reports.entries import Entry
from featdiv.reports.section import Palette, Section
from featdiv.reports.sections import metric_lookup, score_panels

KINDS = ("Spectrum", "Diversity", "Score")


def build(entries: Sequence[Entry], palette: Palette) -> Section | None:
    """Returns the section, or None where there are no scores of single models."""
    names = score_panels.score_names(entries, metric_lookup.headline)
    if not names:
        return None
    several = len({entry.name for entry in entries}) > 1
    caption = "Scores of each model, with 95 % intervals where there are any." + (
        " A heading sorts the table." if several else ""
    )
    body = score_panels.score_table(entries, names, caption=caption)
    return Section(name="scores", title="Scores at a glance", body=body)
