"""Arguments and options that several commands share, and the reading of their values."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from featdiv.io import Embeddings
    from featdiv.stats import Moments

Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH",
        help="Embeddings: a file, a directory or glob of shards, or several files: the shards of one set.",
        show_default=False,
    ),
]
Path_ = Annotated[
    str, typer.Argument(metavar="PATH", help="A file, a directory or a glob of shards.", show_default=False)
]
Key = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Entry or column that holds the rows, where the file has several; a comma separates columns.",
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|COLUMN",
        help="Label of each row: a .npy or text file, a pattern of one for each shard, or a column; default: those "
        "that extract wrote beside the rows.",
    ),
]
Ids = Annotated[str | None, typer.Option(metavar="FILE|COLUMN", help="Identity of each row.")]
Groups = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|COLUMN",
        help="Group of each row (video, patient, document): the intervals keep groups whole.",
    ),
]
Json = Annotated[
    str | None,
    typer.Option("--json", metavar="OUT|-", help="Write JSON to a file, or alone to stdout with '-'."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar, no messages.")]
Backend = Annotated[str, typer.Option(metavar="NAME", help="auto, or a backend that `featdiv doctor` lists.")]
Device = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Where to compute, such as cuda:0; default: where the rows are."),
]
Memory = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Memory budget, such as 8GB; default: a quarter of RAM.")
]


class Normalize(enum.StrEnum):
    """Values of ``--normalize``."""

    L2 = "l2"


class Precision(enum.StrEnum):
    """Values of ``--precision``, the names of `featdiv.ops.PRECISIONS`."""

    FLOAT64 = "float64"
    FLOAT32 = "float32"
    MIXED = "mixed"
    BFLOAT16 = "bfloat16"


class Method(enum.StrEnum):
    """Values of ``--method``, those of `featdiv.spectrum`."""

    AUTO = "auto"
    GRAM = "gram"
    SVD = "svd"
    TSQR = "tsqr"
    DUAL = "dual"
    RANDOMIZED = "randomized"


class Interval(enum.StrEnum):
    """Values of ``--interval``; ``none`` is None in Python."""

    AUTO = "auto"
    JACKKNIFE = "jackknife"
    NONE = "none"


Intervals = Annotated[Interval, typer.Option(help="Confidence intervals: where they are cheap, always, or never.")]


class NonFinite(enum.StrEnum):
    """Values of ``--nonfinite``."""

    RAISE = "raise"
    DROP = "drop"


RowsNotFinite = Annotated[NonFinite, typer.Option(help="What to do with rows that hold NaN or infinity.")]


def check_memory(text: str | None) -> None:
    """Refuses a memory budget that `featdiv.spectrum` would not understand.

    Raises:
        typer.BadParameter: if it is not a size.
    """
    from featdiv.errors import InputError
    from featdiv.stats import budget

    try:
        budget.budget_bytes(text, function="featdiv")
    except InputError:
        raise typer.BadParameter(f"--memory: expected a size such as 8GB or 512MiB; got {text!r}") from None


def check_backend(name: str) -> None:
    """Refuses a backend name that does not exist.

    Raises:
        typer.BadParameter: if no op has such a backend.
    """
    from featdiv.ops import _dispatch

    if name != "auto" and name not in _dispatch.NAMES:
        raise typer.BadParameter(f"--backend: expected auto, {', '.join(_dispatch.NAMES)}; got {name!r}")


def split_key(key: str | None) -> str | list[str] | None:
    """Returns one name as it is, and several names separated by commas as a list."""
    return key.split(",") if key and "," in key else key


PICTURES = (".png", ".svg", ".pdf", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".eps", ".ps")
"""Suffixes of the pictures that matplotlib writes; none stands for the first."""

_DRAWN = ("--plot", "--plot-grid", "--dendrogram")


def require_writable(path: str | None, option: str) -> None:
    """Refuses an output file whose directory does not exist, or a picture of no known kind, before any work is done.

    Raises:
        typer.BadParameter: if the file cannot be created there.
    """
    if path is None or path == "-":
        return
    target = Path(path)
    if target.is_dir():
        raise typer.BadParameter(f"{option}: {path!r} is a directory; expected the name of a file")
    if not target.parent.is_dir():
        raise typer.BadParameter(f"{option}: the directory {str(target.parent)!r} does not exist")
    if option in _DRAWN and target.suffix.lower() not in ("", *PICTURES):
        raise typer.BadParameter(f"{option}: expected a picture ({' '.join(PICTURES)}); got {path!r}")


def as_label(text: str | None, labels: Any) -> int | str | None:
    """Returns a label given as text as what the labels of the rows are: a whole number or text."""
    if text is None or labels is None or labels.dtype.kind == "U":
        return text
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"--ignore: expected a whole number, as the labels are; got {text!r}") from None


def open_source(
    paths: list[str],
    *,
    key: str | None = None,
    labels: str | None = None,
    ids: str | None = None,
    groups: str | None = None,
) -> Embeddings:
    """Opens one path as it is, and several as the shards of one set."""
    import featdiv

    source: Any = paths[0] if len(paths) == 1 else paths
    return featdiv.open(source, key=split_key(key), labels=labels, ids=ids, groups=groups)


def load_moments(paths: list[str]) -> Moments | None:
    """Returns the moments, if the paths are one file of saved moments; None if they are embeddings."""
    import zipfile

    if len(paths) != 1 or not zipfile.is_zipfile(paths[0]):
        return None
    with zipfile.ZipFile(paths[0]) as archive:
        if not {"format.npy", "schema.npy"} <= set(archive.namelist()):
            return None
    from featdiv.stats import Moments

    return Moments.load(paths[0])
