"""``featdiv rank-models``: which of several networks to take for a folder of images, and how sure that is."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featdiv.cli import options, output
from featdiv.cli.extract import Autocast, Corrupt, duration
from featdiv.cli.progress import progress_bar

if TYPE_CHECKING:
    from featdiv.studies.ranking.estimate import RankingEstimate
    from featdiv.studies.ranking.result import Ranking

FUNCTION = "featdiv rank-models"


class Probe(enum.StrEnum):
    """Values of ``--probe``, those of `featdiv.rank_models`."""

    LINEAR = "linear"
    KNN = "knn"


class Interval(enum.StrEnum):
    """Values of ``--interval``; ``none`` is None in Python."""

    AUTO = "auto"
    NONE = "none"


def rank_models(
    data: Annotated[
        str,
        typer.Option("--data", metavar="IMAGES", help="Folder of images, parquet files, a pattern, or hf:NAME."),
    ],
    models: Annotated[
        str, typer.Option("--models", metavar="A,B,…", help="Names of timm, or hf:NAME, separated by commas.")
    ] = "",
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(
            "--checkpoint",
            metavar="[LABEL=]NAME=FILE",
            help="A network of timm with weights of yours, called LABEL or NAME; repeatable.",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Keep features and finished steps here; a later call goes on from them."
        ),
    ] = None,
    folds: Annotated[int, typer.Option(metavar="N", min=2, help="Parts of which each is held out once.")] = 5,
    repeats: Annotated[int, typer.Option(metavar="N", min=1, help="Divisions into folds.")] = 1,
    probe: Annotated[
        list[Probe] | None, typer.Option("--probe", help="linear and knn by default; the first ranks. Repeatable.")
    ] = None,
    scores: Annotated[
        str, typer.Option(metavar="NAMES|none", help="Scores without training: default, or names with commas.")
    ] = "default",
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="train (where the data is divided), val or test.")
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="IMAGES", min=1, help="A stratified sample of so many.")] = None,
    imagenet: Annotated[
        str | None, typer.Option(metavar="FILE.csv", help="Columns model and top1, as timm publishes its results.")
    ] = None,
    interval: Annotated[
        Interval, typer.Option(help="Confidence intervals of the scores: where they are valid, or never.")
    ] = Interval.AUTO,
    similarity: Annotated[
        bool, typer.Option("--similarity/--no-similarity", help="Compare the models with one another by CKA, or not.")
    ] = True,
    directions: Annotated[
        int, typer.Option(metavar="K", min=0, help="Leading directions of each model to show by images; 0 for none.")
    ] = 3,
    finetune: Annotated[
        str | None,
        typer.Option(metavar="top3|all|RUNS", help="Fine-tune too: some, all, or so many runs on the undecided ones."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Steps of each fine-tuning run. Default: 1000.")
    ] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained/--no-pretrained", help="Published weights, or random ones.")
    ] = True,
    input_size: Annotated[
        int | None, typer.Option(metavar="PIXELS", min=1, help="Side of the images; default: each network's own.")
    ] = None,
    corrupt: Annotated[
        Corrupt, typer.Option(help="Damaged images end the run, or are found first, listed and left out.")
    ] = Corrupt.RAISE,
    batch_size: Annotated[
        int | None, typer.Option(metavar="IMAGES", min=1, help="Default: 32 on a CPU, 256 on a GPU.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where to run; default: the GPU if there is one.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Processes that decode; default: by cores.")
    ] = None,
    autocast: Annotated[Autocast | None, typer.Option(help="Mixed precision in the networks.")] = None,
    compile: Annotated[bool, typer.Option("--compile", help="torch.compile the networks first.")] = False,
    channels_last: Annotated[bool, typer.Option("--channels-last", help="That memory format.")] = False,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of folds, samples and resamples.")] = 0,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Time a few batches of each model; say how long and how large."),
    ] = False,
    json: options.Json = None,
    report: Annotated[
        str | None, typer.Option("--report", metavar="PAGE.html", help="Write one self-contained page.")
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Rank networks by how well their features serve for labelled images: P(best), who is not told from it, what to do.

    Features are extracted once for each model, scored, and judged by probes in folds that all models share.
    """
    for path, option in ((json, "--json"), (report, "--report")):
        options.require_writable(path, option)
    if steps is not None and finetune is None:
        raise typer.BadParameter("--steps: expected beside --finetune, of whose runs they are")
    wanted = chosen_models(models, checkpoint or [])
    import featdiv

    with progress_bar("decoding", quiet=quiet or corrupt is Corrupt.RAISE) as progress:
        opened = featdiv.images(data, corrupt=corrupt.value, progress=progress)
    for name, reason in opened.skipped:
        output.say(f"skipped {name}: {reason}", quiet=quiet)
    given: dict[str, Any] = {
        "batch_size": batch_size,
        "device": device,
        "workers": workers,
        "autocast": None if autocast is None else autocast.value,
        "compile": compile or None,
        "channels_last": channels_last or None,
    }
    extraction = {name: value for name, value in given.items() if value is not None}
    tuned = int(finetune) if finetune and finetune.isdecimal() else finetune
    finetuning = {} if steps is None else {"steps": steps}
    if input_size is not None:
        extraction["transform"] = {"input_size": (3, input_size, input_size)}
    if dry_run:
        from featdiv.studies.ranking.estimate import estimate

        found = estimate(
            wanted,
            opened,
            folds=folds,
            split=split,
            limit=limit,
            seed=seed,
            pretrained=pretrained,
            extraction=extraction,
            finetune=tuned,
            finetuning=finetuning,
            out=out,
        )
        _show_estimate(found, json)
        return
    with progress_bar("ranking", quiet=quiet, unit="images") as progress:
        ranking = featdiv.rank_models(
            wanted,
            opened,
            scores=None if scores == "none" else scores.split(","),
            probes=[name.value for name in probe] if probe else ("linear", "knn"),
            folds=folds,
            repeats=repeats,
            split=split,
            limit=limit,
            imagenet=imagenet,
            finetune=tuned,
            finetuning=finetuning,
            pretrained=pretrained,
            extraction=extraction,
            interval=None if interval is Interval.NONE else interval.value,
            similarity=similarity,
            directions=directions,
            out=out,
            seed=seed,
            progress=progress,
        )
    if json != "-":
        print_ranking(ranking, quiet=quiet)
    output.write_json(ranking.to_dict(), json)
    if report is not None:
        ranking.report(report)
    output.say_written(json, report, quiet=quiet)


def chosen_models(names: str, checkpoints: list[str]) -> dict[str, Any]:
    """Returns what `featdiv.rank_models` takes as its models.

    Raises:
        typer.BadParameter: if there is none, one is there twice, or a checkpoint has no name.

    Example:
        >>> chosen_models("resnet18", ["mine=resnet50=runs/a.pt"])
        {'resnet18': 'resnet18', 'mine': {'model': 'resnet50', 'checkpoint': 'runs/a.pt'}}
    """
    found: dict[str, Any] = {}
    for name in filter(None, (part.strip() for part in names.split(","))):
        if name in found:
            raise typer.BadParameter(f"--models: {name!r} is there twice")
        found[name] = name
    for text in checkpoints:
        head, equals, rest = text.partition("=")
        network, again, path = rest.partition("=")
        label = head
        if not again:
            network, path = head, rest
        if not (equals and label and network and path):
            raise typer.BadParameter(
                f"--checkpoint: expected [LABEL=]NAME=FILE, such as resnet50=weights.pt; got {text!r}"
            )
        if isinstance(found.get(label), Mapping):
            raise typer.BadParameter(f"--checkpoint: {label!r} is there twice; tell them apart: LABEL={network}={path}")
        found[label] = {"model": network, "checkpoint": path}
    if not found:
        raise typer.BadParameter("--models: expected at least one name, or a --checkpoint")
    return found


def print_ranking(ranking: Ranking, *, quiet: bool = False) -> None:
    """Prints the table, the best model first, then what failed and what is recommended."""
    probes = [name for name in ranking.columns if name in ("linear", "knn", "finetune")]
    others = [name for name in ranking.columns if name not in probes]
    rows = []
    for line in ranking.table():
        cells = [line["model"], f"{line['p_best']:.2f}", "*" if line["contender"] else ""]
        rows.append(cells + [_accuracy(ranking, line, name) for name in probes])
    title = (
        f"{len(ranking.models)} models, {ranking.n:,} images, {ranking.folds} folds; * not told from the best at 95 %"
    )
    output.print_table(["model", "P(best)", "", *probes], rows, title=title, right=range(1, 3 + len(probes)))
    if others:
        typer.echo("")
        agreement = {line["score"]: line["tau"] for line in ranking.agreement}
        table = [[name, *map(_number, ranking.column(name).values())] for name in others]
        heads = ["score", *ranking.models]
        if agreement:
            heads.append(f"tau with {ranking.criterion}")
            for cells in table:
                cells.append(_tau(agreement, cells[0]))
        output.print_table(heads, table, right=range(1, len(heads)))
    typer.echo(f"\n{ranking.recommendation}")
    for name, reason in ranking.failed.items():
        output.say(f"failed: {name}: {reason}")
    output.notes(ranking, quiet=quiet)


def _accuracy(ranking: Ranking, line: Mapping[str, Any], column: str) -> str:
    interval = ranking.intervals.get(f"{line['model']}: {column}")
    if line[column] is None:
        return "-"
    ends = f" ({100 * interval.low:.1f} … {100 * interval.high:.1f})" if interval else ""
    return f"{100 * line[column]:.1f} %{ends}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _tau(agreement: Mapping[str, float | None], name: str) -> str:
    value = agreement.get(name)
    return "" if value is None else f"{value:+.2f}"


def _show_estimate(found: RankingEstimate, json: str | None) -> None:
    """Prints how long extraction and fine-tuning of each model would take, and how much they would write."""
    import dataclasses

    from featdiv.stats import budget

    if json != "-":
        rows = []
        for name, one in found.features.items():
            cells = [name, f"{one.left:,}", f"{one.images_per_second:,.1f}/s", f"{one.seconds:,.1f} s"]
            rows.append([*cells, budget.size(one.bytes)])
            if found.tuning:
                rows[-1].append(duration(found.tuning[name].seconds) if name in found.tuning else "-")
        in_all = sum(one.seconds for one in found.features.values())
        rows.append(["all", "", "", f"{in_all:,.1f} s", budget.size(found.bytes)])
        columns = ["model", "images to do", "rate", "features in", "disk"]
        if found.tuning:
            columns.append("fine-tuning run")
            rows[-1].append(f"{found.runs} runs: {duration(found.tuning_seconds)}")
        output.print_table(columns, rows, right=range(1, len(columns)))
        for name, reason in found.failed.items():
            output.say(f"would fail: {name}: {reason}")
    tuning = {name: dataclasses.asdict(one) for name, one in found.tuning.items()}
    content = {
        "models": {name: {**dataclasses.asdict(one), "fits": one.fits} for name, one in found.features.items()},
        "finetuning": {"models": tuning, "runs": found.runs, "seconds": found.tuning_seconds} if tuning else None,
        "failed": dict(found.failed),
        "seconds": found.seconds,
        "bytes": found.bytes,
    }
    output.write_json(content, json)
