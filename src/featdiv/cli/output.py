"""Writing results: JSON and pictures as whole files, tables for a terminal or as plain aligned columns."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer


def say(text: str, *, quiet: bool = False) -> None:
    """Prints a message for people, on stderr."""
    if not quiet:
        typer.echo(text, err=True)


def write_file(path: str | os.PathLike[str], fill: Callable[[str], None]) -> None:
    """Lets ``fill(temporary)`` write a file beside ``path`` and renames it when it is complete.

    Args:
        path: the file to create or replace.
        fill: writes the content to the path that it is given, which keeps the suffix of ``path``.
    """
    target = Path(path)
    handle, temporary = tempfile.mkstemp(suffix=target.suffix, prefix=f".{target.stem}.", dir=target.parent)
    os.close(handle)
    try:
        fill(temporary)
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(content: Any, destination: str | None) -> None:
    """Writes ``content`` as JSON to a file, or to stdout for ``-``; None writes nothing."""
    if destination is None:
        return
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    if destination == "-":
        sys.stdout.write(text)
    else:
        write_file(destination, lambda temporary: _fill_text(temporary, text))


def _fill_text(path: str, text: str) -> None:
    Path(path).write_text(text, encoding="utf-8")


def save_plot(result: Any, destination: str) -> None:
    """Draws ``result.plot()`` into a picture file, without a display."""
    figure = result.plot()
    write_file(destination, lambda temporary: figure.savefig(temporary, dpi=150))


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
        title: a line above the table, shown on a terminal only.
        right: indices of the columns that are aligned to the right.
    """
    if sys.stdout.isatty():
        _print_rich(columns, rows, title, right)
        return
    widths = [max(len(line[i]) for line in [columns, *rows]) for i in range(len(columns))]
    for line in [columns, *rows]:
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        typer.echo("  ".join(cells).rstrip())


def _print_rich(
    columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None, right: Sequence[int]
) -> None:
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


def print_result(result: Any, *, title: str) -> None:
    """Prints a result as a table, followed by the remarks in its provenance."""
    print_table(["score", "value", "95 % interval"], result_rows(result), title=title, right=(1,))
    for note in result.provenance.notes:
        say(f"note: {note}")
