"""The inputs: labelled sentence embeddings, of which the last fifth are the queries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.registry import Data, UnavailableError
from harness.roofline import Work
from suites import resident
from suites.spectrum import data as inputs
from suites.transferability import data as labelled_inputs

_ROWS, _FEATURES, _CLASSES = 58_691, 384, 20
_QUICK_ROWS = 4000


def minilm(folder: Path, quick: bool) -> Data:
    """58,691 x 384 with labels, as float32; made from a seed where the embeddings are not there."""
    rows = _QUICK_ROWS if quick else _ROWS
    try:
        return labelled_inputs.minilm(folder, quick)
    except UnavailableError:
        return inputs.labelled(folder, classes=_CLASSES, rows_per_class=rows // _CLASSES, d=_FEATURES)


def gallery_bytes() -> float:
    """Returns the bytes of the gallery in float32."""
    return 4.0 * (_ROWS - _ROWS // 5) * _FEATURES


def primer(folder: Path) -> Data:
    """A small input that goes the same way."""
    folder = folder / "primer"
    folder.mkdir()
    return inputs.labelled(folder, classes=4, rows_per_class=300, d=8)


def queries_of(job: Data, most: int | None = None) -> int:
    """Returns how many rows are queries: a fifth, at most so many."""
    return job.n // 5 if most is None else min(job.n // 5, most)


def operations(job: Data, most: int | None = None) -> float:
    """One product of every query with every row of the gallery."""
    return 2.0 * queries_of(job, most) * (job.n - job.n // 5) * job.d


def work(job: Data, most: int | None = None) -> Work:
    """The products in float32, or of 16-bit integers, worth two of bytes; and all rows once."""
    return Work(operations=operations(job, most), bytes=4.0 * job.n * job.d, integer_products=2)


def split(
    data: Data, most: int | None = None
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Returns rows and labels of the gallery, and of the queries: a fixed fifth, chosen by a seed, at most so many."""
    rows, labels = resident.labelled(data)
    order = np.random.default_rng(0).permutation(data.n)
    asked, kept = np.sort(order[: queries_of(data, most)]), np.sort(order[data.n // 5 :])
    return rows[kept], labels[kept], rows[asked], labels[asked]
