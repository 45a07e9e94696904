"""The inputs: sentence embeddings, or rows made from a seed where these are not there."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from harness import machine
from harness.registry import Data, UnavailableError
from suites.spectrum import data as inputs

_ROWS, _FEATURES = 58_691, 384
_FEWER = 20_000
_GPU_ROWS, _GPU_FEATURES = 200_000, 768


def minilm(folder: Path, quick: bool) -> Data:
    """58,691 x 384 as float32, so that nobody pays for a conversion."""
    try:
        job = inputs.minilm(folder, quick)
    except UnavailableError:
        return inputs.labelled(folder, classes=20, rows_per_class=(4000 if quick else _ROWS) // 20, d=_FEATURES)
    np.save(folder / "rows.npy", np.load(job.path).astype(np.float32))
    return dataclasses.replace(job, path=str(folder / "rows.npy"), dtype="float32")


def minilm_20k(folder: Path, quick: bool) -> Data:
    """The first 20,000 of them."""
    job = minilm(folder, quick)
    return dataclasses.replace(job, n=min(job.n, _FEWER))


def rows_for_gpu(folder: Path, quick: bool) -> Data:
    """200,000 x 768, where there is a GPU."""
    if not machine.has_gpu():
        raise UnavailableError("there is no CUDA device")
    classes = 4 if quick else 200
    return inputs.labelled(folder, classes=classes, rows_per_class=_GPU_ROWS // 200, d=_GPU_FEATURES)


def primer(folder: Path) -> Data:
    """A small input that goes the same way."""
    folder = folder / "primer"
    folder.mkdir()
    return inputs.labelled(folder, classes=10, rows_per_class=100, d=8)
