"""``featdiv finetune``: train a network on labelled images, and say how well it does."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featdiv.cli import options, output
from featdiv.cli.extract import Autocast, duration
from featdiv.cli.probe_rows import numbers
from featdiv.cli.progress import progress_bar

if TYPE_CHECKING:
    from featdiv.backbones.finetune_estimate import FineTuneEstimate
    from featdiv.backbones.finetune_result import FineTune


class Mode(enum.StrEnum):
    """Values of ``--mode``, those of `featdiv.finetune`."""

    FULL = "full"
    FROZEN = "frozen"
    SCRATCH = "scratch"


class Optimizer(enum.StrEnum):
    """Values of ``--optimizer``."""

    SGD = "sgd"
    ADAMW = "adamw"


class Augmentation(enum.StrEnum):
    """Values of ``--augmentation``."""

    NONE = "none"
    FLIP = "flip"
    MILD_CROP = "mild-crop"
    CROP = "crop"
    CROP_FLIP = "crop-flip"
    RANDAUGMENT = "randaugment"
    STRONG = "strong"


class Metric(enum.StrEnum):
    """Values of ``--metric``."""

    ACCURACY = "accuracy"
    MEAN_PER_CLASS = "mean_per_class"
    MAP = "map"


def finetune(
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="A timm name, or hf:NAME for one of transformers.")
    ],
    data: Annotated[
        str,
        typer.Option("--data", metavar="PATH", help="Folder of images, parquet files, a pattern, or hf:NAME."),
    ],
    test: Annotated[
        str | None, typer.Option(metavar="PATH", help="Images to judge on; default: the split test of --data.")
    ] = None,
    val: Annotated[
        str | None, typer.Option(metavar="PATH", help="Images to choose on; default: val of --data, or a fifth of it.")
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="DIR", help="Folder for weights; a killed run goes on there.")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(metavar="NAME", help="A published recipe: kornblith2019, ericsson2021.")
    ] = None,
    mode: Annotated[Mode, typer.Option(help="All weights, the classifier alone, or all from random ones.")] = Mode.FULL,
    optimizer: Annotated[Optimizer, typer.Option(help="SGD with Nesterov momentum, or AdamW.")] = Optimizer.SGD,
    lr: Annotated[
        str | None, typer.Option(metavar="LIST", help="Learning rates to try: 0.001,0.01,0.1. Default: by mode.")
    ] = None,
    weight_decay: Annotated[
        str | None, typer.Option(metavar="LIST", help="Weight decays to try, each divided by the learning rate.")
    ] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", min=1, help="Steps of a run. Default: 1000.")] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="IMAGES", min=1, help="A step. Default: 64.")] = None,
    augmentation: Annotated[Augmentation, typer.Option(help="What is varied.")] = Augmentation.CROP_FLIP,
    halving: Annotated[
        int | None, typer.Option(metavar="H", min=0, help="Keep one point in H after each round; 0: train all whole.")
    ] = None,
    metric: Annotated[
        Metric | None, typer.Option(help="What the point is chosen by. Default: accuracy; map with several classes.")
    ] = None,
    seed: Annotated[str, typer.Option(metavar="LIST", help="Seeds of the final networks: 0,1,2.")] = "0",
    ema: Annotated[float | None, typer.Option(metavar="DECAY", help="Judge a moving average of the weights.")] = None,
    refit: Annotated[
        bool, typer.Option("--refit/--no-refit", help="Train the chosen point anew on all but test, or not.")
    ] = True,
    baseline: Annotated[bool, typer.Option("--baseline", help="Do the same from random weights.")] = False,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="FILE", help="Weights: .safetensors or .pt, never a pickle with code.")
    ] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained/--no-pretrained", help="Published weights, or random ones.")
    ] = True,
    input_size: Annotated[
        int | None, typer.Option(metavar="PIXELS", min=1, help="Side of the images; default: the network's own.")
    ] = None,
    autocast: Annotated[Autocast | None, typer.Option(help="Mixed precision.")] = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where to run; default: the GPU if there is one.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Processes that decode; default: by device.")
    ] = None,
    compile: Annotated[bool, typer.Option("--compile", help="torch.compile the steps.")] = False,
    channels_last: Annotated[bool, typer.Option("--channels-last", help="That memory format.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Time a few steps; say how long and how large.")] = False,
    json: options.Json = None,
    plot: Annotated[str | None, typer.Option(metavar="FILE", help="The learning curve as a picture.")] = None,
    plot_grid: Annotated[str | None, typer.Option(metavar="FILE", help="The grid as a picture.")] = None,
    quiet: options.Quiet = False,
) -> None:
    """Train a network on labelled images: choose on validation, train on both, judge on test once.

    A run that is interrupted and started again with the same --out goes on where it was.
    """
    for destination, name in ((json, "--json"), (plot, "--plot"), (plot_grid, "--plot-grid")):
        options.require_writable(destination, name)
    given: dict[str, Any] = {
        "lr": None if lr is None else numbers(lr, "--lr"),
        "weight_decay": None if weight_decay is None else numbers(weight_decay, "--weight-decay"),
        "steps": steps,
        "batch_size": batch_size,
        "halving": halving,
    }
    arguments = {name: value for name, value in given.items() if value is not None} | {
        "test": test,
        "val": val,
        "out": out,
        "protocol": protocol,
        "mode": mode.value,
        "optimizer": optimizer.value,
        "augmentation": augmentation.value,
        "metric": None if metric is None else metric.value,
        "seed": [int(value) for value in numbers(seed, "--seed", whole=True)],
        "ema": ema,
        "refit": refit,
        "baseline": baseline,
        "checkpoint": checkpoint,
        "pretrained": pretrained,
        "transform": "model" if input_size is None else {"input_size": (3, input_size, input_size)},
        "autocast": None if autocast is None else autocast.value,
        "device": device,
        "workers": "auto" if workers is None else workers,
        "compile": compile,
        "channels_last": channels_last,
    }
    if halving == 0:
        arguments["halving"] = None
    if dry_run:
        from featdiv.backbones.finetune_estimate import estimate

        show_estimate(estimate(model, data, **arguments), json)
        return
    import featdiv

    with progress_bar("fine-tuning", quiet=quiet, unit="steps") as progress:
        found = featdiv.finetune(model, data, progress=progress, **arguments)
    if json != "-":
        print_finetune(found, quiet=quiet)
    output.write_json(found.to_dict(), json)
    if plot is not None:
        output.save_plot(found, plot)
    if plot_grid is not None:
        output.save_figure(found.plot_grid(), plot_grid)
    output.say_written(json, plot, plot_grid, quiet=quiet)


def print_finetune(found: FineTune, *, quiet: bool) -> None:
    """Prints the scores, and below them the runs."""
    model = found.provenance.arguments["model"]
    output.print_result(found, title=f"{model}, {found.mode}, {found.provenance.n:,} images to learn from", quiet=quiet)
    rows = [
        [
            trial.stage,
            output.number(trial.lr),
            output.number(trial.weight_decay),
            str(trial.seed),
            f"{trial.steps:,}",
            trial.diverged if trial.diverged else "" if trial.value is None else output.number(trial.value),
            f"{trial.seconds:.1f}",
        ]
        for trial in found.trials
    ]
    columns = ["run", "lr", "weight decay", "seed", "steps", found.metric, "seconds"]
    output.print_table(columns, rows, right=(1, 2, 3, 4, 6))


def show_estimate(estimate: FineTuneEstimate, json: str | None) -> None:
    """Prints what a fine-tuning would take."""
    import dataclasses

    from featdiv.stats import budget

    if json != "-":
        free = "" if estimate.free is None else f" of {budget.size(estimate.free)} free"
        images = f"{estimate.train:,} to learn from, {estimate.val:,} to choose on, {estimate.test:,} to judge on"
        lines = [
            ["images", f"{images}; {estimate.classes} classes"],
            ["runs", f"{estimate.runs:,}, {estimate.steps:,} steps in all"],
            ["step", f"{estimate.seconds_per_step:.4g} s on {estimate.device}, batch {estimate.batch_size}"],
            ["time", duration(estimate.seconds)],
            ["disk", f"{budget.size(estimate.bytes)}{free}"],
        ]
        output.print_table(["what", "estimate"], lines)
    output.write_json(dataclasses.asdict(estimate), json)
