"""Diversity: bars with intervals, one panel a score."""

from __future__ import annotations

from collections.abc import Sequence

from featdiv.reports import parts
from featdiv.reports.entries import Entry
from featdiv.reports.section import Palette, Section
from featdiv.reports.sections import score_panels

KINDS = ("Diversity", "Spectrum", "FilterDiversity")

OF_SPECTRA = ("effective_rank", "rankme", "participation_ratio", "alpha_req", "stable_rank", "vendi")
"""Scores of a spectrum that say how diverse the features are."""


def build(entries: Sequence[Entry], palette: Palette) -> Section | None:
    """Returns the section, or None where no score is defined."""
    diverse = {name for entry in entries if entry.kind != "Spectrum" for name in entry.scores}
    # What a diversity result says goes before what a spectrum of the same model says.
    ordered = sorted(entries, key=lambda entry: KINDS.index(entry.kind))
    names = score_panels.score_names(ordered, lambda name: name in diverse or name in OF_SPECTRA)
    panels = score_panels.panels(ordered, names, palette)
    if not panels:
        return None
    caption = (
        "Bars begin at zero; whiskers are 95 % intervals, where there are any. Under each name stands how to read it: "
        "diverse is not in itself better."
    )
    if any(line.get("noise") is not None for entry in entries for line in entry.content.get("lines") or ()):
        caption += " A dashed tick is what isotropic noise of as many rows and features would give."
    return Section(name="diversity", title="Diversity", body=parts.figure(*panels, caption=caption, wide=True))
