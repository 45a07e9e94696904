"""Pictures of a fine-tuning, drawn with matplotlib on request."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from featdiv.backbones.finetune_result import FineTune

BLUE, ORANGE = "#1f4e79", "#c8641e"


def _axes(ax: Axes | None) -> tuple[Axes, Figure]:
    if ax is None:
        from matplotlib.figure import Figure as NewFigure

        ax = NewFigure(figsize=(5.2, 3.6), layout="constrained").subplots()
    figure = ax.get_figure(root=True)
    assert figure is not None
    return ax, figure


def curve(result: FineTune, ax: Axes | None = None) -> Figure:
    """Draws validation accuracy against steps, of the baseline too; see `FineTune.plot`."""
    ax, figure = _axes(ax)
    drawn = "map" if any(point.accuracy is None for point in result.curve) else "accuracy"
    shown = [(result, BLUE, result.mode)]
    if result.scratch is not None:
        shown.append((result.scratch, ORANGE, "scratch"))
    for part, colour, label in shown:
        steps = [point.step for point in part.curve]
        ax.plot(steps, [getattr(point, drawn) for point in part.curve], "o-", color=colour, markersize=3, label=label)
        reached = part.scores.get("steps_to_90")
        if reached is not None:
            name = f"90 % of the best odds: step {reached:.0f}"
            ax.axvline(reached, color=colour, linewidth=1.0, linestyle=":", label=name)
    ax.set_xlabel("step")
    ax.set_ylabel(f"{'mean average precision' if drawn == 'map' else drawn} on validation images")
    model = result.provenance.arguments.get("model", "")
    ax.set_title(f"{model}, lr {result.lr:g}, weight decay {result.weight_decay:g}", fontsize=10)
    ax.legend(fontsize=8, loc="best")
    return figure


def grid(result: FineTune, ax: Axes | None = None) -> Figure:
    """Draws the last value of each grid point as a coloured square; see `FineTune.plot_grid`."""
    import numpy as np

    ax, figure = _axes(ax)
    last = {(trial.lr, trial.weight_decay): trial for trial in result.trials if trial.stage == "search"}
    rates, decays = (sorted({point[i] for point in last}) for i in (0, 1))
    values = np.full((len(decays), len(rates)), np.nan)
    for (rate, decay), trial in last.items():
        if trial.value is not None:
            values[decays.index(decay), rates.index(rate)] = trial.value
    image = ax.imshow(values, origin="lower", aspect="auto", cmap="viridis")
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    for (rate, decay), trial in last.items():
        value = trial.value
        text = "diverged" if value is None else f"{value:.3f}\n{trial.steps} steps"
        colour = "black" if value is None or value > middle or math.isclose(value, middle) else "white"
        weight = "bold" if (rate, decay) == (result.lr, result.weight_decay) else "normal"
        place = rates.index(rate), decays.index(decay)
        ax.text(*place, text, ha="center", va="center", fontsize=8, color=colour, fontweight=weight)
    ax.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
    ax.set_yticks(range(len(decays)), [f"{decay:g}" for decay in decays])
    ax.set_xlabel("learning rate")
    divided = result.provenance.arguments.get("weight_decay_divided_by_lr")
    ax.set_ylabel("weight decay" + (" (divided by the learning rate)" if divided else ""))
    ax.set_title(f"{result.metric.replace('_', ' ')} on validation images; bold: chosen", fontsize=10)
    figure.colorbar(image, ax=ax)
    return figure
