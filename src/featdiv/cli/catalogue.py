"""``featdiv metrics``: the catalogue, as it is in the code."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featdiv.cli import options, output

if TYPE_CHECKING:
    from featdiv.metrics import Metric


def metrics(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Show everything about one metric.", show_default=False),
    ] = None,
    json: options.Json = None,
) -> None:
    """List every metric with its formula and source, or show all that the catalogue says about one."""
    from featdiv.metrics import catalogue

    options.require_writable(json, "--json")
    wanted = (name,) if name else catalogue.names()
    entries = [catalogue.get(one, argument="featdiv metrics") for one in wanted]
    if json != "-":
        if name:
            output.print_table(["what", name], [[what, text] for what, text in facts(entries[0])])
        else:
            rows = [[entry.name, entry.formula, entry.definitions[0].source.short] for entry in entries]
            output.print_table(["metric", "formula", "source"], rows)
    output.write_json([as_dict(entry) for entry in entries], json)


def facts(entry: Metric) -> list[tuple[str, str]]:
    """Returns what the catalogue says about a metric, as pairs of heading and text."""
    found = [("summary", entry.summary)]
    for definition in entry.definitions:
        found.append((f"definition {definition.name}", definition.formula))
        found.append(("  source", definition.source.short))
        if definition.defect:
            found.append(("  known defect", definition.defect))
    found += [(f"range of {score}", bounds.text) for score, bounds in entry.bounds.items()]
    found += [
        ("direction", entry.direction),
        ("unit", ", ".join(dict.fromkeys(entry.units.values()))),
        ("unchanged by", ", ".join(entry.invariances) or "nothing"),
        ("changed by", ", ".join(entry.contrasts) or "nothing"),
        ("computed from", entry.needs),
    ]
    found += [(f"argument {argument}", meaning) for argument, meaning in entry.parameters.items()]
    if entry.note:
        found.append(("note", entry.note))
    return found


def as_dict(entry: Metric) -> dict[str, Any]:
    """Returns an entry as plain values; of the bounds, which are functions of (n, d), the text."""
    fields = {field.name: getattr(entry, field.name) for field in dataclasses.fields(entry)}
    fields["bounds"] = {score: bounds.text for score, bounds in entry.bounds.items()}
    fields["definitions"] = [dataclasses.asdict(definition) for definition in entry.definitions]
    fields["sources"] = [dataclasses.asdict(source) for source in entry.sources]
    fields["score_sources"] = {score: dataclasses.asdict(source) for score, source in entry.score_sources.items()}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()} | {
        "parameters": dict(entry.parameters),
        "directions": dict(entry.directions),
    }
