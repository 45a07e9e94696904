"""The picture of a transferability table, drawn with matplotlib on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from featdiv.errors import NotEnoughData

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from featdiv.analyses.transferability_result import Transferability


def accuracies(found: Transferability, ax: Axes | None = None) -> Figure:
    """Draws accuracies with their intervals; see `Transferability.plot`."""
    names = [name for name in found.scores if name in ("knn", "ridge") or name.endswith("_accuracy")]
    if not names:
        raise NotEnoughData("Transferability.plot: the table holds no accuracy; ask for knn, ridge or lda")
    if ax is None:
        from matplotlib.figure import Figure as NewFigure

        ax = NewFigure(figsize=(4.5, 1.4 + 0.5 * len(names)), layout="constrained").subplots()
    for place, name in enumerate(names):
        value, interval = found.scores[name], found.intervals.get(name)
        reach = [[value - interval.low], [interval.high - value]] if interval else None
        ax.errorbar([value], [place], xerr=reach, fmt="o", color="#1f4e79", capsize=3)
        ax.annotate(f"{value:.3f}", (value, place), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=8)
    ax.axvline(1.0 / found.classes, color="0.6", linewidth=1.0, linestyle="--")
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(-0.6, len(names) - 0.3)
    ax.set_xlim(0.0, 1.04)
    ax.set_xlabel(f"accuracy without the row itself\n(dashed: 1 / {found.classes}, by chance)")
    ax.set_title(f"{found.provenance.n:,} rows of {found.classes} classes", fontsize=10)
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure
