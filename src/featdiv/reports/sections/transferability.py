"""Transferability scores: what predicts how well a model will do after training on the labels."""

from __future__ import annotations

from collections.abc import Sequence

from featdiv.reports import parts
from featdiv.reports.entries import Entry
from featdiv.reports.section import Palette, Section
from featdiv.reports.sections import metric_lookup, score_panels

KINDS = ("Transferability",)


def build(entries: Sequence[Entry], palette: Palette) -> Section | None:
    """Returns the section, or None where no score is defined."""
    names = score_panels.score_names(entries, metric_lookup.headline)
    panels = score_panels.panels(entries, names, palette)
    if not panels:
        return None
    body = parts.stacked(
        score_panels.score_table(
            entries,
            names,
            caption="Transferability scores. Compare models within a column, not columns with one another.",
        ),
        parts.figure(*panels, caption="The same scores as bars, with 95 % intervals where there are any.", wide=True),
    )
    return Section(name="transferability", title="Transferability", body=body)
