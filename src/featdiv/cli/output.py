"""Writing results: JSON and pictures as whole files, tables for a terminal or as plain aligned columns."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from featdiv.cli.flags import in_shell, running

warned: list[str] = []
"""The warnings that this run of the command line has printed."""


def say(text: str, *, quiet: bool = False) -> None:
    """Prints a message for people, on stderr."""
    if not quiet:
        # Not typer.echo, which would write past a progress bar into its line.
        print(text, file=sys.stderr, flush=True)


def say_written(*paths: str | None, quiet: bool = False) -> None:
    """Says which of the files that a command can write it has written: None was not asked for, ``-`` is stdout."""
    for path in paths:
        if path not in (None, "-"):
            say(f"wrote {path}", quiet=quiet)


def remark(kind: str, text: str, *, quiet: bool = False) -> None:
    """Prints a warning, a note or an error in the words of the shell, wrapped between words on a terminal."""
    command = running.get()
    line = f"{kind}: {text if command is None else in_shell(text, command)}"
    say(_wrapped(line) if sys.stderr.isatty() else line, quiet=quiet)


def _wrapped(line: str) -> str:
    return textwrap.fill(
        line,
        shutil.get_terminal_size().columns,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def beneath(scores: Mapping[str, float], intervals: Mapping[str, Any]) -> str:
    """Prints under a table why a score lies outside its own interval, where one does; returns what was printed."""
    from featdiv.results import outside

    line = outside(scores, intervals)
    if line:
        typer.echo(_wrapped(line) if sys.stdout.isatty() else line)
    return line


def notes(result: Any, *, told: str = "", quiet: bool = False) -> None:
    """Prints the remarks in the provenance of a result, less those that were printed as warnings or are ``told``."""
    for note in result.provenance.notes:
        if note != told and not any(warning.endswith(note) for warning in warned):
            remark("note", note, quiet=quiet)


def write_json(content: Any, destination: str | None) -> None:
    """Writes ``content`` as JSON to a file, or to stdout for ``-``; None writes nothing."""
    if destination is None:
        return
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    if destination == "-":
        sys.stdout.write(text)
        return
    from featdiv.io.writers import replacing

    with replacing(destination) as file:
        file.write(text.encode())


def save_plot(result: Any, destination: str) -> None:
    """Draws ``result.plot()`` into a picture file, in the format of its suffix."""
    save_figure(result.plot(), destination)


def save_figure(figure: Any, destination: str) -> None:
    """Writes a figure into a picture file, in the format of its suffix."""
    from featdiv.io.writers import replacing

    with replacing(destination) as file:
        figure.savefig(file, dpi=150, format=Path(destination).suffix.removeprefix(".") or "png")


def number(value: float) -> str:
    """Returns a setting or a limit as text: six significant digits at most."""
    return f"{value:.6g}"


def measured(value: float, *, digits: int = 6) -> str:
    """Returns a score as the tables show it: with so many significant digits, trailing zeros among them."""
    from featdiv.results import significant

    return significant(value, digits)


def between(low: float, high: float, *, digits: int = 6) -> str:
    """Returns an interval as the tables show it."""
    return f"{measured(low, digits=digits)} … {measured(high, digits=digits)}"


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str | None = None,
    right: Sequence[int] = (),
    spare: Sequence[int] = (),
) -> None:
    """Prints a table on stdout: drawn on a terminal, plain aligned columns in a pipe.

    Args:
        columns: headings.
        rows: cells, as text.
        title: a line above the table.
        right: indices of the columns that are aligned to the right.
        spare: indices of the columns that a terminal too narrow for all goes without, the last one first.
    """
    if sys.stdout.isatty():
        _print_rich(columns, rows, title, right, spare)
        return
    from featdiv.results import aligned

    lines = aligned([columns, *rows], right=right)
    try:
        typer.echo("\n".join([title, *lines] if title else lines))
    except BrokenPipeError:
        # A reader such as head has seen enough. Files that were asked for are still to be written.
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _print_rich(
    columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None, right: Sequence[int], spare: Sequence[int]
) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    widths = [max(len(line[i]) for line in [columns, *rows]) for i in range(len(columns))]
    shown = list(range(len(columns)))
    for i in sorted(spare, reverse=True):
        # Rich puts three blanks between two columns, and one on either side of all.
        if sum(widths[j] + 3 for j in shown) - 1 > console.width:
            shown.remove(i)
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for i in shown:
        table.add_column(columns[i], justify="right" if i in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[i]) for i in shown))
    console.print(table)
    if len(shown) < len(columns):
        left_out = ", ".join(columns[i] for i in range(len(columns)) if i not in shown)
        remark("note", f"this terminal is too narrow for: {left_out}")


def result_rows(result: Any) -> list[list[str]]:
    """Returns one row (score, value, 95 % interval) for each score of a `featdiv.Result`."""
    rows = []
    for name in result.names():
        if name not in result.scores:
            rows.append([name, "undefined", ""])
            continue
        interval = result.intervals.get(name)
        shown = between(interval.low, interval.high) if interval else ""
        rows.append([name, measured(result.scores[name]), shown])
    return rows


def say_undefined(reasons: Mapping[str, str], *, quiet: bool = False) -> None:
    """Says why scores are undefined, those with the same reason together."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    for reason, those in names.items():
        remark("note", f"{', '.join(those)} {'is' if len(those) == 1 else 'are'} undefined: {reason}", quiet=quiet)


def print_result(result: Any, *, title: str, quiet: bool = False) -> None:
    """Prints a result as a table, followed by the remarks in its provenance."""
    columns, rows = ["score", "value", "95 % interval"], result_rows(result)
    right, spare = [1], []
    definitions, baselines = getattr(result, "definitions", {}), getattr(result, "baselines", {})
    if definitions:
        columns.append("definition")
        rows = [[*row, definitions.get(row[0], "")] for row in rows]
    if baselines:
        right.append(len(columns))
        spare.append(len(columns))
        columns.append("noise")
        rows = [[*row, measured(baselines[row[0]]) if row[0] in baselines else ""] for row in rows]
    print_table(columns, rows, title=title, right=right, spare=spare)
    told = beneath(result.scores, result.intervals)
    say_undefined(result.undefined, quiet=quiet)
    notes(result, told=told, quiet=quiet)
