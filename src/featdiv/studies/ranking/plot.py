"""The picture of a ranking."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from featdiv.studies.ranking.result import Ranking


def accuracies(ranking: Ranking, ax: Axes | None) -> Figure:
    """Draws the criterion of each model with its interval; models that cannot be told from the best are filled."""
    from matplotlib.figure import Figure as NewFigure

    place = ranking.columns.index(ranking.criterion)
    shown = [(model, row[place]) for model, row in zip(ranking.models, ranking.values, strict=True)]
    if ax is None:
        width = 4.6 + 0.085 * max(len(model) for model, _ in shown)
        ax = NewFigure(figsize=(width, 1.2 + 0.35 * len(shown)), layout="constrained").subplots()
    for height, (model, value) in enumerate(shown):
        if value is None:
            continue
        interval = ranking.intervals.get(f"{model}: {ranking.criterion}")
        if interval is not None:
            ax.plot([interval.low, interval.high], [height, height], color="tab:blue", linewidth=1.5)
        face = "tab:blue" if model in ranking.contenders else "white"
        ax.plot(value, height, "o", color="tab:blue", markerfacecolor=face)
    ax.set_yticks(range(len(shown)), [model for model, _ in shown])
    ax.invert_yaxis()
    ax.set_xlabel(f"{ranking.criterion}: share of images right, 95 % interval\n(filled: cannot be told from the best)")
    found = ax.figure
    assert isinstance(found, NewFigure)
    return found
