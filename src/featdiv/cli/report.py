"""``featdiv report``: one self-contained page from the JSON files of other commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from featdiv.cli import options, output

DEFAULT = "report.html"


def report(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]RESULT.json",
            help="Results that --json wrote, of one model or many; NAME= says which model one is about.",
            show_default=False,
        ),
    ],
    out: Annotated[str, typer.Option("--out", "-o", metavar="OUT.html", help="Where to write the page.")] = DEFAULT,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="Heading of the page.")] = None,
    quiet: options.Quiet = False,
) -> None:
    """Render results as one HTML page that needs nothing else: scores, spectra, diversity, heat maps, probes, sources.

    Each file holds one result, as `featdiv spectrum`, `compare`, `diversity`, `knn`, `probe`, `transferability` and
    `rank-models` write them with --json. Without NAME=, a model is called after the file of its rows.
    """
    options.require_writable(out, "--out")
    import featdiv
    from featdiv.stats import budget

    named = [split(argument) for argument in files]
    entries = [{name: path} if name else path for name, path in named]
    page = featdiv.report(entries, out, title=title or None)
    many = "1 result" if len(files) == 1 else f"{len(files)} results"
    output.say(f"wrote {out}: {many}, {budget.size(len(page.encode()))}", quiet=quiet)


def split(argument: str) -> tuple[str, str]:
    """Returns (name, path) of an argument; no name where it is a path alone.

    Example:
        >>> split("resnet18=runs/a.json"), split("runs/a.json")
        (('resnet18', 'runs/a.json'), ('', 'runs/a.json'))
    """
    name, equals, path = argument.partition("=")
    if not equals or "/" in name or Path(argument).exists():
        return "", argument
    return name, path
