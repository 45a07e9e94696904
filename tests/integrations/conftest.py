"""Rows with a mean, and other packages, whose import warnings are not ours."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch


@pytest.fixture(scope="session")
def load() -> Callable[[str], ModuleType]:
    """Imports an integration, or skips the test where the package that it adapts is absent."""

    def imported(name: str) -> ModuleType:
        package = name.removesuffix("_")
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed; pip install 'featdiv[{package}]' installs it")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(f"featdiv.integrations.{name}")

    return imported


@pytest.fixture
def rows() -> torch.Tensor:
    """500 x 45 float32 rows of unequal variances about a mean that is large beside them."""
    random = np.random.default_rng(51)
    x = random.normal(size=(500, 45)) * np.arange(1.0, 46.0) ** -0.6 + 3.0 * random.normal(size=45)
    return torch.from_numpy(x.astype(np.float32))


def by_svd(rows: torch.Tensor, name: str) -> float:
    """The score by its formula, from a float64 singular value decomposition of all rows at once."""
    x = rows.double().numpy()
    if name == "vendi":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    if name not in ("rankme", "vendi"):
        x = x - x.mean(axis=0)
    sigma = np.linalg.svd(x, compute_uv=False)
    lam = sigma**2
    if name == "effective_rank":
        p = sigma / sigma.sum()
        return float(np.exp(-(p[p > 0] * np.log(p[p > 0])).sum()))
    if name == "rankme":
        p = sigma / sigma.sum() + 1e-7
        return float(np.exp(-(p * np.log(p)).sum()))
    if name == "vendi":
        p = lam / lam.sum()
        return float(np.exp(-(p[p > 0] * np.log(p[p > 0])).sum()))
    if name == "alpha_req":
        i = np.arange(11, len(lam) // 2 + 1)
        return float(-np.polyfit(np.log(i), np.log(lam[10 : len(lam) // 2]), 1)[0])
    return float({"participation_ratio": lam.sum() ** 2 / (lam**2).sum(), "stable_rank": lam.sum() / lam[0]}[name])


@pytest.fixture
def truth() -> Callable[[torch.Tensor, str], float]:
    return by_svd
