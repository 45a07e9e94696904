"""``featdiv extract``: images through a network into features on disk."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featdiv.cli import options, output
from featdiv.cli.progress import progress_bar

if TYPE_CHECKING:
    from featdiv.backbones import Estimate, Features


class Pool(enum.StrEnum):
    """Values of ``--pool``, those of `featdiv.extract`."""

    AUTO = "auto"
    CLS = "cls"
    MEAN = "mean"
    GEM = "gem"
    NONE = "none"


class Dtype(enum.StrEnum):
    """Values of ``--dtype``."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


class Autocast(enum.StrEnum):
    """Values of ``--autocast``."""

    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class Corrupt(enum.StrEnum):
    """Values of ``--corrupt``, those of `featdiv.images`."""

    RAISE = "raise"
    SKIP = "skip"


def extract(
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="A timm name, or hf:NAME for one of transformers.")
    ],
    data: Annotated[
        str,
        typer.Option("--data", metavar="PATH", help="Folder of images, parquet files, a pattern, or hf:NAME."),
    ],
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="DIR", help="Folder in which the features are kept, and found again.")
    ],
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer", metavar="NAME", help="penultimate (the default), output, a module, or a pattern; repeatable."
        ),
    ] = None,
    pool: Annotated[Pool, typer.Option(help="How tokens or maps become one row.")] = Pool.AUTO,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="FILE", help="Weights: .safetensors or .pt, never a pickle with code.")
    ] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained/--no-pretrained", help="Published weights, or random ones.")
    ] = True,
    split: Annotated[str | None, typer.Option(metavar="NAME", help="Only train, val or test.")] = None,
    input_size: Annotated[
        int | None, typer.Option(metavar="PIXELS", min=1, help="Side of the images; default: the network's own.")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(metavar="NAME", help="Prepare images as a published recipe, such as ericsson2021.")
    ] = None,
    corrupt: Annotated[
        Corrupt, typer.Option(help="Damaged images end the run, or are found first, listed and left out.")
    ] = Corrupt.RAISE,
    batch_size: Annotated[
        int | None, typer.Option(metavar="IMAGES", min=1, help="Default: 32 on a CPU, 256 on a GPU.")
    ] = None,
    dtype: Annotated[Dtype, typer.Option(help="Type of the features.")] = Dtype.FLOAT32,
    autocast: Annotated[Autocast | None, typer.Option(help="Mixed precision in the network.")] = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where to run; default: the GPU if there is one.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Processes that decode; default: by cores.")
    ] = None,
    compile: Annotated[bool, typer.Option("--compile", help="torch.compile the network first.")] = False,
    channels_last: Annotated[bool, typer.Option("--channels-last", help="That memory format.")] = False,
    store: Annotated[bool, typer.Option("--store/--no-store", help="Keep the features, or only their moments.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Time a few batches; say how long and how large.")] = False,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Run images through a network and keep one row of features an image.

    A run that is interrupted and started again goes on where it was; one whose features are there reads them.
    """
    from featdiv.backbones import estimate, extract_layers, images

    options.require_writable(json, "--json")
    with progress_bar("decoding", quiet=quiet or corrupt is Corrupt.RAISE) as progress:
        opened = images(data, corrupt=corrupt.value, progress=progress)
    for name, reason in opened.skipped:
        output.say(f"skipped {name}: {reason}", quiet=quiet)
    arguments: dict[str, Any] = {
        "pool": pool.value,
        "transform": "model" if input_size is None else {"input_size": (3, input_size, input_size)},
        "protocol": protocol,
        "split": split,
        "checkpoint": checkpoint,
        "pretrained": pretrained,
        "batch_size": "auto" if batch_size is None else batch_size,
        "dtype": dtype.value,
        "autocast": None if autocast is None else autocast.value,
        "device": device,
        "out": out,
        "store": store,
        "workers": "auto" if workers is None else workers,
        "compile": compile,
        "channels_last": channels_last,
    }
    layers = layer or ["penultimate"]
    if dry_run:
        show_estimate(estimate(model, opened, layers, **arguments), json)
        return
    with progress_bar("extracting", quiet=quiet) as progress:
        found = extract_layers(model, opened, layers, progress=progress, **arguments)
    if json != "-":
        print_features(found)
    output.write_json({"features": [facts(part) for part in found.values()]}, json)


def facts(features: Features) -> dict[str, Any]:
    """Returns what was extracted, as plain values."""
    return {
        "path": features.path,
        "n": features.n,
        "d": features.d,
        "dtype": features.dtype,
        "stored": features.stored,
        "description": features.description,
        "extraction": features.extraction,
    }


def print_features(found: dict[str, Features]) -> None:
    """Prints a line for each layer: its shape, and where it lies."""
    rows = [[layer, f"{part.n:,}", f"{part.d:,}", part.dtype, str(part.path)] for layer, part in found.items()]
    output.print_table(["layer", "rows", "features", "dtype", "path"], rows, right=(1, 2))


def show_estimate(estimate: Estimate, json: str | None) -> None:
    """Prints what an extraction would take."""
    import dataclasses

    from featdiv.stats import budget

    if json != "-":
        room = "" if estimate.free is None else f" of {budget.size(estimate.free)} free"
        lines = [
            ["images", f"{estimate.left:,} to do, of {estimate.n:,}"],
            ["features", ", ".join(f"{layer} {d:,}" for layer, d in estimate.d.items())],
            [
                "rate",
                f"{estimate.images_per_second:,.1f} images/s on {estimate.device}, from {estimate.timed:,} images",
            ],
            ["time", duration(estimate.seconds)],
            ["disk", f"{budget.size(estimate.bytes)}{room}{'' if estimate.fits else ': too little'}"],
            ["batch", f"{estimate.batch_size} images, {estimate.workers} workers"],
        ]
        output.print_table(["what", "estimate"], lines)
    output.write_json({**dataclasses.asdict(estimate), "fits": estimate.fits}, json)


def duration(seconds: float) -> str:
    """Returns a time for people."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
