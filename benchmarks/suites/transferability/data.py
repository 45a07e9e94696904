"""The inputs: labelled rows made on the spot, and one real file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from harness.registry import Data, UnavailableError
from suites.spectrum import data as spectrum_data


def classes_200(folder: Path, quick: bool) -> Data:
    """50,000 x 768, 200 classes of equal size, float32."""
    return spectrum_data.labelled(folder, classes=20 if quick else 200, rows_per_class=250, d=64 if quick else 768)


def minilm(folder: Path, quick: bool) -> Data:
    """58,691 sentence embeddings of 20 classes, as float32 so that no contender pays for a conversion."""
    job = spectrum_data.minilm(folder, quick)
    known = Path(job.path).with_name("minilm-docstrings-labels.npy")
    if not known.exists():
        known = spectrum_data._SHARED / "minilm-docstrings-labels.npy"
    if not known.exists():
        raise UnavailableError("../shared/data/minilm-docstrings-labels.npy is not there")
    np.save(folder / "rows.npy", np.load(job.path).astype(np.float32))
    np.save(folder / "labels.npy", np.load(known)[: job.n])
    return dataclasses.replace(job, path=str(folder / "rows.npy"), labels=str(folder / "labels.npy"), dtype="float32")
