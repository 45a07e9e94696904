"""``featdiv demo``: the whole main job on real data that ships with a dependency."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from featdiv.cli import output


def demo(
    out: Annotated[
        str, typer.Option(metavar="FOLDER", help="Where the files of the demonstration go.")
    ] = "featdiv-demo",
) -> None:
    """Analyse scikit-learn's 1,797 handwritten digits of 8 x 8 pixels: table, picture, JSON."""
    import numpy as np
    from sklearn.datasets import load_digits

    from featdiv.cli.analyse import print_spectrum, run_spectrum
    from featdiv.stats.storage import replacing

    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    rows, labels, picture, results = (
        str(folder / name) for name in ("digits.npy", "labels.npy", "spectrum.png", "spectrum.json")
    )
    digits = load_digits()
    for path, array in ((rows, digits.data.astype(np.float32)), (labels, digits.target.astype(np.int64))):
        with replacing(path) as file:
            np.save(file, array)

    result = run_spectrum([rows], labels=labels)
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
