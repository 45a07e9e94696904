"""``featdiv directions``: what the leading directions of features stand for, by the rows at their ends."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featdiv.cli import options, output
from featdiv.cli.progress import progress_bar

if TYPE_CHECKING:
    from featdiv.analyses import Directions


def directions(
    paths: options.Paths,
    other: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="The same rows of another model: show what it lacks instead."),
    ] = None,
    other_name: Annotated[str | None, typer.Option(metavar="NAME", help="What to call it; default: its file.")] = None,
    images: Annotated[
        str | None,
        typer.Option(metavar="IMAGES", help="Folder, parquet files or hf:NAME with the image of each row, in order."),
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which part of the images: train, val, test.")
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", metavar="K", min=1, help="How many directions.")] = 5,
    extremes: Annotated[int, typer.Option(metavar="N", min=1, help="Rows at each end.")] = 6,
    center: Annotated[
        bool, typer.Option("--center/--no-center", help="Subtract the mean row; without, shares are of squares.")
    ] = True,
    key: options.Key = None,
    normalize: Annotated[
        options.Normalize | None, typer.Option(help="Divide each row by its Euclidean norm first.")
    ] = None,
    precision: Annotated[
        options.Precision, typer.Option(help="Arithmetic of the products.")
    ] = options.Precision.FLOAT64,
    backend: options.Backend = "auto",
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="PAGE.html", help="Write a page with the images at the ends.")
    ] = None,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """What the leading directions of features show: the rows at the two ends of each, and their images on a page.

    With --other, the directions are those in which the features vary most beyond what the other model tells.
    """
    for path, option in ((out, "--out"), (json, "--json")):
        options.require_writable(path, option)
    options.check_backend(backend)
    if other_name and other is None:
        raise typer.BadParameter("--other-name: expected beside --other, which it names")
    if other is not None and not center:
        raise typer.BadParameter("--no-center: expected without --other")
    if split and images is None:
        raise typer.BadParameter("--split: expected beside --images, of which it is a part")
    import featdiv

    pictures = None if images is None else featdiv.images(images)
    if pictures is not None and split is not None:
        pictures = pictures.split(split)
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(options.open_source(paths, key=key))
        without = None if other is None else stack.enter_context(options.open_source([other], key=key))
        progress = stack.enter_context(progress_bar("reading", quiet=quiet))
        found = featdiv.directions(
            source,
            pictures,
            other=without,
            other_name=other_name or (None if other is None else Path(other).stem),
            k=k,
            extremes=extremes,
            center=center,
            normalize=normalize.value if normalize else None,
            precision=precision.value,
            backend=backend,
            progress=progress,
        )
    name = Path(paths[0]).stem
    if json != "-":
        print_directions(found, title=f"{name}: {found.provenance.n:,} rows of {found.provenance.d} features")
    output.write_json(found.to_dict(), json)
    if out is not None:
        lacking = f" and {found.other} lacks" if found.other else ""
        featdiv.report({name: found}, out, title=f"What {name} shows{lacking}")
    output.say_written(json, out, quiet=quiet)


def print_directions(found: Directions, *, title: str) -> None:
    """Prints a line for each direction: its share of the variance (or of the squares), and the rows at its ends."""
    columns = ["direction", "variance" if found.provenance.arguments["center"] else "squares"]
    if found.explained is not None:
        columns.append(f"told by {found.other}")
    rows = []
    for place, share in enumerate(found.shares):
        line = [str(place + 1), f"{100 * share:.1f} %"]
        if found.explained is not None:
            line.append(f"{100 * max(0.0, found.explained[place]):.0f} %")
        rows.append([*line, *(" ".join(map(str, end[place])) for end in (found.low, found.high))])
    output.print_table([*columns, "rows at one end", "rows at the other"], rows, title=title, right=range(len(columns)))
