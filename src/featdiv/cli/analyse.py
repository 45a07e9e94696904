"""``featdiv spectrum`` and ``featdiv merge``: the main job, in one piece or from the moments of shards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from featdiv.cli import options, output, probe_rows
from featdiv.cli.progress import progress_bar

if TYPE_CHECKING:
    from featdiv.analyses import Spectrum

MOST_CLASSES_SHOWN = 40


def run_spectrum(
    paths: list[str],
    *,
    key: str | None = None,
    labels: str | None = None,
    groups: str | None = None,
    per_class: bool = False,
    quiet: bool = False,
    **arguments: Any,
) -> Spectrum:
    """Calls `featdiv.spectrum`, with a progress bar, on what the paths hold: rows, or one file of moments.

    Raises:
        typer.BadParameter: if something is asked of moments that only rows can tell, or there are no labels for
            ``per_class``.
    """
    import featdiv

    moments = options.load_moments(paths)
    if moments is not None:
        if per_class or groups or key:
            raise typer.BadParameter(
                f"{paths[0]} holds moments: --key, --per-class, --labels and --groups go with rows"
            )
        return featdiv.spectrum(moments, **arguments)
    with (
        options.open_source(paths, key=key, labels=labels, groups=groups) as source,
        progress_bar("reading", quiet=quiet) as progress,
    ):
        if per_class:
            probe_rows.require_labels(source)
        rows = source if per_class else source.replaced(labels=None)
        return featdiv.spectrum(rows, progress=progress, **arguments)


def spectrum(
    paths: options.Paths,
    key: options.Key = None,
    labels: options.Labels = None,
    groups: options.Groups = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="Also one spectrum for each label.")] = False,
    normalize: Annotated[
        options.Normalize | None, typer.Option(help="Divide each row by its Euclidean norm first.")
    ] = None,
    center: Annotated[bool, typer.Option("--center/--no-center", help="Subtract the mean row.")] = True,
    precision: Annotated[
        options.Precision, typer.Option(help="Arithmetic of the products.")
    ] = options.Precision.FLOAT32,
    method: Annotated[options.Method, typer.Option(help="How to get the eigenvalues.")] = options.Method.AUTO,
    backend: options.Backend = "auto",
    device: options.Device = None,
    interval: options.Intervals = options.Interval.AUTO,
    memory: options.Memory = None,
    nonfinite: options.RowsNotFinite = options.NonFinite.RAISE,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of every random choice.")] = 0,
    json: options.Json = None,
    plot: Annotated[str | None, typer.Option(metavar="OUT.png", help="Draw the spectrum into a picture.")] = None,
    save_moments: Annotated[
        str | None,
        typer.Option(metavar="OUT.npz", help="Keep the moments, for `featdiv merge` or a later run."),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Effective rank, RankMe and the other spectral scores of embeddings, from one pass over the rows.

    PATH may also be a file of moments that --save-moments or `featdiv merge` wrote.
    """
    for path, option in ((json, "--json"), (plot, "--plot"), (save_moments, "--save-moments")):
        options.require_writable(path, option)
    if labels is not None and not per_class:
        raise typer.BadParameter("--labels goes with --per-class")
    options.check_memory(memory)
    options.check_backend(backend)
    result = run_spectrum(
        paths,
        key=key,
        labels=labels,
        groups=groups,
        per_class=per_class,
        quiet=quiet,
        center=center,
        normalize=normalize.value if normalize else None,
        method=method.value,
        precision=precision.value,
        backend=backend,
        device=device,
        interval=None if interval is options.Interval.NONE else interval.value,
        memory=memory,
        nonfinite=nonfinite.value,
        seed=seed,
    )
    if json != "-":
        print_spectrum(result, quiet=quiet)
    output.write_json(result.to_dict(), json)
    if plot is not None:
        output.save_plot(result, plot)
    if save_moments is not None:
        save(result, save_moments)
    output.say_written(json, plot, save_moments, quiet=quiet)


def save(result: Spectrum, path: str) -> None:
    """Writes the moments behind a spectrum.

    Raises:
        InputError: if the method that was used does not form them.
    """
    if result.moments is None:
        from featdiv.errors import InputError

        method = result.provenance.method
        raise InputError(f"--save-moments: method {method!r} forms no moments; use --method gram")
    result.moments.save(path)


def print_spectrum(result: Spectrum, *, quiet: bool = False) -> None:
    """Prints the scores of a spectrum and, where it has classes, a line for each."""
    output.print_result(result, title=describe(result), quiet=quiet)
    if result.per_class:
        typer.echo()
        print_classes(result, quiet=quiet)


def describe(result: Any) -> str:
    """Returns one line on where a result comes from."""
    made = result.provenance
    backends = ", ".join(sorted(set(made.backends.values())))
    how = f"{made.method} in {made.precision} ({backends})" if made.precision else f"from moments by {backends}"
    return f"{made.n:,} × {made.d} {made.dtype}, {how}, {made.source}"


def print_classes(result: Spectrum, *, quiet: bool = False) -> None:
    """Prints the leading scores of each class, of the first classes where there are many."""
    names = ("effective_rank", "rankme", "participation_ratio", "stable_rank")
    rows = []
    for label, part in list(result.per_class.items())[:MOST_CLASSES_SHOWN]:
        values = [output.measured(part.scores[name]) if name in part.scores else "undefined" for name in names]
        rows.append([str(label), f"{part.provenance.n:,}", *values])
    output.print_table(["class", "n", *names], rows, right=range(1, 2 + len(names)), spare=(4, 5))
    left = len(result.per_class) - MOST_CLASSES_SHOWN
    if left > 0:
        output.remark("note", f"{left} more classes; --json has them all", quiet=quiet)
    for label, reason in result.per_class_skipped.items():
        output.remark("note", f"class {label} has no spectrum: {reason}", quiet=quiet)


def merge(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="Moments of shards, made anywhere.", show_default=False),
    ],
    out: Annotated[str, typer.Option("--out", "-o", metavar="OUT.npz", help="Where to write the merged moments.")],
    quiet: options.Quiet = False,
) -> None:
    """Merge the moments that --save-moments wrote for the shards of one set.

    Read the result with `featdiv spectrum`. The shards must hold different rows: moments that are given twice
    are refused.
    """
    import featdiv

    options.require_writable(out, "--out")
    merged: featdiv.Moments | None = None
    seen: dict[tuple[int, bytes, bytes], str] = {}
    for file in sorted(files):
        moments = featdiv.Moments.load(file)
        identity = (moments.n, moments.mean.tobytes(), moments.scatter.diagonal().tobytes())
        if moments.n and identity in seen:
            raise featdiv.InputError(
                f"featdiv merge: {file} holds the moments of the same rows as {seen[identity]}; "
                "merging both would count the rows twice"
            )
        seen[identity] = file
        try:
            merged = moments if merged is None else merged.merge(moments)
        except featdiv.InputError as error:
            raise featdiv.InputError(f"featdiv merge: {file}: {error}") from None
    if merged is None:
        raise typer.BadParameter("no files to merge")
    merged.save(out)
    shards = "1 file" if len(files) == 1 else f"{len(files)} files"
    output.say(f"wrote {out}: {merged.n:,} rows of {merged.d} features, from {shards}", quiet=quiet)
