"""Which model to take, and how sure that is.

A ranking is a result of the kind ``"Ranking"`` whose dictionary holds, beside what every result has:

* ``models``: (m,) names. ``columns``: (s,) names of scores. ``values``, ``low``, ``high``: (m, s), null where a value
  is undefined or has no interval; ``low`` and ``high`` may be left out.
* ``criterion``: the column by which models are ranked; the page shows them sorted by it, equals in the order of
  ``models``, as the printed ranking does. ``best``: the pick.
* ``p_best``: (m,) probability that the model is the best one. ``contenders``: names of the models that cannot be told
  from the best one at 95 %. ``regret``: what the pick is expected to lose against the best, in units of the criterion.
* ``recommendation``: the verdict in words.
* ``agreement``: for each cheap score, ``{"score", "against", "tau", "low", "high"}``. ``failed``: model to the reason
  why it is missing. ``steps``: ``{"model", "step", "seconds", "cached"}`` for each step that was run.

All but the first four and ``recommendation`` may be missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from featdiv.reports import parts
from featdiv.reports.entries import Entry
from featdiv.reports.figures.bar_chart import Bar, bar_chart
from featdiv.reports.markup import Markup, tag
from featdiv.reports.numbers import MINUS, duration, is_number, shown, words
from featdiv.reports.section import Palette, Section
from featdiv.reports.sections import metric_lookup
from featdiv.reports.table import Cell, Column, number, table

KINDS = ("Ranking",)


def build(entries: Sequence[Entry], palette: Palette) -> Section | None:
    """Returns the section."""
    if not entries:
        return None
    blocks = [block for entry in entries for block in _ranking(entry.content, palette)]
    return Section(name="ranking", title="Ranking", body=parts.stacked(*blocks))


def _ranking(content: Mapping[str, Any], palette: Palette) -> list[Markup | None]:
    return [
        tag("div", parts.paragraph(content["recommendation"]), _regret(content), class_="verdict"),
        _table(content),
        _p_best(content, palette),
        _agreement(content.get("agreement") or []),
        _failed(content.get("failed") or {}),
        _steps(content.get("steps") or []),
    ]


def _regret(content: Mapping[str, Any]) -> Markup | None:
    regret, best = content.get("regret"), content.get("best")
    if not is_number(regret) or best is None:
        return None
    how = words(content.get("criterion") or "the criterion")
    return parts.paragraph(
        "Expected regret of taking ",
        tag("strong", best),
        f": {shown(100.0 * float(regret or 0.0), 2)} percentage points of accuracy by {how}.",
        class_="small",
    )


def _table(content: Mapping[str, Any]) -> Markup:
    models, scores = list(content["models"]), list(content["columns"])
    p_best, contenders = content.get("p_best"), set(content.get("contenders") or ())
    criterion = content.get("criterion")
    columns = [Column(name="model")]
    if p_best:
        columns.append(
            Column(name="P(best)", hint="Probability that this model is the best of those ranked.", numeric=True)
        )
    columns += [Column(name=words(name), hint=metric_lookup.hint(name), numeric=True) for name in scores]
    place = scores.index(criterion) if criterion in scores else None
    rows = []
    for i in _order(content):
        model = models[i]
        alike = "cannot be told from the best" if model in contenders else ""
        line: list[Cell | str] = [Cell(content=model, note="best" if model == content.get("best") else alike)]
        if p_best:
            line.append(Cell(content=f"{p_best[i]:.2f}", key=p_best[i], strong=model == content.get("best")))
        for j in range(len(scores)):
            low, high = (_at(content.get(name), i, j) for name in ("low", "high"))
            line.append(
                number(
                    _number(content["values"][i][j]),
                    low=low,
                    high=high,
                    strong=j == place and model == content.get("best"),
                )
            )
        rows.append(line)
    caption = "Models by their scores, with 95 % intervals where there are any; a heading sorts the table."
    if criterion:
        caption += f" Sorted by {words(criterion)}."
    return table(caption, columns, rows)


def _order(content: Mapping[str, Any]) -> list[int]:
    """Returns the places of the models by the criterion, the best first; equals in the order of the ranking."""
    columns, criterion = list(content["columns"]), content.get("criterion")
    if criterion not in columns:
        return list(range(len(content["models"])))
    cells = [_number(row[columns.index(criterion)]) for row in content["values"]]
    values = [-math.inf if cell is None else cell for cell in cells]
    return sorted(range(len(values)), key=values.__getitem__, reverse=True)


def _at(matrix: Any, i: int, j: int) -> float | None:
    return None if matrix is None else _number(matrix[i][j])


def _number(value: Any) -> float | None:
    return float(value) if is_number(value) else None


def _p_best(content: Mapping[str, Any], palette: Palette) -> Markup | None:
    p_best = content.get("p_best")
    if not p_best:
        return None
    models = [(content["models"][i], p_best[i]) for i in _order(content)]
    bars = [Bar(name=model, style=palette.style(model), value=_number(value)) for model, value in models]
    contenders = list(content.get("contenders") or ())
    caption = "Probability that each model is the best one."
    if len(contenders) > 1:
        caption += f" At 95 %, {parts.sentence(contenders)} cannot be told apart."
    chart = bar_chart(bars, title="Probability of being the best", number=_hundredths)
    return parts.figure(chart, caption=caption)


def _agreement(lines: Sequence[Mapping[str, Any]]) -> Markup | None:
    if not lines:
        return None
    columns = [
        Column(name="score"),
        Column(name="against"),
        Column(name="weighted τ", hint="Weighted Kendall rank correlation: 1 is the same order.", numeric=True),
    ]
    rows: list[list[Cell | str]] = [
        [words(line["score"]), words(str(line.get("against") or "")), _correlation(line)] for line in lines
    ]
    return table("How well each cheap score agrees with the costly one on the order of the models.", columns, rows)


def _correlation(line: Mapping[str, Any]) -> Cell:
    tau, low, high = (_number(line.get(name)) for name in ("tau", "low", "high"))
    if tau is None:
        return Cell(content="–")
    note = "" if low is None or high is None else f"{_hundredths(low)} – {_hundredths(high)}"
    return Cell(content=_hundredths(tau), key=tau, note=note)


def _hundredths(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}".replace("-", MINUS)


def _failed(failed: Mapping[str, str]) -> Markup | None:
    if not failed:
        return None
    items = [parts.stacked(tag("strong", model), ": ", reason) for model, reason in failed.items()]
    return tag("div", parts.paragraph("Not ranked, because they failed:"), parts.listed(items), class_="failed")


def _steps(steps: Sequence[Mapping[str, Any]]) -> Markup | None:
    if not steps:
        return None
    columns = [Column(name="model"), Column(name="step"), Column(name="time", numeric=True), Column(name="from")]
    rows: list[list[Cell | str]] = []
    total = 0.0
    for step in steps:
        seconds = _number(step.get("seconds"))
        total += seconds or 0.0
        rows.append(
            [
                str(step.get("model") or ""),
                str(step.get("step") or ""),
                Cell(content="–") if seconds is None else Cell(content=duration(seconds), key=seconds),
                "cache" if step.get("cached") else "this run",
            ]
        )
    return parts.folded(
        f"How long it took: {duration(total)} in {len(rows)} steps", table("Time of each step.", columns, rows)
    )
