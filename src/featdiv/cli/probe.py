"""``featdiv probe``: small classifiers on features that stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from featdiv.cli import flags, options, output, probe_rows
from featdiv.cli.probe_rows import ProbeRows, numbers
from featdiv.cli.progress import progress_bar

if TYPE_CHECKING:
    from featdiv.results import Result

app = typer.Typer(no_args_is_help=True, help="Small classifiers on features that stay as they are.")
Normalize = Annotated[options.Normalize | None, typer.Option(help="Divide each row by its Euclidean norm first.")]


@app.command("linear", short_help="Logistic regression, every C at once.", cls=flags.Command)
def linear(
    paths: probe_rows.Paths = None,
    train: probe_rows.Train = None,
    labels: options.Labels = None,
    groups: probe_rows.Groups = None,
    val: Annotated[str | None, typer.Option(metavar="PATH", help="Rows to choose C on.")] = None,
    val_labels: probe_rows.OtherLabels = None,
    val_groups: probe_rows.OtherGroups = None,
    test: probe_rows.Test = None,
    test_labels: probe_rows.OtherLabels = None,
    test_groups: probe_rows.OtherGroups = None,
    holdout: probe_rows.Holdout = None,
    grid: Annotated[
        str | None, typer.Option("--C", metavar="C,C,...", help="Values of C; default: DINOv2's 45, 1e-6 to 1e5.")
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(metavar="N", min=2, help="Choose C by cross-validation, in the place of a tenth of the rows."),
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(metavar="NAME", help="A published protocol, such as dinov2-logreg.")
    ] = None,
    standardize: Annotated[bool, typer.Option("--standardize", help="Scale features to mean 0, deviation 1.")] = False,
    normalize: Normalize = None,
    ignore: probe_rows.Ignore = None,
    key: options.Key = None,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Memory budget, such as 8GB; default: a quarter of RAM.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the hold-out and the folds.")] = 0,
    json: options.Json = None,
    plot: Annotated[str | None, typer.Option(metavar="OUT.png", help="Draw accuracy against C.")] = None,
    quiet: options.Quiet = False,
) -> None:
    """Linear probe: logistic regression for every C together; C is chosen on held-out rows, then fitted to all."""
    for path, option in ((json, "--json"), (plot, "--plot")):
        options.require_writable(path, option)
    options.check_memory(memory)
    rows = ProbeRows(
        paths=paths,
        train=train,
        labels=labels,
        groups=groups,
        val=(val, val_labels, val_groups),
        test=(test, test_labels, test_groups),
        holdout=holdout,
        key=key,
        seed=seed,
    )
    rows.check()
    import featdiv
    from featdiv.probes.linear import DINOV2_C

    with rows.opened("featdiv probe") as (source, sides), progress_bar("fitting", quiet=quiet) as progress:
        result = featdiv.linear_probe(
            source,
            val=sides.get("val"),
            test=sides.get("test"),
            C=DINOV2_C if grid is None else numbers(grid, "--C"),
            folds=folds,
            protocol=protocol,
            standardize=standardize,
            normalize=normalize.value if normalize else None,
            ignore=options.as_label(ignore, source.labels),
            memory=memory,
            seed=seed,
            progress=progress,
        )
    _report(result, f"linear probe, C = {result.C:.3g} by {result.chosen_by}", json, plot, quiet=quiet)


@app.command("ridge", short_help="Least squares, every penalty, in closed form.", cls=flags.Command)
def ridge(
    paths: probe_rows.Paths = None,
    train: probe_rows.Train = None,
    labels: options.Labels = None,
    groups: probe_rows.Groups = None,
    val: Annotated[str | None, typer.Option(metavar="PATH", help="Rows to choose the penalty on.")] = None,
    val_labels: probe_rows.OtherLabels = None,
    val_groups: probe_rows.OtherGroups = None,
    test: probe_rows.Test = None,
    test_labels: probe_rows.OtherLabels = None,
    test_groups: probe_rows.OtherGroups = None,
    holdout: probe_rows.Holdout = None,
    lambdas: Annotated[
        str | None, typer.Option(metavar="L,L,...", help="Penalties; default: 19, in units of the mean eigenvalue.")
    ] = None,
    normalize: Normalize = None,
    ignore: probe_rows.Ignore = None,
    key: options.Key = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the hold-out.")] = 0,
    json: options.Json = None,
    plot: Annotated[str | None, typer.Option(metavar="OUT.png", help="Draw accuracy against the penalty.")] = None,
    quiet: options.Quiet = False,
) -> None:
    """Ridge probe: every penalty from one pass, each row judged by the fit without it, or by --val and --test."""
    for path, option in ((json, "--json"), (plot, "--plot")):
        options.require_writable(path, option)
    rows = ProbeRows(
        paths=paths,
        train=train,
        labels=labels,
        groups=groups,
        val=(val, val_labels, val_groups),
        test=(test, test_labels, test_groups),
        holdout=holdout,
        key=key,
        seed=seed,
    )
    rows.check()
    import featdiv

    with rows.opened("featdiv probe") as (source, sides):
        result = featdiv.ridge_probe(
            source,
            val=sides.get("val"),
            test=sides.get("test"),
            lambdas=None if lambdas is None else numbers(lambdas, "--lambdas"),
            normalize=normalize.value if normalize else None,
            ignore=options.as_label(ignore, source.labels),
        )
    _report(result, f"ridge probe, penalty {result.best_lambda:.3g} by {result.chosen_by}", json, plot, quiet=quiet)


@app.command("fewshot", short_help="Nearest centroid in many small tasks.", cls=flags.Command)
def fewshot(
    paths: options.Paths,
    labels: options.Labels = None,
    shots: Annotated[str, typer.Option(metavar="N,N,...", help="Support rows of each class.")] = "1,5,20,50",
    ways: Annotated[int, typer.Option(metavar="N", min=2, help="Classes of an episode.")] = 5,
    queries: Annotated[int, typer.Option(metavar="N", min=1, help="Query rows of each class.")] = 15,
    episodes: Annotated[int, typer.Option(metavar="N", min=2, help="Episodes for each number of shots.")] = 600,
    protocol: Annotated[
        str | None, typer.Option(metavar="NAME", help="A published protocol, such as ericsson2021.")
    ] = None,
    normalize: Normalize = None,
    ignore: probe_rows.Ignore = None,
    key: options.Key = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the draws.")] = 0,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Few-shot probe: mean accuracy of the nearest centroid over random episodes."""
    options.require_writable(json, "--json")
    import featdiv

    with options.open_source(paths, key=key, labels=labels) as source:
        probe_rows.require_labels(source)
        result = featdiv.fewshot_probe(
            source,
            shots=[int(number) for number in numbers(shots, "--shots", whole=True)],
            ways=ways,
            queries=queries,
            episodes=episodes,
            protocol=protocol,
            normalize=normalize.value if normalize else None,
            ignore=options.as_label(ignore, source.labels),
            seed=seed,
        )
    title = f"{result.ways}-way few-shot probe, {result.accuracies.shape[1]} episodes"
    _report(result, title, json, None, quiet=quiet)


def _report(result: Result, title: str, json: str | None, plot: str | None, *, quiet: bool) -> None:
    if json != "-":
        output.print_result(result, title=title, quiet=quiet)
    output.write_json(result.to_dict(), json)
    if plot is not None:
        output.save_plot(result, plot)
    output.say_written(json, plot, quiet=quiet)
