"""``featdiv diversity``: a table of diversity scores, each with interval, the value of noise, and source."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featdiv.cli import options, output
from featdiv.cli.progress import progress_bar

if TYPE_CHECKING:
    from featdiv.analyses import Diversity

DIGITS = 4
"""Significant digits, as papers print them."""


class Table(enum.StrEnum):
    """Values of ``--table``."""

    MARKDOWN = "markdown"
    LATEX = "latex"


def diversity(
    paths: options.Paths,
    key: options.Key = None,
    labels: options.Labels = None,
    groups: options.Groups = None,
    metrics: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="default, all, a family (spectral, geometric, labelled) or metrics, separated by commas.",
        ),
    ] = "default",
    ignore: Annotated[
        str | None, typer.Option(metavar="LABEL", help="Leave out rows with this label, such as -1.")
    ] = None,
    precision: Annotated[
        options.Precision, typer.Option(help="Arithmetic of the second moments.")
    ] = options.Precision.FLOAT32,
    backend: options.Backend = "auto",
    interval: options.Intervals = options.Interval.AUTO,
    memory: options.Memory = None,
    sample: Annotated[
        int | None,
        typer.Option(
            metavar="ROWS",
            min=2,
            help="Draw so many rows for the scores that compare all pairs of rows or search neighbours; default: all.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of every random choice.")] = 0,
    json: options.Json = None,
    table: Annotated[
        Table | None, typer.Option(help="Print the table as Markdown or LaTeX instead.", show_default=False)
    ] = None,
    plot: Annotated[str | None, typer.Option(metavar="OUT.png", help="Draw a bar for each score.")] = None,
    quiet: options.Quiet = False,
) -> None:
    """How diverse embeddings are: effective rank, RankMe, Vendi, uniformity, intrinsic dimension and more.

    Each score comes with a 95 % interval where one is valid, what isotropic noise of the same shape would give,
    and its source. PATH may also be a file of moments that `featdiv spectrum --save-moments` wrote.
    """
    for path, option in ((json, "--json"), (plot, "--plot")):
        options.require_writable(path, option)
    options.check_memory(memory)
    options.check_backend(backend)
    wanted = [name.strip() for name in metrics.split(",") if name.strip()]
    result = run_diversity(
        paths,
        key=key,
        labels=labels,
        groups=groups,
        quiet=quiet,
        metrics=wanted,
        ignore=ignore,
        precision=precision.value,
        backend=backend,
        interval=None if interval is options.Interval.NONE else interval.value,
        memory=memory,
        sample=sample,
        seed=seed,
    )
    if json != "-":
        print_diversity(result, table=table, quiet=quiet)
    output.write_json(result.to_dict(), json)
    if plot is not None:
        output.save_plot(result, plot)
    output.say_written(json, plot, quiet=quiet)


def run_diversity(
    paths: list[str],
    *,
    key: str | None,
    labels: str | None,
    groups: str | None,
    ignore: str | None,
    metrics: list[str],
    sample: int | None,
    quiet: bool,
    **arguments: Any,
) -> Diversity:
    """Calls `featdiv.diversity`, with a progress bar, on what the paths hold: rows, or one file of moments.

    Raises:
        typer.BadParameter: if something is asked of moments that only rows can tell, or of rows without labels.
    """
    import featdiv

    arguments["metrics"] = metrics[0] if len(metrics) == 1 else metrics
    moments = options.load_moments(paths)
    if moments is not None:
        if labels or groups or key or ignore or sample:
            raise typer.BadParameter(
                f"{paths[0]} holds moments: --key, --labels, --groups, --ignore and --sample go with rows"
            )
        check_metrics(metrics, labelled=False)
        return featdiv.diversity(moments, **arguments)
    with (
        options.open_source(paths, key=key, labels=labels, groups=groups) as source,
        progress_bar("reading", quiet=quiet) as progress,
    ):
        check_metrics(metrics, labelled=source.labels is not None)
        label = options.as_label(ignore, source.labels)
        return featdiv.diversity(source, ignore=label, sample=sample, progress=progress, **arguments)


def check_metrics(names: list[str], *, labelled: bool) -> None:
    """Refuses names of metrics that do not exist, or that need labels.

    Raises:
        typer.BadParameter: with a hint.
    """
    from featdiv.analyses.diversity_table import selection
    from featdiv.errors import InputError

    try:
        selection.chosen(names, labelled=labelled)
    except InputError as error:
        message = str(error).removeprefix(f"{selection.FUNCTION}: metrics: ")
        raise typer.BadParameter(f"--metrics: {message.replace('labels=; got None', '--labels')}") from None


def print_diversity(result: Diversity, *, table: Table | None = None, quiet: bool = False) -> None:
    """Prints the table, for people or to paste, and the remarks."""
    told = ""
    if table is not None:
        typer.echo(result.to_markdown() if table is Table.MARKDOWN else result.to_latex())
    else:
        columns = ["score", "value", "95 % interval", "noise", "reading", "source"]
        rows = []
        for line in result.lines:
            if line.value is None:
                rows.append([line.name, "undefined", "", "", line.direction, cited(line.source)])
                continue
            interval = ""
            if line.interval is not None:
                interval = output.between(line.interval.low, line.interval.high, digits=DIGITS)
            beside = "" if line.noise is None else output.measured(line.noise, digits=DIGITS)
            value = output.measured(line.value, digits=DIGITS)
            rows.append([line.name, value, interval, beside, line.direction, cited(line.source)])
        output.print_table(columns, rows, title=describe(result), right=(1, 3), spare=(3, 4, 5))
        told = output.beneath(result.scores, result.intervals)
        output.say_undefined(result.undefined, quiet=quiet)
    output.notes(result, told=told, quiet=quiet)


def cited(source: str) -> str:
    """Returns ``"Garrido et al. 2023"`` for a source of three authors or more, without the place."""
    names, _, rest = source.partition(",") if " & " in source and "," in source.split(" & ")[0] else ("", "", source)
    if not names:
        return source.partition(", ")[0]
    year = next(word for word in rest.replace(",", " ").split() if word.isdigit() and len(word) == 4)
    return f"{names} et al. {year}"


def describe(result: Diversity) -> str:
    """Returns one line on where a result comes from."""
    made = result.provenance
    backends = ", ".join(f"{op} by {name}" for op, name in made.backends.items())
    if not made.passes:
        return f"{made.n:,} × {made.d} {made.dtype}, from {made.source}"
    passes = "1 reading" if made.passes == 1 else f"{made.passes} readings"
    return f"{made.n:,} × {made.d} {made.dtype}, {passes} ({backends}), {made.source}"
