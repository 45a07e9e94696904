"""From the dictionary of a probe to its line: accuracy against k, C, the penalty, or the number of examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from featdiv.reports.entries import Entry
from featdiv.reports.numbers import is_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """One point of a line.

    Attributes:
        x: k, C, penalty, or examples of each class.
        y: accuracy.
        low: lower end of its interval; ``y`` where there is none.
        high: upper end.
    """

    x: float
    y: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """How the results of one kind are drawn.

    Attributes:
        title: of the figure.
        x_label: of the horizontal axis.
        points: the line of a result, ascending.
        caption: what the reader should know of the line.
    """

    title: str
    x_label: str
    points: Callable[[Entry], list[Point]]
    caption: str


def best_cell(entry: Entry) -> Mapping[str, Any]:
    """Returns the cell of a kNN probe that was chosen: on the training rows where the probe did so."""
    scores = entry.content.get("train_scores") or entry.scores
    cells: Sequence[Mapping[str, Any]] = entry.content["cells"]
    names = [name for name in entry.scores if is_number(entry.scores[name])]
    place = max(range(len(cells)), key=lambda index: (scores.get(names[index]) or 0.0) if index < len(names) else 0.0)
    return cells[place]


def _point(x: Any, y: Any, interval: Any = None) -> Point | None:
    if not (is_number(x) and is_number(y)):
        return None
    ends = (interval["low"], interval["high"]) if isinstance(interval, Mapping) else (y, y)
    return Point(x=float(x), y=float(y), low=float(ends[0]), high=float(ends[1]))


def _kept(points: Sequence[Point | None]) -> list[Point]:
    return sorted((point for point in points if point is not None), key=lambda point: point.x)


def _knn(entry: Entry) -> list[Point]:
    best = best_cell(entry)
    rule = (best.get("vote"), best.get("temperature"))
    cells = [cell for cell in entry.content["cells"] if (cell.get("vote"), cell.get("temperature")) == rule]
    return _kept([_point(cell["k"], cell["top1"], cell.get("interval")) for cell in cells])


def _linear(entry: Entry) -> list[Point]:
    return _kept([_point(fitted["C"], fitted.get("selection")) for fitted in entry.content["path"]])


def _ridge(entry: Entry) -> list[Point]:
    accuracies = entry.content.get("val") or entry.content.get("loo") or []
    return _kept([_point(x, y) for x, y in zip(entry.content["lambdas"], accuracies, strict=False)])


def _fewshot(entry: Entry) -> list[Point]:
    intervals = entry.content.get("intervals") or {}
    names = {shots: f"{shots}_shot" for shots in entry.content["shots"]}
    return _kept([_point(shots, entry.scores.get(name), intervals.get(name)) for shots, name in names.items()])


CURVES: Mapping[str, Curve] = {
    "KnnProbe": Curve(
        title="k-nearest-neighbour probe",
        x_label="k, neighbours that vote",
        points=_knn,
        caption="Top-1 accuracy of the vote of k neighbours, with the weighting of each model's best cell.",
    ),
    "LinearProbe": Curve(
        title="Linear probe",
        x_label="C, inverse strength of the penalty",
        points=_linear,
        caption="Accuracy of logistic regression on the held-out rows that C is chosen on.",
    ),
    "RidgeProbe": Curve(
        title="Ridge probe",
        x_label="λ, strength of the penalty",
        points=_ridge,
        caption="Accuracy of ridge regression on validation rows, or on each row left out, against the penalty.",
    ),
    "FewshotProbe": Curve(
        title="Few-shot probe",
        x_label="examples of each class",
        points=_fewshot,
        caption="Mean accuracy of episodes with a few examples of each class.",
    ),
}
"""Kind of a result to how it is drawn, in the order of the page."""
