"""``featdiv probe``: small classifiers on features that stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featdiv.cli import options, output
from featdiv.cli.progress import progress_bar

if TYPE_CHECKING:
    from featdiv.results import Result

app = typer.Typer(no_args_is_help=True, help="Small classifiers on features that stay as they are.")

Train = Annotated[
    list[str] | None,
    typer.Argument(metavar="[PATH...]", help="Training rows: a file, or the shards of one set.", show_default=False),
]
Ignore = Annotated[str | None, typer.Option(metavar="LABEL", help="Leave out rows with this label, such as -1.")]
Normalize = Annotated[options.Normalize | None, typer.Option(help="Divide each row by its Euclidean norm first.")]


@app.command("linear", short_help="Logistic regression, every C at once.")
def linear(
    paths: Train = None,
    train: Annotated[str | None, typer.Option(metavar="PATH", help="Training rows, in the place of PATH.")] = None,
    labels: options.Labels = None,
    val: Annotated[str | None, typer.Option(metavar="PATH", help="Rows to choose C on.")] = None,
    val_labels: Annotated[
        str | None, typer.Option(metavar="FILE|COLUMN", help="Their labels; default: the column named by --labels.")
    ] = None,
    test: Annotated[str | None, typer.Option(metavar="PATH", help="Rows to judge the chosen C on.")] = None,
    test_labels: Annotated[
        str | None, typer.Option(metavar="FILE|COLUMN", help="Their labels; default: the column named by --labels.")
    ] = None,
    holdout: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Hold out this share of every class, and judge on it.")
    ] = None,
    grid: Annotated[
        str | None, typer.Option("--C", metavar="C,C,...", help="Values of C; default: DINOv2's 45, 1e-6 to 1e5.")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Choose C by cross-validation, in the place of a tenth of the rows.")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(metavar="NAME", help="A published protocol, such as dinov2-logreg.")
    ] = None,
    standardize: Annotated[bool, typer.Option("--standardize", help="Scale features to mean 0, deviation 1.")] = False,
    normalize: Normalize = None,
    key: options.Key = None,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Memory budget, such as 8GB; default: a quarter of RAM.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the hold-out and the folds.")] = 0,
    json: options.Json = None,
    plot: Annotated[str | None, typer.Option(metavar="OUT.png", help="Draw accuracy against C.")] = None,
    quiet: options.Quiet = False,
) -> None:
    """Linear probe: logistic regression for every C together; C is chosen on held-out rows, then fitted to all."""
    for path, option in ((json, "--json"), (plot, "--plot")):
        options.require_writable(path, option)
    options.check_memory(memory)
    _require_labels(labels)
    if test is not None and holdout is not None:
        raise typer.BadParameter("--holdout: expected one set of rows; with --test there is nothing to hold out")
    import featdiv
    from featdiv.probes.linear import DINOV2_C

    with _opened(_once(paths, train), key=key, labels=labels) as source, ExitStack() as stack:
        sides: dict[str, Any] = {
            name: stack.enter_context(_opened([path], key=key, labels=known or labels))
            for name, path, known in (("val", val, val_labels), ("test", test, test_labels))
            if path is not None
        }
        fitted: Any = source
        if holdout is not None:
            fitted, sides["test"] = split(source, holdout, seed=seed)
        result = featdiv.linear_probe(
            fitted,
            **sides,
            C=DINOV2_C if grid is None else numbers(grid, "--C"),
            folds=folds,
            protocol=protocol,
            standardize=standardize,
            normalize=normalize.value if normalize else None,
            memory=memory,
            seed=seed,
            progress=stack.enter_context(progress_bar("fitting", quiet=quiet)),
        )
    _report(result, f"linear probe, C = {result.C:.3g} by {result.chosen_by}", json, plot, quiet=quiet)


@app.command("ridge", short_help="Least squares, every penalty, in closed form.")
def ridge(
    paths: Train = None,
    train: Annotated[str | None, typer.Option(metavar="PATH", help="Training rows, in the place of PATH.")] = None,
    labels: options.Labels = None,
    val: Annotated[str | None, typer.Option(metavar="PATH", help="Rows to choose the penalty on.")] = None,
    val_labels: Annotated[
        str | None, typer.Option(metavar="FILE|COLUMN", help="Their labels; default: the column named by --labels.")
    ] = None,
    test: Annotated[str | None, typer.Option(metavar="PATH", help="Rows to judge the chosen penalty on.")] = None,
    test_labels: Annotated[
        str | None, typer.Option(metavar="FILE|COLUMN", help="Their labels; default: the column named by --labels.")
    ] = None,
    holdout: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Hold out this share of every class, and judge on it.")
    ] = None,
    lambdas: Annotated[
        str | None, typer.Option(metavar="L,L,...", help="Penalties; default: 19, in units of the mean eigenvalue.")
    ] = None,
    normalize: Normalize = None,
    ignore: Ignore = None,
    key: options.Key = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the hold-out.")] = 0,
    json: options.Json = None,
    plot: Annotated[str | None, typer.Option(metavar="OUT.png", help="Draw accuracy against the penalty.")] = None,
    quiet: options.Quiet = False,
) -> None:
    """Ridge probe: every penalty from one pass, each row judged by the fit without it, or by --val and --test."""
    for path, option in ((json, "--json"), (plot, "--plot")):
        options.require_writable(path, option)
    _require_labels(labels)
    if test is not None and holdout is not None:
        raise typer.BadParameter("--holdout: expected one set of rows; with --test there is nothing to hold out")
    import featdiv

    with _opened(_once(paths, train), key=key, labels=labels) as source, ExitStack() as stack:
        sides = {
            name: stack.enter_context(_opened([path], key=key, labels=known or labels))
            for name, path, known in (("val", val, val_labels), ("test", test, test_labels))
            if path is not None
        }
        fitted: Any = source
        if holdout is not None:
            fitted, sides["test"] = split(source, holdout, seed=seed)
        result = featdiv.ridge_probe(
            fitted,
            **sides,
            lambdas=None if lambdas is None else numbers(lambdas, "--lambdas"),
            normalize=normalize.value if normalize else None,
            ignore=options.as_label(ignore, source.labels),
        )
    _report(result, f"ridge probe, penalty {result.best_lambda:.3g} by {result.chosen_by}", json, plot, quiet=quiet)


@app.command("fewshot", short_help="Nearest centroid in many small tasks.")
def fewshot(
    paths: options.Paths,
    labels: options.Labels = None,
    shots: Annotated[str, typer.Option(metavar="N,N,...", help="Support rows of each class.")] = "1,5,20,50",
    ways: Annotated[int, typer.Option(min=2, help="Classes of an episode.")] = 5,
    queries: Annotated[int, typer.Option(min=1, help="Query rows of each class.")] = 15,
    episodes: Annotated[int, typer.Option(min=2, help="Episodes for each number of shots.")] = 600,
    protocol: Annotated[
        str | None, typer.Option(metavar="NAME", help="A published protocol, such as ericsson2021.")
    ] = None,
    normalize: Normalize = None,
    ignore: Ignore = None,
    key: options.Key = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Few-shot probe: mean accuracy of the nearest centroid over random episodes."""
    options.require_writable(json, "--json")
    _require_labels(labels)
    import featdiv

    with _opened(paths, key=key, labels=labels) as source:
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


def numbers(text: str, option: str, *, whole: bool = False) -> list[float]:
    """Returns the numbers, separated by commas, that an option was given.

    Raises:
        typer.BadParameter: if some are none.
    """
    try:
        return [int(part) if whole else float(part) for part in text.split(",")]
    except ValueError:
        kind = "whole numbers" if whole else "numbers"
        raise typer.BadParameter(f"{option}: expected {kind} separated by commas; got {text!r}") from None


def split(source: Any, share: float, *, seed: int) -> tuple[Any, Any]:
    """Returns (training rows, rows held out), about that share of every class, in memory."""
    import featdiv
    from featdiv.probes import holdout

    parts = holdout.split(source.labels, share, seed=seed, function="featdiv probe")
    train, test = (featdiv.open(source.take(part), labels=source.labels[part]) for part in parts)
    return train, test


def _once(paths: list[str] | None, train: str | None) -> list[str]:
    if bool(paths) == (train is not None):
        raise typer.BadParameter("expected the training rows once: as PATH or with --train")
    return [train] if train is not None else paths or []


def _require_labels(labels: str | None) -> None:
    if labels is None:
        raise typer.BadParameter("--labels: expected the labels of the rows: a file, or a column beside them")


@contextmanager
def _opened(paths: list[str], *, key: str | None, labels: str | None) -> Iterator[Any]:
    with options.open_source(paths, key=key, labels=labels) as source:
        yield source


def _report(result: Result, title: str, json: str | None, plot: str | None, *, quiet: bool) -> None:
    if json != "-":
        output.print_result(result, title=title, quiet=quiet)
    output.write_json(result.to_dict(), json)
    if plot is not None:
        output.save_plot(result, plot)
    for written in (None if json == "-" else json, plot):
        if written is not None:
            output.say(f"wrote {written}", quiet=quiet)
