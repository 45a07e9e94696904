"""``featdiv transferability``: how well features should transfer to a labelled task, without training on it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featdiv.cli import options, output, probe_rows
from featdiv.cli.progress import progress_bar

if TYPE_CHECKING:
    from featdiv.analyses import Transferability


def transferability(
    paths: options.Paths,
    labels: options.Labels = None,
    source_probs: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Probabilities of the source classes, for leep and nce: rows by classes."),
    ] = None,
    metrics: Annotated[
        str, typer.Option(metavar="NAME,...", help="default, all, or names separated by commas.")
    ] = "default",
    key: options.Key = None,
    groups: options.Groups = None,
    k: Annotated[int, typer.Option("-k", metavar="K", min=1, help="Neighbours of the kNN probe.")] = 20,
    knn_queries: Annotated[
        int, typer.Option(metavar="N", min=0, help="Rows that are asked for their neighbours; 0 for all.")
    ] = 5000,
    normalize: Annotated[
        options.Normalize | None, typer.Option(help="Divide each row by its Euclidean norm first.")
    ] = None,
    ignore: Annotated[
        str | None, typer.Option(metavar="LABEL", help="Leave out rows with this label, such as -1.")
    ] = None,
    interval: options.Intervals = options.Interval.AUTO,
    precision: Annotated[
        options.Precision, typer.Option(help="Arithmetic of the second moments.")
    ] = options.Precision.FLOAT64,
    backend: options.Backend = "auto",
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Memory budget, such as 8GB; default: a quarter of RAM.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of every random choice.")] = 0,
    json: options.Json = None,
    plot: Annotated[str | None, typer.Option(metavar="OUT.png", help="Draw the accuracies.")] = None,
    quiet: options.Quiet = False,
) -> None:
    """LogME, H-score, TransRate, GBC, LDA, ridge and kNN accuracy in one table, from one pass and one more reading."""
    for path, option in ((json, "--json"), (plot, "--plot")):
        options.require_writable(path, option)
    options.check_memory(memory)
    options.check_backend(backend)
    result = _run(
        paths,
        key=key,
        labels=labels,
        groups=groups,
        quiet=quiet,
        source_probs=source_probs,
        metrics=metrics if metrics in ("default", "all") else metrics.split(","),
        k=k,
        knn_queries=knn_queries or None,
        normalize=normalize.value if normalize else None,
        ignore=ignore,
        interval=None if interval is options.Interval.NONE else interval.value,
        precision=precision.value,
        backend=backend,
        memory=memory,
        seed=seed,
    )
    if json != "-":
        output.print_result(result, title=_title(result), quiet=quiet)
    output.write_json(result.to_dict(), json)
    if plot is not None:
        output.save_plot(result, plot)
    output.say_written(json, plot, quiet=quiet)


def _run(
    paths: list[str],
    *,
    key: str | None,
    labels: str | None,
    groups: str | None,
    quiet: bool,
    source_probs: str | None,
    ignore: str | None,
    **arguments: Any,
) -> Transferability:
    import featdiv

    with contextlib.ExitStack() as stack:
        source = stack.enter_context(options.open_source(paths, key=key, labels=labels, groups=groups))
        probe_rows.require_labels(source)
        probabilities = None
        if source_probs is not None:
            rows = stack.enter_context(featdiv.open(source_probs))
            probabilities = rows.take(range(rows.n or 0))
        progress = stack.enter_context(progress_bar("reading", quiet=quiet))
        return featdiv.transferability(
            source,
            source_probs=probabilities,
            ignore=options.as_label(ignore, source.labels),
            progress=progress,
            **arguments,
        )


def _title(result: Transferability) -> str:
    made = result.provenance
    return f"{made.n:,} × {made.d} {made.dtype}, {result.classes} classes, {made.source}"
