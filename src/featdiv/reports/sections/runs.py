"""What was run, how, on what, and how long: enough to repeat it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from featdiv.reports import parts
from featdiv.reports.entries import Entry
from featdiv.reports.markup import Markup, tag
from featdiv.reports.numbers import duration, is_number
from featdiv.reports.section import Palette, Section
from featdiv.reports.table import Cell, Column, table

COLUMNS = (
    Column(name="result"),
    Column(name="function"),
    Column(name="rows", numeric=True),
    Column(name="features", numeric=True),
    Column(name="method"),
    Column(name="precision"),
    Column(name="backend"),
    Column(name="seed", numeric=True),
    Column(name="time", numeric=True),
    Column(name="source", wide=True),
)


def build(entries: Sequence[Entry], palette: Palette) -> Section | None:
    """Returns the section."""
    kept = [place for place in range(len(COLUMNS)) if place == 0 or any(_line(entry)[place] != "" for entry in entries)]
    rows = [[_line(entry)[place] for place in kept] for entry in entries]
    versions = sorted({str(entry.provenance.get("version")) for entry in entries})
    body = parts.stacked(
        table(f"What was run, with featdiv {parts.sentence(versions)}.", [COLUMNS[place] for place in kept], rows),
        parts.folded(
            "Everything that shaped the numbers: arguments, fingerprints, error bounds",
            tag("div", *(_provenance(entry) for entry in entries), class_="runs-made"),
        ),
    )
    return Section(name="runs", title="What was run", body=body)


def _line(entry: Entry) -> list[Cell | str]:
    made = entry.provenance
    backends = sorted(set((made.get("backends") or {}).values()))
    seconds = entry.seconds
    return [
        entry.name,
        str(made.get("function") or ""),
        _whole(made.get("n")),
        _whole(made.get("d")),
        str(made.get("method") or ""),
        str(made.get("precision") or ""),
        ", ".join(backends),
        _whole(made.get("seed")),
        "" if seconds is None else Cell(content=duration(seconds), key=seconds),
        str(made.get("source") or ""),
    ]


def _whole(value: Any) -> Cell | str:
    return Cell(content=f"{value:,}", key=float(value)) if is_number(value) else ""


def _provenance(entry: Entry) -> Markup:
    facts = [
        fact
        for name, value in entry.provenance.items()
        if value not in (None, "", [], {}) and name != "notes"
        for fact in (tag("dt", name.replace("_", " ")), tag("dd", *_fact(value)))
    ]
    return tag("section", tag("h3", f"{entry.name}: {entry.kind}"), tag("dl", *facts, class_="facts"), class_="made")


def _fact(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        pairs = [f"{name} = {one if isinstance(one, str) else json.dumps(one)}" for name, one in value.items()]
        return [tag("span", pair) for pair in pairs]
    return [value if isinstance(value, str) else json.dumps(value)]
