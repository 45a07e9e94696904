"""The picture of a ridge path, drawn with matplotlib on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from featdiv.probes.ridge_result import RidgeProbe


def path(probe: RidgeProbe, ax: Axes | None = None) -> Figure:
    """Draws scores against the strength of the penalty; see `RidgeProbe.plot`."""
    if ax is None:
        from matplotlib.figure import Figure as NewFigure

        ax = NewFigure(figsize=(5.0, 3.4), layout="constrained").subplots()
    drawn = [(probe.loo, "leave-one-out", "o-"), (probe.val, "validation", "s--")]
    for values, label, style in drawn:
        if values is not None:
            ax.plot(probe.lambdas, values, style, label=label, markersize=3)
    if probe.loo is None and probe.val is None:
        ax.plot(probe.lambdas, probe.gcv, "o-", label="generalised cross-validation", markersize=3)
        ax.set_ylabel("error")
    else:
        ax.set_ylabel("R²" if probe.classes is None else "accuracy")
    ax.axvline(probe.best_lambda, color="0.6", linewidth=1.0, label=f"chosen by {probe.chosen_by}")
    ax.set_xscale("log")
    ax.set_xlabel("λ")
    ax.set_title(f"Ridge probe, {probe.provenance.n:,} rows of {probe.provenance.d} features", fontsize=10)
    ax.legend(fontsize=8)
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure
