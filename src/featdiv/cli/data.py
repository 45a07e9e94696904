"""``featdiv info`` and ``featdiv convert``: what embeddings are, and the same rows in another format."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from featdiv.cli import options, output
from featdiv.cli.progress import progress_bar


def info(
    paths: options.Paths,
    key: options.Key = None,
    labels: options.Labels = None,
    ids: options.Ids = None,
    groups: options.Groups = None,
    json: options.Json = None,
) -> None:
    """Shape, type, labels and fingerprint of embeddings, without reading them all."""
    options.require_writable(json, "--json")
    with options.open_source(paths, key=key, labels=labels, ids=ids, groups=groups) as source:
        facts = describe(source)
    if json != "-":
        output.print_table(
            ["what", "value"],
            [[name, "none" if value is None else str(value)] for name, value in facts.items()],
        )
    output.write_json(facts, json)


def describe(source: Any) -> dict[str, Any]:
    """Returns the facts about a source that cost little: shape, type, size, side arrays, fingerprint."""
    import numpy as np

    facts: dict[str, Any] = {
        "source": source.description,
        "rows": source.n,
        "features": source.d,
        "dtype": source.dtype,
        "format": source.format,
        "shards": source.shards,
        "bytes": source.bytes,
        "device": source.device,
        "fingerprint": source.fingerprint,
        "readable": "once" if source.one_pass else "again and again",
    }
    for name in ("labels", "ids", "groups"):
        values = getattr(source, name)
        facts[name] = None if values is None else f"{len(values):,}, {len(np.unique(values)):,} distinct"
    return facts


def convert(
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="File, directory or glob of shards.", show_default=False)
    ],
    destination: Annotated[
        str, typer.Argument(metavar="DST", help="File, or directory with --shard-rows.", show_default=False)
    ],
    dtype: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="float64, float32, float16 or bfloat16; default: as it is."),
    ] = None,
    shard_rows: Annotated[
        int | None, typer.Option(metavar="ROWS", min=1, help="Split into shards of this many rows.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option("--format", metavar="NAME", help="npy, safetensors, ...; default: from DST's suffix."),
    ] = None,
    key: options.Key = None,
    quiet: options.Quiet = False,
) -> None:
    """Write embeddings in another format, type or division into shards; the files appear when complete."""
    import featdiv

    with (
        options.open_source([source], key=key) as rows,
        progress_bar("converting", quiet=quiet) as progress,
    ):
        featdiv.convert(rows, destination, dtype=dtype, shard_rows=shard_rows, format=format, progress=progress)
    output.say(f"wrote {destination}", quiet=quiet)
