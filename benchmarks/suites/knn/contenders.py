"""Who competes: featdiv, FAISS bare of everything, and scikit-learn.

scikit-learn and FAISS get rows of length one, made before the clock starts; featdiv normalises on its own time.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.registry import Answer, Contender, Data
from suites.knn import data as inputs
from suites.knn.reference import KS, TEMPERATURE, VOTES, true_values

NEIGHBOURS, FAISS = "featdiv.Neighbours.of", "faiss.knn"
ALL = "featdiv.knn_probe, 14 cells"
ONE, ONE_WIDE = "featdiv.knn_probe, k = 20", "featdiv.knn_probe, k = 200"
SKLEARN_ALL, SKLEARN_ONE = "sklearn KNeighborsClassifier, 14 cells", "sklearn KNeighborsClassifier, k = 20"
SKLEARN_QUERIES = 1000
"""scikit-learn searches again for every cell: with all 11,738 queries its 14 cells take four minutes, each time."""

_K = 20
_CELLS = [(k, vote) for k in KS for vote in VOTES]
_CELL = [_CELLS.index((_K, "exp"))]


def _unit(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _load_unit(data: Data, *, most: int | None = None) -> Any:
    gallery, labels, queries, truth = inputs.split(data, most)
    return _unit(gallery), labels, _unit(queries), truth


def _neighbours(job: Any, *, k: int) -> Any:
    from featdiv.stats.neighbours import Neighbours

    gallery, _, queries, _ = job
    found = Neighbours.of(gallery, queries, k=k)
    return found.similarities, found.indices, [f"by {found.backend}"]


def _faiss(job: Any, *, k: int) -> Any:
    import faiss

    gallery, _, queries, _ = job
    return (*faiss.knn(queries, gallery, k, faiss.METRIC_INNER_PRODUCT), [])


def _of_table(data: Data, found: Any) -> Answer:
    values, indices, notes = found
    return {"values": values, "true_values": true_values(data, indices), "notes": notes}


def _probe(job: Any, *, k: tuple[int, ...], vote: tuple[str, ...]) -> Any:
    import featdiv

    gallery, labels, queries, truth = job
    return featdiv.knn_probe(gallery, labels, test=queries, test_labels=truth, k=k, vote=vote, temperature=TEMPERATURE)


def _of_probe(data: Data, probe: Any) -> Answer:
    found = {(cell.k, cell.vote): cell.top1 for cell in probe.cells}
    cells = [place for place, cell in enumerate(_CELLS) if cell in found]
    return {"accuracies": np.array([found[_CELLS[place]] for place in cells]), "cells": cells}


def _exp_weights(distances: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Weights of the vote, from Euclidean distances of rows of length one."""
    return np.exp((1.0 - 0.5 * np.square(distances) - 1.0) / TEMPERATURE)


def _sklearn(job: Any, *, cells: list[int]) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    gallery, labels, queries, truth = job
    found = []
    for k, vote in (_CELLS[place] for place in cells):
        weights = _exp_weights if vote == "exp" else "uniform"
        model = KNeighborsClassifier(k, weights=weights, algorithm="brute").fit(gallery, labels)
        found.append(float((model.predict(queries) == truth).mean()))
    return np.array(found), cells


def _of_sklearn(data: Data, found: Any) -> Answer:
    accuracies, cells = found
    # Equal votes of one each tie often, and scikit-learn decides them by label, not by nearness.
    judged = [place for place, cell in enumerate(cells) if _CELLS[cell][1] == "exp"]
    return {"accuracies": accuracies[judged], "cells": [cells[place] for place in judged]}


def search(k: int) -> tuple[Contender, ...]:
    """Returns who searches for k neighbours."""
    return (
        Contender(
            name=NEIGHBOURS,
            run=functools.partial(_neighbours, k=k),
            answer=_of_table,
            accuracy="float32",
            load=inputs.split,
            streams=True,
            peer=False,
        ),
        Contender(
            name=FAISS,
            run=functools.partial(_faiss, k=k),
            answer=_of_table,
            accuracy="plain float32",
            load=_load_unit,
            requires=("faiss",),
            streams=True,
        ),
    )


def _own(name: str, *, most: int | None = None, **arguments: Any) -> Contender:
    return Contender(
        name=name,
        run=functools.partial(_probe, **arguments),
        answer=_of_probe,
        accuracy="votes",
        load=functools.partial(inputs.split, most=most),
        streams=True,
        peer=False,
    )


def _peer(name: str, cells: list[int]) -> Contender:
    return Contender(
        name=name,
        run=functools.partial(_sklearn, cells=cells),
        answer=_of_sklearn,
        accuracy="votes",
        load=functools.partial(_load_unit, most=SKLEARN_QUERIES),
        requires=("sklearn",),
        streams=True,
    )


PROBE = (
    _own(ALL, k=KS, vote=VOTES),
    _own(ONE, k=(_K,), vote=("exp",)),
    _own(ONE_WIDE, k=KS[-1:], vote=("exp",)),
)
AGAINST_SKLEARN = (
    _own(ALL, most=SKLEARN_QUERIES, k=KS, vote=VOTES),
    _own(ONE, most=SKLEARN_QUERIES, k=(_K,), vote=("exp",)),
    _peer(SKLEARN_ONE, _CELL),
    _peer(SKLEARN_ALL, list(range(len(_CELLS)))),
)
