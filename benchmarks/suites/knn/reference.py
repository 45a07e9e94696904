"""The true neighbours and votes in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from harness.registry import Answer, Data
from suites.knn import data as inputs

KS = (1, 5, 10, 20, 50, 100, 200)
VOTES = ("exp", "uniform")
TEMPERATURE = 0.07
_BLOCK_ROWS = 512
_TELLS = 1e-6


def _unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    wide = rows.astype(np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def table(data: Data, k: int, most: int | None = None) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Returns the (m, k) largest cosines of the queries, at most so many, and whose they are."""
    gallery, _, queries, _ = inputs.split(data, most)
    left, right = _unit(queries), _unit(gallery)
    values, indices = np.empty((len(left), k)), np.empty((len(left), k), dtype=np.int64)
    for start in range(0, len(left), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        cosines = left[block] @ right.T
        # The k largest first, then their order: sorting all rows of the gallery would take most of the time.
        largest = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(cosines, largest, axis=1), axis=1, kind="stable")
        indices[block] = np.take_along_axis(largest, order, axis=1)
        values[block] = np.take_along_axis(cosines, indices[block], axis=1)
    return values, indices


def nearest(k: int) -> Callable[[Data], Answer]:
    """Returns a function that finds the k largest cosines of every query."""

    def found(data: Data) -> Answer:
        return {"values": table(data, k)[0]}

    return found


def true_values(data: Data, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Returns the float64 cosines of queries with the rows that were found for them."""
    gallery, _, queries, _ = inputs.split(data)
    left, right = _unit(queries), _unit(gallery)
    return np.stack([right[found] @ query for found, query in zip(indices, left, strict=True)])


def accuracies(data: Data, most: int | None = None) -> Answer:
    """Returns the accuracy of every cell, k after k, exp before uniform, over the queries, at most so many."""
    labels, truth = inputs.split(data, most)[1::2]
    values, indices = table(data, KS[-1], most)
    cells = [accuracy(values, labels[indices], truth, k, vote) for k in KS for vote in VOTES]
    return {"accuracies": np.array(cells)}


def accuracy(
    values: npt.NDArray[np.float64],
    neighbours: npt.NDArray[np.int64],
    truth: npt.NDArray[np.int64],
    k: int,
    vote: str,
) -> float:
    """Returns the share of queries whose label wins the vote; among equal votes, the larger sum of cosines wins."""
    weights = np.exp(values[:, :k] / TEMPERATURE) if vote == "exp" else np.ones((len(values), k))
    classes = int(max(neighbours.max(), truth.max())) + 1
    rows = np.arange(len(values))[:, None]
    votes, sums = np.zeros((len(values), classes)), np.full((len(values), classes), -np.inf)
    np.add.at(votes, (rows, neighbours[:, :k]), weights)
    sums[rows, neighbours[:, :k]] = 0.0
    np.add.at(sums, (rows, neighbours[:, :k]), values[:, :k])
    leading = votes >= votes.max(axis=1, keepdims=True) * (1.0 - 1e-12)
    return float((np.where(leading, sums, -np.inf).argmax(axis=1) == truth).mean())


def errors(answer: Answer, truth: Answer) -> dict[str, float]:
    """Returns the errors of cosines, of neighbours and of accuracies, as far as they are answered."""
    if "accuracies" in answer:
        wanted = truth["accuracies"][answer.get("cells", slice(None))]
        return {"accuracy": float(np.abs(answer["accuracies"] - wanted).max())}
    wanted = truth["values"]
    missed = answer["true_values"] < wanted[:, -1:] - _TELLS
    return {"value": float(np.abs(answer["values"] - wanted).max()), "missed": float(missed.mean())}
