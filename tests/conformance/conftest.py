"""Loads the other packages, and prints the two numbers of every comparison."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

NOT_IN_THE_EXTRA = {
    "dadapy": "pip install 'numpy<2' dadapy installs it, in an environment of its own",
    "rankme": "it is on GitHub, sirbastiano/RankMe",
}
"""Packages that want what others cannot do with, or that the registries do not have, and what to do about it."""


@pytest.fixture
def load() -> Callable[[str], ModuleType]:
    """Imports a module of another package, whose warnings are not ours, or skips the test where it is absent."""

    def imported(name: str) -> ModuleType:
        package = name.partition(".")[0]
        if importlib.util.find_spec(package) is None:
            advice = NOT_IN_THE_EXTRA.get(package, "pip install 'featdiv[conformance]' installs it")
            pytest.skip(f"{package} is not installed; {advice}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)

    return imported


@pytest.fixture
def agree() -> Callable[..., None]:
    """Requires two numbers to be equal up to rounding, and prints both: ``pytest -rP tests/conformance`` lists them."""

    def compare(ours: Any, theirs: Any, *, rel: float) -> None:
        print(f"featdiv {float(ours):.12g}, the peer {float(theirs):.12g}")
        assert float(ours) == pytest.approx(float(theirs), rel=rel)

    return compare


@pytest.fixture
def disagree() -> Callable[..., None]:
    """Requires ours to be the truth and the peer's to be far from it, and prints all three."""

    def compare(ours: Any, theirs: Any, truth: float, *, rel: float, peer_off_by: float) -> None:
        print(f"featdiv {float(ours):.12g}, the peer {float(theirs):.12g}, in truth {truth:.12g}")
        assert float(ours) == pytest.approx(truth, rel=rel)
        assert abs(float(theirs) / truth - 1.0) > peer_off_by

    return compare


@pytest.fixture
def rows() -> np.ndarray:
    """400 float64 rows of 60 features: power-law variances 1/i in a random basis, off centre."""
    random = np.random.default_rng(41)
    basis, _ = np.linalg.qr(random.normal(size=(60, 60)))
    return (random.normal(size=(400, 60)) * np.arange(1.0, 61.0) ** -0.5) @ basis + 0.2 * random.normal(size=60)
