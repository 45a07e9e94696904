"""What a reader of the numbers should know: notes of the results, and scores that are undefined."""

from __future__ import annotations

from collections.abc import Sequence

from featdiv.reports import parts
from featdiv.reports.entries import Entry
from featdiv.reports.markup import tag
from featdiv.reports.numbers import words
from featdiv.reports.section import Palette, Section


def build(entries: Sequence[Entry], palette: Palette) -> Section | None:
    """Returns the section, or None where there is nothing to remark."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        for note in entry.notes:
            found.setdefault(str(note), []).append(entry.name)
        for score, reason in entry.undefined.items():
            found.setdefault(f"{words(score)} is undefined: {reason}", []).append(entry.name)
    if not found:
        return None
    everyone = set(palette.models)
    items = []
    for note, names in found.items():
        about = list(dict.fromkeys(names))
        whom = "all models" if len(everyone) > 1 and set(about) >= everyone else parts.sentence(about)
        items.append(parts.stacked(tag("strong", whom), ": ", note))
    return Section(name="remarks", title="Remarks and warnings", body=parts.listed(items, class_="remarks"))
