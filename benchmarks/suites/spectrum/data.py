"""The inputs, made on the spot from seeds and deleted afterwards, except for one real file."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.registry import Data, UnavailableError

_SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
_BLOCK_ROWS = 16384
_QUICK_ROWS = 4000
_REFLECTIONS = 3


def minilm(folder: Path, quick: bool) -> Data:
    """58,691 sentence embeddings in float16."""
    path = _SHARED / "minilm-docstrings.npy"
    if not path.exists():
        raise UnavailableError("../shared/data/minilm-docstrings.npy is not there")
    rows = np.load(path, mmap_mode="r")
    if quick:
        path = folder / "minilm.npy"
        rows = rows[:_QUICK_ROWS]
        np.save(path, rows)
    return Data(path=str(path), n=rows.shape[0], d=rows.shape[1], dtype=rows.dtype.name)


def npy_200k(folder: Path, quick: bool) -> Data:
    """200,000 x 768."""
    return _power_law_file(folder, _QUICK_ROWS if quick else 200_000, 768)


def npy_1m(folder: Path, quick: bool) -> Data:
    """1,000,000 x 768: a file of 3 GB."""
    return _power_law_file(folder, 2 * _QUICK_ROWS if quick else 1_000_000, 768)


def classes_1000(folder: Path, quick: bool) -> Data:
    """1,000 classes of 200 rows each, 128 features, shuffled."""
    return labelled(folder, classes=20 if quick else 1000, rows_per_class=200, d=128)


def primer(folder: Path) -> Data:
    """A small input that goes the same way through the code as a large one."""
    folder = folder / "primer"
    folder.mkdir()
    return labelled(folder, classes=10, rows_per_class=4000, d=8)


def labelled(folder: Path, *, classes: int, rows_per_class: int, d: int, seed: int = 1) -> Data:
    """Writes float32 rows, each class with a mean and a spectrum of its own, and their labels."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(classes, dtype=np.int64), rows_per_class))
    means = random.normal(size=(classes, d)).astype(np.float32)
    slopes = random.uniform(0.3, 1.0, size=classes)
    scales = (np.arange(1, d + 1) ** -slopes[:, None]).astype(np.float32)
    rows = random.standard_normal((len(labels), d), dtype=np.float32)
    rows *= scales[labels]
    rows += means[labels]
    np.save(folder / "rows.npy", rows)
    np.save(folder / "labels.npy", labels)
    return Data(path=str(folder / "rows.npy"), n=len(rows), d=d, dtype="float32", labels=str(folder / "labels.npy"))


def power_law_rows(
    n: int, d: int, random: np.random.Generator, *, slope: float = 0.75, mixing: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Returns (n, d) float32 rows of mean zero with standard deviations i^-slope along mixed directions."""
    rows = random.standard_normal((n, d), dtype=np.float32)
    rows *= (np.arange(1, d + 1) ** -slope).astype(np.float32)
    # A few reflections make every column a mixture, for a small part of the cost of a random rotation.
    for v in mixing:
        rows -= np.outer(rows @ v, 2 * v)
    return rows


def reflections(d: int, random: np.random.Generator) -> npt.NDArray[np.float32]:
    """Returns the unit vectors of a few Householder reflections."""
    v = random.normal(size=(_REFLECTIONS, d))
    return (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32)


def _power_law_file(folder: Path, n: int, d: int, seed: int = 0) -> Data:
    needed = 4 * n * d
    if shutil.disk_usage(folder).free < 1.2 * needed:
        raise UnavailableError(f"its file of {needed / 1e9:.1f} GB does not fit into {folder} (set TMPDIR)")
    random = np.random.default_rng(seed)
    mixing = reflections(d, random)
    path = folder / "rows.npy"
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, d))
    for start in range(0, n, _BLOCK_ROWS):
        rows = min(_BLOCK_ROWS, n - start)
        file[start : start + rows] = power_law_rows(rows, d, random, mixing=mixing)
    file.flush()
    return Data(path=str(path), n=n, d=d, dtype="float32")
