"""The true products in float64, by NumPy on the rows as each type holds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from harness.registry import Answer, Data
from suites import resident

_BLOCK_ROWS = 8192


def of_float32(data: Data) -> Answer:
    """Returns the product of the rows in float32."""
    return _product(resident.float32(data), lambda block: block.astype(np.float64))


def of_float16(data: Data) -> Answer:
    """Returns the product of the rows in float16."""
    return _product(resident.float16(data), lambda block: block.astype(np.float64))


def of_bfloat16(data: Data) -> Answer:
    """Returns the product of the rows in bfloat16."""
    return _product(resident.bfloat16(data), lambda block: block.double().numpy())


def _product(rows: Any, widen: Callable[[Any], Any]) -> Answer:
    gram = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = widen(rows[start : start + _BLOCK_ROWS])
        gram += block.T @ block
    return {"gram": gram}


def errors(answer: Answer, truth: Answer) -> dict[str, float]:
    """Returns the error of the product in Frobenius norm, and entrywise over the roots of the diagonal."""
    wanted = truth["gram"]
    difference = np.asarray(answer["gram"], dtype=np.float64) - wanted
    scale = np.sqrt(np.outer(wanted.diagonal(), wanted.diagonal()))
    scale[scale == 0.0] = 1.0
    return {
        "frobenius": float(np.linalg.norm(difference) / np.linalg.norm(wanted)),
        "entrywise": float((np.abs(difference) / scale).max()),
    }
