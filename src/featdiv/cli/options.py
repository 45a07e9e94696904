"""Arguments and options that several commands share, and the reading of their values."""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from featdiv.io import Embeddings
    from featdiv.stats import Moments

Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH...",
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
    typer.Option(metavar="FILE|COLUMN", help="Label of each row: a .npy or text file, or a column."),
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


class Normalize(enum.StrEnum):
    """Values of ``--normalize``."""

    L2 = "l2"


class Precision(enum.StrEnum):
    """Values of ``--precision``, the names of `featdiv.ops.PRECISIONS`."""

    FLOAT64 = "float64"
    FLOAT32 = "float32"
    MIXED = "mixed"
    BFLOAT16 = "bfloat16"


class Interval(enum.StrEnum):
    """Values of ``--interval``; ``none`` is None in Python."""

    AUTO = "auto"
    JACKKNIFE = "jackknife"
    NONE = "none"


class NonFinite(enum.StrEnum):
    """Values of ``--nonfinite``."""

    RAISE = "raise"
    DROP = "drop"


_UNITS = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}


def parse_bytes(text: str | None) -> int | None:
    """Reads a memory size such as ``8GB``, ``512 MiB`` or ``1e9``; None stays None.

    Raises:
        typer.BadParameter: if it is not a positive size.

    Example:
        >>> parse_bytes("1.5 GB"), parse_bytes("512MiB")
        (1500000000, 536870912)
    """
    if text is None:
        return None
    match = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([kmgt]i?)?b?\s*", text.lower())
    try:
        size = int(float(match[1]) * _UNITS[match[2] or ""]) if match else 0
    except (ValueError, OverflowError):
        size = 0
    if size <= 0:
        raise typer.BadParameter(f"expected a size such as 8GB or 512MiB; got {text!r}")
    return size


def split_key(key: str | None) -> str | list[str] | None:
    """Returns one name as it is, and several names separated by commas as a list."""
    return key.split(",") if key and "," in key else key


def require_writable(path: str | None, option: str) -> None:
    """Refuses an output file whose directory does not exist, before any work is done.

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
    if len(paths) != 1 or not paths[0].endswith(".npz") or not Path(paths[0]).is_file():
        return None
    from featdiv.stats import storage

    return storage.load_moments(paths[0]) if storage.is_moments_file(paths[0]) else None
