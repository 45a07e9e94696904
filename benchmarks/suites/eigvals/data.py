"""The inputs: matrices of known eigenvalues, turned by random reflections."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness import machine
from harness.registry import Data, UnavailableError

_REFLECTIONS = 8


def many(folder: Path, quick: bool) -> Data:
    """4,096 of 64 x 64."""
    return _matrices(folder, 64 if quick else 4096, 64)


def one(folder: Path, quick: bool) -> Data:
    """One of 1,024 x 1,024."""
    return _matrices(folder, 1, 128 if quick else 1024)


def many_for_gpu(folder: Path, quick: bool) -> Data:
    """4,096 of 64 x 64, where there is a GPU."""
    if not machine.has_gpu():
        raise UnavailableError("there is no CUDA device")
    return many(folder, quick)


def primer(folder: Path) -> Data:
    """A small input that goes the same way."""
    folder = folder / "primer"
    folder.mkdir()
    return _matrices(folder, 8, 4)


def eigenvalues(b: int, d: int) -> npt.NDArray[np.float64]:
    """Returns the (b, d) eigenvalues that the matrices are made with, ascending."""
    return np.sort(np.random.default_rng(0).lognormal(sigma=2.0, size=(b, d)), axis=1)


def _matrices(folder: Path, b: int, d: int) -> Data:
    values = eigenvalues(b, d)
    matrices = np.zeros((b, d, d))
    matrices[:, np.arange(d), np.arange(d)] = values
    random = np.random.default_rng(1)
    for _ in range(_REFLECTIONS):
        v = random.normal(size=(b, d))
        v /= np.linalg.norm(v, axis=1, keepdims=True)
        # H A H with H = I - 2 v v^T.
        turned = np.einsum("bij,bj->bi", matrices, v)
        inner = np.einsum("bi,bi->b", v, turned)
        w = turned - inner[:, None] * v
        matrices -= 2.0 * (v[:, :, None] * w[:, None, :] + w[:, :, None] * v[:, None, :])
    matrices = 0.5 * (matrices + matrices.transpose(0, 2, 1))
    np.save(folder / "matrices.npy", matrices)
    return Data(path=str(folder / "matrices.npy"), n=b, d=d, dtype="float64")
