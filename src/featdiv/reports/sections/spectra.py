"""Spectra of all models on the same axes, and how many components hold how much variance."""

from __future__ import annotations

import math
from collections.abc import Sequence

from featdiv.reports import parts
from featdiv.reports.entries import Entry
from featdiv.reports.figures.line_chart import Series, line_chart
from featdiv.reports.section import Palette, Section

KINDS = ("Spectrum",)

MOST_POINTS = 160
"""Points of a line: more are not seen, and weigh on the page."""

BELOW_FLOOR = 0.1
"""The axis ends here, in units of the lowest floor or of the smallest eigenvalue that is resolved."""


def build(entries: Sequence[Entry], palette: Palette) -> Section | None:
    """Returns the section, or None where no spectrum has a positive eigenvalue."""
    entries = [entry for entry in entries if _leading(entry) > 0.0]
    if not entries:
        return None
    relative = [_relative(entry, palette) for entry in entries]
    resolved = [value for line in relative for value in line.y if value > (line.floor or 0.0)]
    scree = line_chart(
        relative,
        x_label="index of the eigenvalue",
        y_label="eigenvalue / largest eigenvalue",
        title="Eigenvalues of the covariance, relative to the largest",
        log_x=True,
        marked=False,
        log_y=True,
        least_y=BELOW_FLOOR * min(resolved),
    )
    cumulative = line_chart(
        [_cumulative(entry, palette) for entry in entries],
        x_label="number of components",
        y_label="share of the variance",
        title="Cumulative share of the variance",
        log_x=True,
        marked=False,
    )
    floors = any(line.floor is not None and min(line.y) <= line.floor for line in relative)
    note = (
        " Below its numerical noise floor, a dotted horizontal line, a spectrum is not resolved and drawn faintly."
        if floors
        else " All eigenvalues shown lie above the numerical noise floor of their method."
    )
    body = parts.stacked(
        parts.legend([entry.name for entry in entries], palette),
        parts.figure(
            scree,
            caption="Spectra on logarithmic axes. A slow decay is a representation that spreads its variance over many "
            f"directions; a cliff is a collapse.{note}",
        ),
        parts.figure(
            cumulative,
            caption="Share of the variance that the leading components hold together, of the variance in all "
            "components that were computed.",
        ),
    )
    return Section(name="spectra", title="Spectra", body=body)


def _leading(entry: Entry) -> float:
    values = entry.content.get("eigenvalues") or [0.0]
    return float(values[0] or 0.0)


def _relative(entry: Entry, palette: Palette) -> Series:
    values = [float(value or 0.0) for value in entry.content["eigenvalues"]]
    positive = [(index + 1, value / values[0]) for index, value in enumerate(values) if value > 0.0]
    kept = _thinned(positive)
    first = float(entry.content["singular_values"][0])
    floor = (float(entry.content.get("noise_floor") or 0.0) / first) ** 2 if first > 0.0 else 0.0
    return Series(
        name=entry.name,
        style=palette.style(entry.name),
        x=[index for index, _ in kept],
        y=[value for _, value in kept],
        floor=floor or None,
    )


def _cumulative(entry: Entry, palette: Palette) -> Series:
    values = [max(0.0, float(value or 0.0)) for value in entry.content["eigenvalues"]]
    total = math.fsum(values)
    running, shares = 0.0, []
    for index, value in enumerate(values):
        running += value / total
        shares.append((index + 1, min(1.0, running)))
    kept = _thinned(shares)
    return Series(
        name=entry.name,
        style=palette.style(entry.name),
        x=[index for index, _ in kept],
        y=[share for _, share in kept],
    )


def _thinned(points: Sequence[tuple[int, float]]) -> Sequence[tuple[int, float]]:
    """Returns at most `MOST_POINTS` points, evenly on a logarithmic axis, both ends among them."""
    count = len(points)
    if count <= MOST_POINTS:
        return points
    places = {round(math.exp(math.log(count) * step / (MOST_POINTS - 1))) - 1 for step in range(MOST_POINTS)}
    return [points[place] for place in sorted(places)]
