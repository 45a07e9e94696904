"""The picture of a regularisation path, drawn with matplotlib on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from featdiv.probes.linear_result import LinearProbe


def path(probe: LinearProbe, ax: Axes | None = None) -> Figure:
    """Draws what C was chosen by against C, fits that did not converge as crosses; see `LinearProbe.plot`."""
    if ax is None:
        from matplotlib.figure import Figure as NewFigure

        ax = NewFigure(figsize=(5.0, 3.4), layout="constrained").subplots()
    ax.set_xscale("log")
    judged = probe.path[0].selection is not None
    values = [fitted.selection if fitted.selection is not None else fitted.objective for fitted in probe.path]
    ax.plot([fitted.C for fitted in probe.path], values, "-", color="#1f4e79", linewidth=1.0)
    for marker, label, converged in (("o", "converged", True), ("x", "not converged", False)):
        points = [(f.C, value) for f, value in zip(probe.path, values, strict=True) if f.converged is converged]
        if points:
            told = label if len(points) < len(probe.path) or not converged else None
            ax.plot(*zip(*points, strict=True), marker, color="#1f4e79", markersize=4, label=told)
    if probe.chosen is not None:
        ax.axvline(probe.C, color="0.6", linewidth=1.0, label=f"C = {probe.C:.3g}, by {probe.chosen_by}")
    if len(probe.path) == 1:
        ax.set_xlim(probe.path[0].C / 10.0, probe.path[0].C * 10.0)
    ax.set_xlabel("C")
    by = f" ({probe.chosen_by})" if probe.chosen_by else ""
    ax.set_ylabel(f"{probe.metric.replace('_', ' ')}{by}" if judged else "objective")
    if not judged:
        ax.set_yscale("log")
    ax.set_title(f"Linear probe, {probe.provenance.n:,} rows of {probe.provenance.d} features", fontsize=10)
    ax.legend(fontsize=8)
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure
