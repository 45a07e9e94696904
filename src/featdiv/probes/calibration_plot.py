"""The reliability diagram, drawn with matplotlib on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from featdiv.probes.calibration import Calibration


def reliability(calibration: Calibration, ax: Axes | None = None) -> Figure:
    """Draws accuracy against confidence; see `Calibration.plot`."""
    if ax is None:
        from matplotlib.figure import Figure as NewFigure

        ax = NewFigure(figsize=(4.0, 4.0), layout="constrained").subplots()
    edges, filled = calibration.edges, calibration.counts > 0
    widths = np.diff(edges)[filled]
    left = edges[:-1][filled]
    ax.bar(left, calibration.accuracy[filled], widths, align="edge", edgecolor="white", label="accuracy")
    ax.bar(
        left,
        calibration.counts[filled] / calibration.counts.sum(),
        widths,
        align="edge",
        color="0.75",
        alpha=0.6,
        label="share of rows",
    )
    means = calibration.confidence[filled], calibration.accuracy[filled]
    ax.plot(*means, "o", color="black", markersize=3, label="at its mean confidence")
    ax.plot([0.0, 1.0], [0.0, 1.0], "--", color="0.4", linewidth=1.0, label="as often right as it says")
    ax.set(xlim=(0.0, 1.0), ylim=(0.0, 1.0), xlabel="confidence", ylabel="accuracy")
    ax.set_title(f"ECE {float(calibration):.3f}, {calibration.provenance.n:,} rows", fontsize=10)
    ax.legend(fontsize=8, loc="upper left")
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure
