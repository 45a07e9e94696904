"""``featdiv demo``: the whole main job on real data that ships with a dependency."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from featdiv.cli import options, output


def demo(
    out: Annotated[
        str, typer.Option(metavar="FOLDER", help="Where the files of the demonstration go.")
    ] = "featdiv-demo",
    models: Annotated[
        bool,
        typer.Option("--models/--no-models", help="Train two small networks and rank them, in about a minute, or not."),
    ] = True,
    quiet: options.Quiet = False,
) -> None:
    """Analyse scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, then rank two small networks for half of them.

    Writes rows, labels, spectrum (JSON and picture), and of the networks images, weights, ranking and a page.
    """
    from sklearn.datasets import load_digits

    if models:
        from featdiv._optional import require
        from featdiv.backbones.torchvision_shim import prepare_torchvision

        prepare_torchvision()
        require("timm", extra="vision", needed_by="the networks of featdiv demo (--no-models leaves them out)")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    _spectrum(digits, folder)
    if models:
        _ranking(digits, folder, quiet=quiet)


def _spectrum(digits: Any, folder: Path) -> None:
    import numpy as np

    from featdiv.cli.analyse import print_spectrum, run_spectrum
    from featdiv.io.writers import replacing

    rows, labels, picture, results = (
        str(folder / name) for name in ("digits.npy", "labels.npy", "spectrum.png", "spectrum.json")
    )
    for path, array in ((rows, digits.data.astype(np.float32)), (labels, digits.target.astype(np.int64))):
        with replacing(path) as file:
            np.save(file, array)

    result = run_spectrum([rows], labels=labels, per_class=True)
    print_spectrum(result)
    output.write_json(result.to_dict(), results)
    output.save_plot(result, picture)

    effective = result.scores["effective_rank"]
    output.say(
        f"\nThe {result.provenance.d} pixels carry about {effective:.0f} dimensions' worth of variation.\n"
        f"Picture: {picture}    everything as JSON: {results}\n\n"
        "The same in the shell, and in Python:\n"
        f"  featdiv spectrum {rows} --labels {labels} --per-class --plot {picture}\n"
        f"  featdiv check {rows} --require 'effective_rank>=30'\n"
        "  >>> import featdiv\n"
        f"  >>> featdiv.spectrum('{rows}').effective_rank"
    )


def _ranking(digits: Any, folder: Path, *, quiet: bool) -> None:
    from featdiv.cli import demo_models
    from featdiv.cli.progress import progress_bar
    from featdiv.cli.rank import print_ranking

    target = folder / "images"
    demo_models.write_images(digits, target)
    weights = {}
    for network in demo_models.NETWORKS:
        weights[network] = folder / "weights" / f"{network}.safetensors"
        output.say(f"\nTraining {network} from random weights on the digits 0 to 4 ...", quiet=quiet)
        accuracy = demo_models.train(digits, network, weights[network])
        output.say(f"... it gets {100 * accuracy:.0f} % of those held out right.", quiet=quiet)
    output.say("\nWhich of the two serves better for the digits 5 to 9, which neither has seen?\n", quiet=quiet)
    with progress_bar("ranking", quiet=quiet, unit="images") as progress:
        ranking = demo_models.rank(folder, weights, progress)
    print_ranking(ranking, quiet=True)
    page, results = folder / "ranking.html", folder / "ranking.json"
    ranking.report(page, title="Two small networks for the digits 5 to 9")
    output.write_json(ranking.to_dict(), str(results))
    given = " ".join(f"--checkpoint {name}={path}" for name, path in weights.items())
    output.say(
        f"\nPage: {page}    everything as JSON: {results}\n\n"
        "The same for images and networks of yours:\n"
        f"  featdiv rank-models --data {target} {given} --input-size {demo_models.SIZE} --repeats 2 --report page.html"
    )
