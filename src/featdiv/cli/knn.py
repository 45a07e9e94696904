"""``featdiv knn``: how well the nearest neighbours of a row tell its class."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featdiv.cli import options, output, probe_rows
from featdiv.cli.probe_rows import ProbeRows, numbers
from featdiv.cli.progress import progress_bar

if TYPE_CHECKING:
    from featdiv.probes.knn_result import KnnProbe

MOST_CLASSES_SHOWN = 30


class Distance(enum.StrEnum):
    """Values of ``--distance``."""

    COSINE = "cosine"
    L2 = "l2"


class Vote(enum.StrEnum):
    """Values of ``--vote``."""

    BOTH = "both"
    EXP = "exp"
    UNIFORM = "uniform"


class Select(enum.StrEnum):
    """Values of ``--select``."""

    EVALUATED = "evaluated"
    TRAIN = "train"


def knn(
    paths: probe_rows.Paths = None,
    train: probe_rows.Train = None,
    labels: options.Labels = None,
    groups: probe_rows.Groups = None,
    test: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Rows to classify; default: each row by all the others."),
    ] = None,
    test_labels: probe_rows.OtherLabels = None,
    test_groups: probe_rows.OtherGroups = None,
    holdout: probe_rows.Holdout = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Seed of the hold-out, or of the first few-shot draw.")
    ] = 0,
    k: Annotated[
        str | None,
        typer.Option("-k", metavar="K,K,...", help="Numbers of neighbours. [default: 1,5,10,20,50,100,200]"),
    ] = None,
    vote: Annotated[Vote, typer.Option(help="Weights exp(similarity / T), equal weights, or both.")] = Vote.BOTH,
    temperature: Annotated[
        float | None, typer.Option(metavar="T", help="T of the exponential vote. [default: 0.07]")
    ] = None,
    distance: Annotated[Distance | None, typer.Option(help="What is near. [default: cosine]")] = None,
    protocol: Annotated[
        str | None, typer.Option(metavar="NAME", help="A published protocol, such as dinov2-knn.")
    ] = None,
    select: Annotated[
        Select,
        typer.Option(help="Where the best cell is chosen: on the rows evaluated, or by leaving one out of train."),
    ] = Select.EVALUATED,
    per_class: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Few-shot: so many training rows of every class vote."),
    ] = None,
    ignore: probe_rows.Ignore = None,
    draws: Annotated[int, typer.Option(metavar="N", min=1, help="Draws of a few-shot probe.")] = 3,
    index: Annotated[
        str, typer.Option(metavar="NAME", help="flat, or a FAISS factory string such as IVF1024,Flat:nprobe=32.")
    ] = "flat",
    key: options.Key = None,
    backend: Annotated[
        str, typer.Option(metavar="NAME", help="auto, faiss, or a backend of topk that `featdiv doctor` lists.")
    ] = "auto",
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Memory budget, such as 8GB; default: a quarter of RAM.")
    ] = None,
    classes: Annotated[bool, typer.Option("--classes", help="Show the accuracy of each class, too.")] = False,
    json: options.Json = None,
    plot: Annotated[str | None, typer.Option(metavar="OUT.png", help="Draw accuracy against k.")] = None,
    quiet: options.Quiet = False,
) -> None:
    """How well nearest neighbours tell the class of a row, for every k and both votes, from one search.

    Rows to classify come from --test, from --holdout, or, without either, are all rows, each left out in turn.
    """
    for path, option in ((json, "--json"), (plot, "--plot")):
        options.require_writable(path, option)
    options.check_memory(memory)
    if backend != "faiss":
        options.check_backend(backend)
    rows = ProbeRows(
        paths=paths,
        train=train,
        labels=labels,
        groups=groups,
        test=(test, test_labels, test_groups),
        holdout=holdout,
        key=key,
        seed=seed,
    )
    rows.check()
    given: dict[str, Any] = {
        "k": None if k is None else tuple(numbers(k, "-k", whole=True)),
        "temperature": temperature,
        "distance": None if distance is None else distance.value,
        "vote": None if vote is Vote.BOTH else vote.value,
    }
    result = run_probe(
        rows,
        quiet=quiet,
        ignore=ignore,
        protocol=protocol,
        select=select.value,
        per_class=per_class,
        seeds=list(range(seed, seed + draws)),
        index=index,
        backend=backend,
        memory=memory,
        **{name: value for name, value in given.items() if value is not None},
    )
    if json != "-":
        print_probe(result, classes=classes, quiet=quiet)
    output.write_json(result.to_dict(), json)
    if plot is not None:
        output.save_plot(result, plot)
    output.say_written(json, plot, quiet=quiet)


def run_probe(rows: ProbeRows, *, quiet: bool, ignore: str | None = None, **arguments: Any) -> KnnProbe:
    """Calls `featdiv.knn_probe`, with a progress bar, on what the paths hold."""
    import featdiv

    with rows.opened("featdiv knn") as (train, sides), progress_bar("searching", quiet=quiet) as progress:
        label = options.as_label(ignore, train.labels)
        return featdiv.knn_probe(train, test=sides.get("test"), ignore=label, progress=progress, **arguments)


def print_probe(result: KnnProbe, *, classes: bool, quiet: bool) -> None:
    """Prints the table of cells, the best of them, and the classes if they are wanted."""
    best = result.best
    columns = ["k", "vote", "top-1", "95 % interval", "top-5", "mean per class", ""]
    lines = []
    for cell in result.cells:
        interval = f"{cell.interval.low:.4f} … {cell.interval.high:.4f}" if cell.interval else ""
        vote = cell.vote if cell.temperature is None else f"{cell.vote} T={cell.temperature:g}"
        scores = [f"{cell.top1:.4f}", interval, f"{cell.top5:.4f}", f"{cell.mean_per_class:.4f}"]
        lines.append([str(cell.k), vote, *scores, "best" if cell is best else ""])
    output.print_table(columns, lines, title=describe(result), right=(0, 2, 4, 5), spare=(4, 5))
    if classes and result.per_class_limit is None:
        typer.echo()
        accuracies = result.per_class()
        order = accuracies.argsort()[:MOST_CLASSES_SHOWN]
        rows = [[str(result.classes[i]), str(result.counts[i]), f"{accuracies[i]:.4f}"] for i in order]
        shown = (
            "all classes" if len(order) == len(accuracies) else f"the {len(order)} worst of {len(accuracies)} classes"
        )
        output.print_table(["class", "rows", "accuracy"], rows, title=f"{best.name}: {shown}", right=(1, 2))
    for name, reason in result.undefined.items():
        output.remark("note", f"{name} is undefined: {reason}", quiet=quiet)
    output.notes(result, quiet=quiet)


def describe(result: KnnProbe) -> str:
    """Returns one line on what was classified by what."""
    made = result.provenance
    n = int(result.counts.sum())
    if result.draws is not None:
        draws = f"{len(result.draws)} draws"
        how = f"{n:,} rows by {result.per_class_limit} training rows of every class, {draws}"
    elif made.method == "leave-one-out":
        how = f"{n:,} rows by one another"
    else:
        how = f"{n:,} rows by {made.n:,} training rows"
    backends = ", ".join(sorted(set(made.backends.values())))
    return f"kNN probe of {how}, {len(result.classes)} classes, {made.arguments['distance']}, {backends}"
