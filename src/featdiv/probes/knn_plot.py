"""The picture of a kNN probe, drawn with matplotlib on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from featdiv.probes.knn_result import Cell, KnnProbe


def accuracy_by_k(probe: KnnProbe, ax: Axes | None = None) -> Figure:
    """Draws accuracy against the number of neighbours; see `KnnProbe.plot`."""
    if ax is None:
        from matplotlib.figure import Figure as NewFigure

        ax = NewFigure(figsize=(5.0, 3.4), layout="constrained").subplots()
    lines: dict[tuple[str, float | None], list[Cell]] = {}
    for cell in probe.cells:
        lines.setdefault((cell.vote, cell.temperature), []).append(cell)
    for (vote, temperature), cells in lines.items():
        k = [cell.k for cell in cells]
        label = vote if temperature is None else f"{vote}, T = {temperature:g}"
        style = "o-" if vote == "exp" else "s--"
        (line,) = ax.plot(k, [cell.top1 for cell in cells], style, markersize=3, label=label)
        ends = [(cell.k, cell.interval) for cell in cells if cell.interval is not None]
        ax.fill_between(
            [place for place, _ in ends],
            [interval.low for _, interval in ends],
            [interval.high for _, interval in ends],
            color=line.get_color(),
            alpha=0.15,
            linewidth=0,
        )
    best = probe.best
    ax.plot([best.k], [best.top1], "o", markersize=9, markerfacecolor="none", color="0.3")
    ticks = sorted({cell.k for cell in probe.cells})
    ax.set_xscale("log")
    ax.set_xticks(ticks, [str(k) for k in ticks])
    ax.minorticks_off()
    ax.set_xlabel("neighbours k")
    ax.set_ylabel("top-1 accuracy")
    ax.set_title(f"kNN probe, {int(probe.counts.sum()):,} rows, {len(probe.classes)} classes", fontsize=10)
    ax.legend(fontsize=8)
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure
