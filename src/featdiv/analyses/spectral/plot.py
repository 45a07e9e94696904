"""Pictures of spectra, drawn with matplotlib on request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from featdiv.analyses.spectral.result import Spectrum

_INK, _FIT, _FLOOR, _EDGE = "#1f4e79", "#c0392b", "#8a8a8a", "#2e7d32"
_GUIDES = (0.9, 0.99)
_DECADES_SHOWN = 1e-2
_FEW = 10


def draw(spectrum: Spectrum, ax: Axes | None = None) -> Figure:
    """Draws one spectrum; see `Spectrum.plot`."""
    if ax is not None:
        _spectrum(spectrum, ax)
        return _figure_of(ax)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _spectrum(spectrum, left)
    _cumulative(spectrum, right)
    rows = f"{spectrum.n:,} x {spectrum.d:,}"
    figure.suptitle(f"Spectrum of {rows}: effective rank {_shown(spectrum, 'effective_rank')}", fontsize=11)
    return figure


def draw_many(spectra: Mapping[str, Spectrum], ax: Axes | None = None) -> Figure:
    """Draws the eigenvalues of several spectra on one pair of axes."""
    if ax is None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 4.4), layout="constrained")
        ax = figure.subplots()
    for name, spectrum in spectra.items():
        index, values = _positive(spectrum)
        ax.plot(index, values, label=name, linewidth=1.2)
    _label(ax)
    if len(spectra) <= 12:
        ax.legend(fontsize=8)
    return _figure_of(ax)


def _figure_of(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def _shown(spectrum: Spectrum, name: str) -> str:
    if name not in spectrum.scores:
        return "undefined"
    interval = spectrum.intervals.get(name)
    suffix = f" [{interval.low:.4g}, {interval.high:.4g}]" if interval else ""
    return f"{spectrum.scores[name]:.4g}{suffix}"


def _positive(spectrum: Spectrum) -> tuple[np.ndarray, np.ndarray]:
    kept = spectrum.eigenvalues > 0.0
    return np.flatnonzero(kept) + 1, spectrum.eigenvalues[kept]


def _label(ax: Axes) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("index")
    ax.set_ylabel("eigenvalue")
    ax.grid(visible=True, which="major", alpha=0.3)


def _spectrum(spectrum: Spectrum, ax: Axes) -> None:
    index, values = _positive(spectrum)
    floor = spectrum.eigenvalues[0] * spectrum.eigen.floor**2
    resolved = values > floor
    # Limits that are set before the scale is one of logarithms cut off the first point.
    _label(ax)
    size = 3 if resolved.sum() > _FEW else 6
    ax.plot(index[resolved], values[resolved], ".-", markersize=size, linewidth=0.8, color=_INK, label="eigenvalues")
    if spectrum.fit:
        first, last = spectrum.fit["fit_min"], spectrum.fit["fit_max"]
        line = np.array([first, last], dtype=np.float64)
        error = spectrum.fit["standard_error"]
        ax.plot(
            line,
            np.exp(spectrum.fit["intercept"]) * line ** -spectrum.fit["alpha"],
            color=_FIT,
            linewidth=2.0,
            label=rf"power law $\alpha$ = {spectrum.fit['alpha']:.3g} $\pm$ {error:.1g} (index {first:.0f}–{last:.0f})",
        )
    if spectrum.noise:
        count = spectrum.scores["marchenko_pastur"]
        ax.axhline(
            spectrum.noise["edge"],
            color=_EDGE,
            linestyle="--",
            linewidth=1.0,
            label=f"Marchenko–Pastur edge ({count:.0f} above)",
        )
    below = len(spectrum.eigenvalues) - int(resolved.sum())
    if below:
        label = f"numerical noise floor ({below} of {len(spectrum.eigenvalues)} below)"
        # A floor many decades down would squeeze the spectrum into the top of the picture.
        bottom = _DECADES_SHOWN * values[resolved][-1]
        if floor >= bottom:
            ax.axhline(floor, color=_FLOOR, linestyle=":", linewidth=1.0, label=label)
        else:
            ax.plot([], [], " ", label=f"below the picture: {label}")
        ax.set_ylim(bottom=max(0.3 * floor, bottom))
    ax.legend(fontsize=8, loc="lower left" if resolved.sum() > _FEW else "best")


def _cumulative(spectrum: Spectrum, ax: Axes) -> None:
    share = np.cumsum(spectrum.explained_variance_ratio)
    ax.plot(np.arange(len(share) + 1), [0.0, *share], color=_INK)
    labels: dict[int, str] = {}
    for guide in _GUIDES:
        reached = np.flatnonzero(share >= guide)
        if len(reached):
            k = int(reached[0]) + 1
            ax.plot([k, k, 0], [0.0, guide, guide], color=_FLOOR, linewidth=0.8, linestyle="--")
            labels[k] = f"{labels[k]} and {guide:.0%}" if k in labels else f"{k} for {guide:.0%}"
    for k, label in labels.items():
        side = "right" if 2 * k > len(share) else "left"
        ax.annotate(label.replace("%", " %"), (k, 0.03), fontsize=8, rotation=90, va="bottom", ha=side)
    ax.set_xlim(0, len(share))
    ax.set_ylim(0.0, 1.02)
    ax.locator_params(axis="x", integer=True)
    ax.set_xlabel("components")
    ax.set_ylabel("cumulative share of variance")
    ax.grid(visible=True, alpha=0.3)
