"""The inputs: one real file, and files made from seeds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.registry import Data, UnavailableError
from suites.spectrum import data as spectrum_data

MODELS, WIDTH = 8, 512
_QUICK_ROWS = 2000
_BLOCK_ROWS = 8192


def minilm(folder: Path, quick: bool) -> Data:
    """58,691 sentence embeddings in float16, with 20 classes."""
    made = spectrum_data.minilm(folder, quick)
    labels = spectrum_data._SHARED / "minilm-docstrings-labels.npy"
    if not labels.exists():
        raise UnavailableError("../shared/data/minilm-docstrings-labels.npy is not there")
    if quick:
        np.save(folder / "labels.npy", np.load(labels)[: made.n])
        labels = folder / "labels.npy"
    return dataclasses.replace(made, labels=str(labels))


def models(folder: Path, quick: bool) -> Data:
    """100,000 rows of 8 models: a common part of rank 64, mixed differently by each, and noise."""
    random = np.random.default_rng(0)
    n = _QUICK_ROWS if quick else 100_000
    mix = random.normal(size=(64, MODELS * WIDTH)).astype(np.float32) / 8.0
    file = np.lib.format.open_memmap(folder / "rows.npy", mode="w+", dtype=np.float32, shape=(n, MODELS * WIDTH))
    for start in range(0, n, _BLOCK_ROWS):
        rows = min(_BLOCK_ROWS, n - start)
        common = random.standard_normal((rows, 64), dtype=np.float32)
        file[start : start + rows] = common @ mix + random.standard_normal((rows, MODELS * WIDTH), dtype=np.float32)
    file.flush()
    return Data(path=str(folder / "rows.npy"), n=n, d=MODELS * WIDTH, dtype="float32")


def wide(folder: Path, quick: bool) -> Data:
    """1,000,000 x 384."""
    return spectrum_data._power_law_file(folder, _QUICK_ROWS if quick else 1_000_000, 384)


def turns_50k(folder: Path, quick: bool) -> Data:
    """50,000 x 384; see `_turns`."""
    return _turns(folder, _QUICK_ROWS if quick else 50_000)


def turns_200k(folder: Path, quick: bool) -> Data:
    """200,000 x 384; see `_turns`."""
    return _turns(folder, _QUICK_ROWS if quick else 200_000)


def frequencies(n: int, d: int) -> npt.NDArray[np.int64]:
    """Returns the (d/2,) whole turns that a coordinate pair of `_turns` makes over n rows."""
    return np.random.default_rng(n).integers(1, n, size=d // 2)


def _turns(folder: Path, n: int, d: int = 384) -> Data:
    """Rows k of cos(2 pi f k/n) and sin(2 pi f k/n), shuffled: the cosine of two of them depends on k - l alone.

    So the mean over all pairs is a sum of n terms, which a benchmark of n^2 can be judged by.
    """
    order = np.random.default_rng(0).permutation(n)
    turns = frequencies(n, d)
    file = np.lib.format.open_memmap(folder / "rows.npy", mode="w+", dtype=np.float32, shape=(n, d))
    for start in range(0, n, _BLOCK_ROWS):
        angles = (2.0 * np.pi / n) * (order[start : start + _BLOCK_ROWS, None] * turns % n)
        file[start : start + _BLOCK_ROWS, : d // 2] = np.cos(angles)
        file[start : start + _BLOCK_ROWS, d // 2 :] = np.sin(angles)
    file.flush()
    return Data(path=str(folder / "rows.npy"), n=n, d=d, dtype="float32")


def primer(folder: Path) -> Data:
    """A small input that goes the same way through the code as a large one."""
    folder = folder / "primer"
    folder.mkdir()
    return spectrum_data.labelled(folder, classes=4, rows_per_class=400, d=16)
