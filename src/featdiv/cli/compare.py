"""``featdiv compare``: how alike models are, from files that hold the same rows."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featdiv.cli import options, output
from featdiv.cli.progress import progress_bar

if TYPE_CHECKING:
    from featdiv.analyses import Comparison

MOST_PAIRS_SHOWN = 45

Models = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL",
        help="Two models or more: a file, a directory or a glob of shards for each, with the same rows.",
        show_default=False,
    ),
]
Metric = Annotated[str, typer.Option(metavar="NAME", help="Which similarity; `featdiv metrics` lists them.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="An argument of the metric, such as k=5; may be repeated."),
]


def compare(
    paths: Models,
    metric: Metric = "cka",
    definition: Annotated[
        str | None, typer.Option(metavar="NAME", help="Named formula of the metric, such as biased.")
    ] = None,
    set_: Set = None,
    key: options.Key = None,
    ids: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column beside the rows, in every file, by which rows are matched."),
    ] = None,
    groups: options.Groups = None,
    normalize: Annotated[
        options.Normalize | None, typer.Option(help="Divide each row by its Euclidean norm first.")
    ] = None,
    precision: Annotated[
        options.Precision | None,
        typer.Option(help="Arithmetic of the products; default: what the metric needs.", show_default=False),
    ] = None,
    backend: options.Backend = "auto",
    device: options.Device = None,
    interval: options.Intervals = options.Interval.AUTO,
    memory: options.Memory = None,
    nonfinite: options.RowsNotFinite = options.NonFinite.RAISE,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of every random choice.")] = 0,
    json: options.Json = None,
    plot: Annotated[str | None, typer.Option(metavar="OUT.png", help="Draw the matrix as a heat map.")] = None,
    dendrogram: Annotated[str | None, typer.Option(metavar="OUT.png", help="Draw the models as a tree.")] = None,
    quiet: options.Quiet = False,
) -> None:
    """How alike two models or more are: debiased CKA, with the biased one beside, or another similarity.

    Row i of every file is the same sample, unless --ids names a column by which rows are matched.
    """
    for path, option in ((json, "--json"), (plot, "--plot"), (dendrogram, "--dendrogram")):
        options.require_writable(path, option)
    if len(paths) < 2:
        raise typer.BadParameter(f"expected two models or more, each a path; got {len(paths)}")
    options.check_memory(memory)
    options.check_backend(backend)
    check_metric(metric, definition)
    result = run_compare(
        dict(zip(names(paths), paths, strict=True)),
        key=key,
        ids=ids,
        groups=groups,
        quiet=quiet,
        metric=metric,
        definition=definition,
        normalize=normalize.value if normalize else None,
        precision=precision.value if precision else None,
        backend=backend,
        device=device,
        interval=None if interval is options.Interval.NONE else interval.value,
        memory=memory,
        nonfinite=nonfinite.value,
        seed=seed,
        **parameters(set_ or []),
    )
    if json != "-":
        print_comparison(result, quiet=quiet)
    output.write_json(result.to_dict(), json)
    if plot is not None:
        output.save_figure(result.plot(), plot)
    if dendrogram is not None:
        output.save_figure(result.dendrogram(), dendrogram)
    output.say_written(json, plot, dendrogram, quiet=quiet)


def run_compare(
    models: dict[str, str], *, key: str | None, ids: str | None, groups: str | None, quiet: bool, **arguments: Any
) -> Comparison:
    """Calls `featdiv.compare`, with a progress bar, on what the paths hold."""
    import contextlib

    import featdiv

    with contextlib.ExitStack() as stack:
        sources = {
            name: stack.enter_context(
                options.open_source([path], key=key, ids=ids, groups=groups if place == 0 else None)
            )
            for place, (name, path) in enumerate(models.items())
        }
        progress = stack.enter_context(progress_bar("reading", quiet=quiet))
        return featdiv.compare(sources, progress=progress, **arguments)


def check_metric(metric: str, definition: str | None) -> None:
    """Refuses a metric or a definition that does not exist.

    Raises:
        typer.BadParameter: naming those that do.
    """
    from featdiv.metrics import catalogue

    known = catalogue.names("similarity")
    if metric not in known:
        raise typer.BadParameter(f"--metric: expected one of {', '.join(known)}; got {metric!r}")
    definitions = list(catalogue.definitions(metric))
    if definition is not None and definition not in definitions:
        raise typer.BadParameter(
            f"--definition: expected one of {', '.join(definitions)} for {metric}; got {definition!r}"
        )


def names(paths: list[str]) -> list[str]:
    """Returns a name for each path: its stem where stems differ, else as much of the path as tells them apart.

    Raises:
        typer.BadParameter: if a path is given twice.
    """
    twice = sorted({path for path in paths if paths.count(path) > 1})
    if twice:
        raise typer.BadParameter(f"{twice[0]} is given twice; a model needs no comparison with itself")
    parts = [Path(path).with_suffix("").parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        found = ["/".join(part[-depth:]) for part in parts]
        if len(set(found)) == len(found):
            return found
    return paths


def parameters(pairs: list[str]) -> dict[str, Any]:
    """Returns NAME=VALUE texts as arguments: whole numbers, numbers, else text.

    Raises:
        typer.BadParameter: if one is not of that form.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise typer.BadParameter(f"--set: expected NAME=VALUE, such as k=5; got {pair!r}")
        if name in inspect.signature(compare).parameters:
            raise typer.BadParameter(f"--set: {name} has an option of its own, --{name}")
        found[name] = _value(text)
    return found


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def print_comparison(result: Comparison, *, quiet: bool = False) -> None:
    """Prints the matrix, where there are more than two models, and each pair, where these are not too many.

    The matrix has three decimals, so that many columns fit on a line; pairs have all.
    """
    many = len(result.rows) > 2
    if many:
        lines = [
            [name, *("undefined" if value != value else f"{value:.3f}" for value in line)]
            for name, line in zip(result.rows, result.values.tolist(), strict=True)
        ]
        columns = [result.metric, *result.columns]
        output.print_table(columns, lines, title=describe(result), right=range(1, len(columns)))
    pairs = result.table()
    if len(pairs) <= MOST_PAIRS_SHOWN:
        if many:
            typer.echo()
        columns = ["pair", result.metric, "95 % interval", *(["biased"] if result.biased is not None else [])]
        rows = [_pair_line(result, pair)[: len(columns)] for pair in pairs]
        output.print_table(columns, rows, title=None if many else describe(result), right=(1, 3))
        output.beneath(result.scores, result.intervals)
    else:
        output.remark("note", f"{len(pairs)} pairs; --json has their intervals", quiet=quiet)
    output.say_undefined(result.undefined, quiet=quiet)
    output.notes(result, quiet=quiet)


def _pair_line(result: Comparison, pair: dict[str, Any]) -> list[str]:
    label = result.label(pair["row"], pair["column"])
    if pair["value"] is None:
        return [label, "undefined", "", ""]
    low, high, biased = pair["low"], pair["high"], pair["biased"]
    interval = "" if low is None else output.between(low, high)
    return [label, output.measured(pair["value"]), interval, "" if biased is None else output.measured(biased)]


def describe(result: Comparison) -> str:
    """Returns one line on where a comparison comes from."""
    made = result.provenance
    definition = f" ({made.definition})" if made.definition else ""
    how = ", ".join(filter(None, [made.precision, *sorted(set(made.backends.values()))]))
    return f"{result.metric}{definition} over {made.n:,} rows" + (f", {how}" if how else "")
