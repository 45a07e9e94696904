from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from featdiv.io import Embeddings


def _all_rows(source: Embeddings, rows: int | None = None) -> np.ndarray:
    """Copies all chunks, because a chunk is valid only until the next one; checks that starts are right."""
    parts = []
    at = 0
    for chunk in source.chunks(rows):
        assert chunk.start == at
        block = chunk.rows if isinstance(chunk.rows, np.ndarray) else chunk.rows.cpu()
        assert rows is None or block.shape[0] <= rows
        parts.append(np.array(block) if isinstance(block, np.ndarray) else block.float().numpy().copy())
        at += block.shape[0]
    return np.concatenate(parts)


@pytest.fixture
def all_rows() -> Callable[..., np.ndarray]:
    return _all_rows


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(101, 7)).astype(np.float32)


class Canary:
    """Unpickling it makes a directory: a test that finds none knows that nothing was executed."""

    def __init__(self, path: Any) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


@pytest.fixture
def canary(tmp_path):
    return Canary(tmp_path / "executed")
