"""The two sets of features, and their true sums in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.registry import Answer, Data
from suites import resident

NAMES = ("gram", "weighted", "other_weighted", "fourth")
_BLOCK_ROWS = 8192


def halves(data: Data) -> tuple[Any, Any]:
    """Returns the first and the second half of the features, each in memory of its own."""
    rows = resident.float32(data)
    left = data.d // 2
    return np.ascontiguousarray(rows[:, :left]), np.ascontiguousarray(rows[:, left:])


def halves_on_gpu(data: Data) -> tuple[Any, Any]:
    """Returns the two sets of features as tensors on the GPU."""
    import torch

    left, right = (torch.from_numpy(half).cuda() for half in halves(data))
    return left, right


def of_halves(data: Data) -> Answer:
    """Returns the true sums, and the sizes of the columns that errors are measured by."""
    x, y = halves(data)
    total: dict[str, Any] = {}
    for start in range(0, data.n, _BLOCK_ROWS):
        z, w = (side[start : start + _BLOCK_ROWS].astype(np.float64) for side in (x, y))
        k, other_k = (z * z).sum(axis=1), (w * w).sum(axis=1)
        part = {
            "gram": z.T @ w,
            "weighted": other_k @ z,
            "other_weighted": k @ w,
            "fourth": k @ other_k,
            "squares": (z * z).sum(axis=0),
            "other_squares": (w * w).sum(axis=0),
        }
        total = {name: total.get(name, 0.0) + value for name, value in part.items()}
    return total


def errors(answer: Answer, truth: Answer) -> dict[str, float]:
    """Returns the errors of the product over sqrt(sum_i z_i^2 sum_j w_j^2), and of the sums."""
    difference = np.abs(answer["gram"] - truth["gram"])
    scale = np.sqrt(np.outer(truth["squares"], truth["other_squares"]))
    weighted = [np.abs(answer[name] - truth[name]).max() / np.abs(truth[name]).max() for name in NAMES[1:]]
    return {
        "frobenius": float(np.linalg.norm(difference) / np.sqrt(truth["squares"].sum() * truth["other_squares"].sum())),
        "entrywise": float((difference / np.where(scale > 0.0, scale, 1.0)).max()),
        "weighted": float(max(weighted)),
    }
