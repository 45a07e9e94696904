"""How alike the models are: heat maps, ordered so that models that are alike stand together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.reports import parts
from featdiv.reports.entries import Entry
from featdiv.reports.figures.heat_map import heat_map
from featdiv.reports.markup import Markup
from featdiv.reports.numbers import words
from featdiv.reports.section import Palette, Section
from featdiv.reports.sections import metric_lookup
from featdiv.reports.table import Cell, Column, number, table

KINDS = ("Comparison",)


def build(entries: Sequence[Entry], palette: Palette) -> Section | None:
    """Returns the section."""
    if not entries:
        return None
    body = parts.stacked(*(block for entry in entries for block in _comparison(entry)))
    return Section(name="similarity", title="How alike the models are", body=body)


def leaf_order(values: npt.NDArray[np.float64], *, distance: bool) -> list[int]:
    """Returns the order in which a tree of average linkage has its leaves, or the order given where there is none."""
    m = len(values)
    if m < 3 or not np.isfinite(values).all() or not np.allclose(values, values.T):
        return list(range(m))
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    apart = values if distance else np.maximum(0.0, 1.0 - values)
    apart = (apart + apart.T) / 2.0
    np.fill_diagonal(apart, 0.0)
    flat = squareform(apart, checks=False)
    tree = optimal_leaf_ordering(linkage(flat, method="average"), flat)
    return [int(leaf) for leaf in leaves_list(tree)]


def _comparison(entry: Entry) -> list[Markup]:
    content = entry.content
    rows, columns = list(content["rows"]), list(content["columns"])
    values = np.array(content["values"], dtype=np.float64).reshape(len(rows), len(columns))
    distance = bool(content.get("distance"))
    down, across = list(range(len(rows))), list(range(len(columns)))
    if rows == columns:
        down = across = leaf_order(values.copy(), distance=distance)
    finite = values[np.isfinite(values)]
    low = min(0.0, float(finite.min())) if finite.size else 0.0
    high = max(float(finite.max()) if distance and finite.size else 1.0, low + 1e-12)
    shown = [[_value(values[i, j]) for j in across] for i in down]
    definition = entry.provenance.get("definition")
    metric = words(content["metric"]) + (f" ({definition})" if definition else "")
    n = entry.provenance.get("n")
    caption = [f"{'Distance' if distance else 'Similarity'} by {metric}" + (f" over {n:,} rows" if n else "")]
    if direction := metric_lookup.direction(content["metric"]):
        caption.append(f"; {direction}")
    if rows == columns and down != list(range(len(rows))):
        caption.append(
            ". Models stand in the order of their tree of average linkage, so that those alike are neighbours"
        )
    drawing = heat_map(shown, [rows[i] for i in down], [columns[j] for j in across], title=metric, low=low, high=high)
    return [
        parts.figure(drawing, caption="".join(caption) + "."),
        parts.folded("The pairs in numbers", _pairs(content, rows, columns, values, metric)),
    ]


def _value(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _pairs(content: Any, rows: list[str], columns: list[str], values: npt.NDArray[np.float64], metric: str) -> Markup:
    biased, low, high = (content.get(name) for name in ("biased", "low", "high"))
    heads = [Column(name="model"), Column(name="other"), Column(name=metric, numeric=True)]
    if biased is not None:
        heads.append(Column(name="biased", hint="The biased form, which most published figures show.", numeric=True))
    lines: list[list[Cell | str]] = []
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            if rows == columns and (i >= j if content.get("symmetric", True) else i == j):
                continue
            ends = (None, None) if low is None or high is None else (low[i][j], high[i][j])
            line: list[Cell | str] = [row, column, number(_value(values[i, j]), low=ends[0], high=ends[1])]
            if biased is not None:
                line.append(number(biased[i][j]))
            lines.append(line)
    return table(f"{metric} of each pair.", heads, lines)
