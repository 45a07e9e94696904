"""The true eigenvalues: those that the matrices were made with."""

from __future__ import annotations

import numpy as np

from harness.registry import Answer, Data
from suites.eigvals import data as inputs


def eigenvalues(data: Data) -> Answer:
    """Returns the (b, d) eigenvalues."""
    return {"eigenvalues": inputs.eigenvalues(data.n, data.d)}


def errors(answer: Answer, truth: Answer) -> dict[str, float]:
    """Returns the largest error of an eigenvalue, over the largest eigenvalue of its matrix."""
    wanted = truth["eigenvalues"]
    return {"eigenvalues": float((np.abs(answer["eigenvalues"] - wanted) / wanted[:, -1:]).max())}
