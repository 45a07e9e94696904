"""Writing results: JSON and pictures as whole files, tables for a terminal or as plain aligned columns."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer


def say(text: str, *, quiet: bool = False) -> None:
    """Prints a message for people, on stderr."""
    if not quiet:
        typer.echo(text, err=True)


def write_json(content: Any, destination: str | None) -> None:
    """Writes ``content`` as JSON to a file, or to stdout for ``-``; None writes nothing."""
    if destination is None:
        return
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    if destination == "-":
        sys.stdout.write(text)
        return
    from featdiv.stats.storage import replacing

    with replacing(destination) as file:
        file.write(text.encode())


def save_plot(result: Any, destination: str) -> None:
    """Draws ``result.plot()`` into a picture file, in the format of its suffix."""
    save_figure(result.plot(), destination)


def save_figure(figure: Any, destination: str) -> None:
    """Writes a figure into a picture file, in the format of its suffix."""
    from featdiv.stats.storage import replacing

    with replacing(destination) as file:
        figure.savefig(file, dpi=150, format=Path(destination).suffix.removeprefix(".") or "png")


def number(value: float) -> str:
    """Returns a number as the tables show it: six significant digits."""
    return f"{value:.6g}"


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str | None = None,
    right: Sequence[int] = (),
) -> None:
    """Prints a table on stdout: drawn on a terminal, plain aligned columns in a pipe.

    Args:
        columns: headings.
        rows: cells, as text.
        title: a line above the table.
        right: indices of the columns that are aligned to the right.
    """
    if sys.stdout.isatty():
        _print_rich(columns, rows, title, right)
        return
    if title:
        typer.echo(title)
    widths = [max(len(line[i]) for line in [columns, *rows]) for i in range(len(columns))]
    for line in [columns, *rows]:
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        typer.echo("  ".join(cells).rstrip())


def _print_rich(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None, right: Sequence[int]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for i, name in enumerate(columns):
        table.add_column(name, justify="right" if i in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def result_rows(result: Any) -> list[list[str]]:
    """Returns one row (score, value, 95 % interval) for each score of a `featdiv.Result`."""
    rows = []
    for name in result.names():
        if name not in result.scores:
            rows.append([name, "undefined", result.undefined[name]])
            continue
        interval = result.intervals.get(name)
        shown = f"{number(interval.low)} … {number(interval.high)}" if interval else ""
        rows.append([name, number(result.scores[name]), shown])
    return rows


def print_result(result: Any, *, title: str, quiet: bool = False) -> None:
    """Prints a result as a table, followed by the remarks in its provenance."""
    columns, rows = ["score", "value", "95 % interval"], result_rows(result)
    baselines = getattr(result, "baselines", {})
    if baselines:
        columns = [*columns, "noise"]
        rows = [[*row, number(baselines[row[0]]) if row[0] in baselines else ""] for row in rows]
    print_table(columns, rows, title=title, right=(1, 3) if baselines else (1,))
    for note in result.provenance.notes:
        say(f"note: {note}", quiet=quiet)
