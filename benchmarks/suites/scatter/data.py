"""The inputs: float32 rows of a slowly decaying spectrum; every contender makes its own type of them."""

from __future__ import annotations

from pathlib import Path

from harness import machine
from harness.registry import Data, UnavailableError
from suites.spectrum import data as inputs


def rows(folder: Path, quick: bool) -> Data:
    """200,000 x 768."""
    return inputs.npy_200k(folder, quick)


def rows_for_gpu(folder: Path, quick: bool) -> Data:
    """1,000,000 x 768, where there is a GPU."""
    if not machine.has_gpu():
        raise UnavailableError("there is no CUDA device")
    return inputs.npy_1m(folder, quick)


def primer(folder: Path) -> Data:
    """A small input that goes the same way."""
    return inputs.primer(folder)
