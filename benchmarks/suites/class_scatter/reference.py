"""The true moments of every twentieth class, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from harness.registry import Answer, Data
from suites import resident

_EVERY = 20


def judged(means: npt.NDArray[Any], scatters: npt.NDArray[Any]) -> Answer:
    """Returns what is judged: the scatters of all classes would be half a gigabyte."""
    return {"means": np.asarray(means, np.float64)[::_EVERY], "scatters": np.asarray(scatters, np.float64)[::_EVERY]}


def of_classes(data: Data) -> Answer:
    """Returns means and scatters, class after class."""
    rows, labels = resident.labelled(data)
    means, scatters = [], []
    for label in range(0, int(labels.max()) + 1, _EVERY):
        wide = rows[labels == label].astype(np.float64)
        means.append(wide.mean(axis=0))
        scatters.append((wide - means[-1]).T @ (wide - means[-1]))
    return {"means": np.stack(means), "scatters": np.stack(scatters)}


def errors(answer: Answer, truth: Answer) -> dict[str, float]:
    """Returns the errors of the worst class."""
    wanted = truth["scatters"]
    scatter = np.linalg.norm(answer["scatters"] - wanted, axis=(1, 2)) / np.linalg.norm(wanted, axis=(1, 2))
    mean = np.abs(answer["means"] - truth["means"]).max() / np.abs(truth["means"]).max()
    return {"scatter": float(scatter.max()), "mean": float(mean)}
