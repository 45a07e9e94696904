"""``featdiv correlate``: does one column of a table of models go with another, and does a third add anything?"""

from __future__ import annotations

import csv
import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featdiv.cli import options, output

if TYPE_CHECKING:
    from featdiv.studies.correlate import Correlation


class Scale(enum.StrEnum):
    """Values of ``--x-scale`` and ``--y-scale``, those of `featdiv.correlate`."""

    RAW = "raw"
    FRACTION = "fraction"
    PERCENT = "percent"


def correlate(
    table: Annotated[
        str,
        typer.Argument(metavar="TABLE.csv", help="One row a model, with a line of headings.", show_default=False),
    ],
    x: Annotated[
        str,
        typer.Option("--x", metavar="COLUMN[,…]", help="Column of x; several, separated by commas, are averaged."),
    ],
    y: Annotated[str, typer.Option("--y", metavar="COLUMN[,…]", help="Column of y, likewise.")],
    diversity: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="A second predictor: does it add anything to x?")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column with the names; default: the first one.")
    ] = None,
    x_scale: Annotated[Scale, typer.Option(help="fraction and percent take the logit of x.")] = Scale.RAW,
    y_scale: Annotated[Scale, typer.Option(help="fraction and percent take the logit of y.")] = Scale.RAW,
    test_images: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Test images of y: 0 and 1 are clipped to half an image from the end."),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="MODEL", help="A row to leave out; may be repeated.")
    ] = None,
    draws: Annotated[int, typer.Option(metavar="N", min=0, help="Resamples of the bootstrap over models.")] = 2000,
    permutations: Annotated[int, typer.Option(metavar="N", min=0, help="Permutations for the p-values.")] = 10_000,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of every random choice.")] = 0,
    json: options.Json = None,
    plot: Annotated[
        str | None, typer.Option(metavar="OUT.png", help="Draw the models with the line and its band.")
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Correlation of two columns over models, with bootstrap intervals and permutation tests.

    With --diversity also the joint regression, partial correlations, and the R² that the second predictor adds.
    """
    for path, option in ((json, "--json"), (plot, "--plot")):
        options.require_writable(path, option)
    import featdiv

    of_x, of_y = x.split(","), y.split(",")
    content = read_columns(table, [*of_x, *of_y, *([diversity] if diversity else [])], model, exclude or [])
    result = featdiv.correlate(
        _values(content, of_x),
        _values(content, of_y),
        diversity=content[diversity] if diversity else None,
        x_scale=x_scale.value,
        y_scale=y_scale.value,
        test_images=test_images,
        draws=draws,
        permutations=permutations,
        seed=seed,
        labels=(_label(of_x), _label(of_y)),
    )
    if json != "-":
        print_correlation(result, quiet=quiet)
    output.write_json(result.to_dict(), json)
    if plot is not None:
        output.save_plot(result, plot)
    output.say_written(json, plot, quiet=quiet)


def _values(content: dict[str, dict[str, float | None]], columns: list[str]) -> Any:
    """One column as a mapping from model to value, several as a mapping from column to such mappings."""
    return content[columns[0]] if len(columns) == 1 else {name: content[name] for name in columns}


def _label(columns: list[str]) -> str:
    return columns[0] if len(columns) == 1 else f"{len(columns)} columns"


def read_columns(
    path: str, names: list[str], model: str | None, exclude: list[str]
) -> dict[str, dict[str, float | None]]:
    """Returns columns of a CSV file by name, each a mapping from model to value; empty cells are None.

    Raises:
        featdiv.SourceNotFound: if there is no such file.
        featdiv.FormatError: if it has no such table: no headings, a model twice, a cell that is no number.
        typer.BadParameter: if a column or a model to leave out is not there.
    """
    from featdiv.errors import FormatError, SourceNotFound

    if not Path(path).is_file():
        raise SourceNotFound(f"featdiv correlate: no file is at {path!r}")
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            headings = list(reader.fieldnames or ())
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"featdiv correlate: {path}: expected a CSV file in UTF-8; {error}") from None
    if not rows:
        raise FormatError(f"featdiv correlate: {path}: expected a line of headings and one row a model; it has none")
    key = model or headings[0]
    for name in (key, *names):
        if name not in headings:
            raise typer.BadParameter(f"{path} has no column {name!r}; it has {', '.join(headings)}")
    missing = sorted(set(exclude) - {row[key] for row in rows})
    if missing:
        raise typer.BadParameter(f"--exclude: {path} has no model {missing[0]!r}")
    found: dict[str, dict[str, float | None]] = {name: {} for name in names}
    for number, row in enumerate(rows, start=2):
        label = row[key]
        if label in exclude:
            continue
        if any(label in column for column in found.values()):
            raise FormatError(f"featdiv correlate: {path}: line {number}: model {label!r} is there twice")
        for name in found:
            found[name][label] = _number(row[name], path, number, name)
    return found


def _number(text: str | None, path: str, line: int, column: str) -> float | None:
    from featdiv.errors import FormatError

    if text is None or not text.strip():
        return None
    try:
        return float(text)
    except ValueError:
        raise FormatError(
            f"featdiv correlate: {path}: line {line}: expected a number in column {column!r}; got {text!r}"
        ) from None


def print_correlation(result: Correlation, *, quiet: bool = False) -> None:
    """Prints the scores with intervals and p-values."""
    rows = [_line(line) for line in result.table()]
    title = f"{result.labels[1]} against {result.labels[0]}, {len(result.models)} models"
    output.print_table(["score", "value", "95 % interval", "p"], rows, title=title, right=(1, 3))
    output.say_undefined(result.undefined, quiet=quiet)
    output.notes(result, quiet=quiet)


def _line(line: dict[str, Any]) -> list[str]:
    if line["value"] is None:
        return [line["score"], "undefined", "", ""]
    interval = "" if line["low"] is None else output.between(line["low"], line["high"])
    p = "" if line["p_value"] is None else f"{line['p_value']:.2g}"
    return [line["score"], output.measured(line["value"]), interval, p]
