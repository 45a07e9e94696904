"""Rows in memory, from which the suites of single ops start: reading a file is no part of an op."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from harness.registry import Data


def float32(data: Data) -> npt.NDArray[np.float32]:
    """Returns the rows as a float32 array."""
    return np.load(data.path, mmap_mode="r")[: data.n].astype(np.float32)


def float16(data: Data) -> npt.NDArray[np.float16]:
    """Returns the rows as a float16 array."""
    return np.load(data.path, mmap_mode="r")[: data.n].astype(np.float16)


def bfloat16(data: Data) -> Any:
    """Returns the rows as a bfloat16 tensor."""
    import torch

    return torch.from_numpy(float32(data)).bfloat16()


def on_gpu(data: Data) -> Any:
    """Returns the rows as a float32 tensor on the GPU."""
    import torch

    return torch.from_numpy(float32(data)).cuda()


def labelled(data: Data) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Returns (float32 rows, labels)."""
    assert data.labels is not None
    return float32(data), np.load(data.labels)[: data.n]


def waited(value: Any) -> Any:
    """Returns the value once a GPU has finished it."""
    import sys

    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.synchronize()
    return value


def on_host(array: Any) -> npt.NDArray[Any]:
    """Returns an array or a tensor of any device as an array."""
    return array.cpu().numpy() if hasattr(array, "cpu") else np.asarray(array)
