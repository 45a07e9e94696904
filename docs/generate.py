"""Writes the pages that repeat what the code says: definitions, commands, and public names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import featdiv
from featdiv.cli.app import commands
from featdiv.metrics import Metric, catalogue

GROUPS = {
    "Analyses": ("featdiv.analyses",),
    "Reports": ("featdiv.reports",),
    "Images and models": ("featdiv.backbones",),
    "Metrics": ("featdiv.metrics",),
    "Studies": ("featdiv.studies",),
    "Probes": ("featdiv.probes",),
    "Statistics": ("featdiv.stats",),
    "Inputs": ("featdiv.io",),
    "Backends": ("featdiv.ops",),
    "Results": ("featdiv.results",),
    "Errors and warnings": ("featdiv.errors",),
}
"""Heading to the modules whose public names stand under it."""

DEFINITIONS_INTRODUCTION = """\
# Definitions

What each name computes, from the catalogue that the code itself reads. X is (n, d), rows are samples;
lambda are the eigenvalues of the covariance in descending order, sigma the singular values (of centred rows,
unless said otherwise); logarithms are natural.

The number behind a published name never changes: a correction is a new definition name, and the changelog
lists it under *Numbers*.
"""

COMMANDS_INTRODUCTION = """\
# Command line

Results go to stdout, progress and messages to stderr; `--json -` leaves JSON alone on stdout. Files appear
under their name when they are complete.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | the data, or this machine, cannot do it; the message says why |
| 2 | wrong usage |
| 3 | `featdiv check`: a requirement does not hold |
| 130 | interrupted |
"""


def write_pages(folder: Path) -> None:
    """Writes every generated page, leaving those alone that would not change: builds stay incremental."""
    folder.mkdir(exist_ok=True)
    for name, text in {"definitions.md": definitions(), "cli.md": command_line(), "api.md": api()}.items():
        page = folder / name
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def definitions() -> str:
    """Returns the page of all metrics, from the catalogue."""
    entries = [catalogue.get(name) for name in catalogue.names()]
    lines = [DEFINITIONS_INTRODUCTION, "| name | formula | source |", "| --- | --- | --- |"]
    lines += [
        f"| [`{entry.name}`](#{entry.name.replace('_', '-')}) | {formula_cell(entry.formula)} | "
        f"{escape(entry.definitions[0].source.short)} |"
        for entry in entries
    ]
    for entry in entries:
        lines += ["", *definition(entry)]
    return "\n".join(lines) + "\n"


def definition(entry: Metric) -> Iterable[str]:
    """Yields the section of one metric."""
    yield f"({entry.name.replace('_', '-')})="
    yield f"## {entry.name}"
    yield ""
    yield entry.summary
    if entry.alias_of:
        yield ""
        yield f"Another name of `{entry.alias_of}`."
    for item in entry.definitions:
        yield ""
        name = "Formula" if item.name == "default" else f"`{item.name}`"
        yield f"**{name}**, {escape(item.source.full)}"
        yield ""
        yield "```text"
        yield item.formula
        yield "```"
        if item.defect:
            yield f"\n*Known defect:* {escape(item.defect)}"
    yield ""
    for score, bounds in entry.bounds.items():
        yield f"- Range of `{score}`: {escape(bounds.text)}; unit: {entry.units[score]}"
    yield f"- {entry.direction[:1].upper()}{entry.direction[1:]}"
    yield f"- Unchanged by: {', '.join(entry.invariances) or 'nothing'}"
    yield f"- Changed by: {', '.join(entry.contrasts) or 'nothing'}"
    if entry.jackknife:
        yield f"- No jackknife interval: {escape(entry.jackknife)}"
    for argument, meaning in entry.parameters.items():
        yield f"- `{argument}`: {escape(meaning)}"
    if entry.note:
        yield ""
        yield escape(entry.note)


def escape(text: str) -> str:
    """Returns text in which Markdown finds nothing to set."""
    for character in "\\*_`[]<>|$":
        text = text.replace(character, "\\" + character)
    return text


def formula_cell(formula: str) -> str:
    """Returns a formula for a cell of a table."""
    return "`" + formula.replace("|", "\\|") + "`"


def command_line() -> str:
    """Returns the page of all commands, from the command tree itself."""
    group = commands()
    lines = [COMMANDS_INTRODUCTION]
    for name in group.list_commands(None):
        for path, command in subcommands(name, group.commands[name]):
            context = command.make_context(path, [], resilient_parsing=True)
            context.info_name = f"featdiv {path}"
            lines += [f"## featdiv {path}", "", "```text", command.get_help(context), "```", ""]
    return "\n".join(lines)


def subcommands(path: str, command: Any) -> Iterable[tuple[str, Any]]:
    """Yields a command with its path, or those below it where it is a group."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, below in command.commands.items():
        yield from subcommands(f"{path} {name}", below)


def api() -> str:
    """Returns the page of all public names, grouped by the module that defines them."""
    lines = ["# Python", "", "Everything here is reached as `featdiv.<name>`; names load on first use.", ""]
    for heading, modules in GROUPS.items():
        names = [name for name, module in featdiv._PUBLIC.items() if module.startswith(modules)]
        # What is called comes before what it returns.
        names.sort(key=lambda name: isinstance(getattr(featdiv, name), type))
        lines += [f"## {heading}", "", "```{eval-rst}", ".. currentmodule:: featdiv", ""]
        for name in names:
            lines += directive(name, getattr(featdiv, name))
        lines += ["```", ""]
    return "\n".join(lines)


def directive(name: str, value: Any) -> list[str]:
    """Returns the autodoc directive of a public name."""
    if not isinstance(value, type):
        return [f".. autofunction:: {name}", ""]
    if issubclass(value, BaseException):
        return [f".. autoexception:: {name}", "   :show-inheritance:", ""]
    return [f".. autoclass:: {name}", "   :members:", "   :show-inheritance:", "   :no-undoc-members:", ""]
