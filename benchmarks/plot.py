"""Draws results of run.py --json: one panel a workload, one bar a contender.

Usage:
    python benchmarks/plot.py results.json -o results.svg
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OWN, _PEER, _ROOF = "#2a6f97", "#b8b8b8", "#c1440e"
_WIDTH, _BAR, _HEAD = 9.0, 0.3, 1.0
_TITLE = 110
"""Characters of a line of a title."""


def main(arguments: list[str] | None = None) -> int:
    """Draws what the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="benchmarks/plot.py"
    )
    parser.add_argument("results", type=Path, nargs="+", help="files written by run.py --json")
    parser.add_argument("-o", "--output", type=Path, required=True, help="picture to write: .svg, .png or .pdf")
    options = parser.parse_args(arguments)
    try:
        contents = [json.loads(path.read_text(encoding="utf-8")) for path in options.results]
    except (OSError, ValueError) as error:
        parser.error(str(error))
    try:
        figure = drawn([result for content in contents for result in content["results"]])
    except ValueError as error:
        parser.error(str(error))
    save(figure, options.output)
    return 0


def drawn(results: list[dict[str, Any]]) -> Figure:
    """Returns the picture of some results.

    Raises:
        ValueError: if nothing in them was timed.
    """
    from matplotlib.figure import Figure

    timed = [(result, entries) for result in results if (entries := _timed(result))]
    if not timed:
        raise ValueError("expected at least one contender with a time; there is none in these results")
    heights = [_HEAD + _BAR * len(entries) for _, entries in timed]
    figure = Figure(figsize=(_WIDTH, sum(heights)), layout="constrained")
    panels = figure.subplots(len(timed), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, (result, entries) in zip(panels, timed, strict=True):
        _panel(panel, result, entries)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Writes the picture; the same results give the same file."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "featdiv", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _timed(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry for entry in result.get("contenders", []) if entry["seconds"]]


def _panel(panel: Any, result: dict[str, Any], entries: list[dict[str, Any]]) -> None:
    medians = [statistics.median(entry["seconds"]) for entry in entries]
    spread = [
        [middle - min(entry["seconds"]) for entry, middle in zip(entries, medians, strict=True)],
        [max(entry["seconds"]) - middle for entry, middle in zip(entries, medians, strict=True)],
    ]
    colors = [_OWN if entry["name"].startswith("featdiv") else _PEER for entry in entries]
    places = range(len(entries))
    panel.barh(places, medians, xerr=spread, color=colors, height=0.7, error_kw={"elinewidth": 0.8})
    names = [entry["name"] + ("" if entry["complete"] else f" ({entry['n']:,} rows)") for entry in entries]
    panel.set_yticks(places, names, fontsize=8)
    panel.invert_yaxis()
    for place, middle, above in zip(places, medians, spread[1], strict=True):
        text = f"{middle:.3g} s"
        panel.annotate(
            text, (middle + above, place), fontsize=7, va="center", xytext=(4, 0), textcoords="offset points"
        )
    limit = (result.get("roofline") or {}).get("seconds")
    if limit is not None:
        panel.axvline(limit, color=_ROOF, linewidth=1.0, linestyle="--")
    roof = "" if limit is None else f"; dashed: roofline, {limit:.2g} s"
    quick = " (quick run: the times mean nothing)" if result["quick"] else ""
    title = textwrap.fill(f"{result['op']}, {result['name']}{quick}: {result['summary']}{roof}", _TITLE)
    panel.set_title(title, fontsize=8, loc="left")
    panel.set_xlabel("seconds", fontsize=8)
    panel.tick_params(axis="x", labelsize=7)
    panel.margins(x=0.12)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


if __name__ == "__main__":
    sys.exit(main())
