"""The references of the diversity suite against other code, so that the gate can be trusted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from harness.registry import Data
from suites.diversity import data as inputs
from suites.diversity import reference


@pytest.fixture
def data(tmp_path):
    random = np.random.default_rng(0)
    rows = (random.normal(size=(90, 16)) + random.normal(size=(90, 1))).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    return Data(path=str(tmp_path / "rows.npy"), n=90, d=16, dtype="float32"), rows.astype(np.float64)


@pytest.mark.parametrize("block", [7, 4096])
def test_uniformity_is_the_mean_over_pairs(data, block, monkeypatch):
    monkeypatch.setattr(reference, "_ROWS", block)
    unit = data[1] / np.linalg.norm(data[1], axis=1, keepdims=True)
    expected = np.log(np.exp(-2.0 * pdist(unit, "sqeuclidean")).mean())
    assert reference.uniformity_of_some(data[0])["score"] == pytest.approx(expected, rel=1e-12)


def test_uniformity_of_turns_is_the_mean_over_pairs(tmp_path):
    made = inputs._turns(tmp_path, 301, d=8)
    rows = np.load(made.path).astype(np.float64) / 2.0
    expected = np.log(np.exp(-2.0 * pdist(rows, "sqeuclidean")).mean())
    assert reference.uniformity_of_turns(made)["score"] == pytest.approx(expected, rel=1e-6)


def test_vendi_is_that_of_the_kernel(data):
    unit = data[1] / np.linalg.norm(data[1], axis=1, keepdims=True)
    values = np.linalg.eigvalsh(unit @ unit.T / 90)
    values = values[values > 1e-12]
    assert reference.vendi(data[0])["score"] == pytest.approx(np.exp(-(values * np.log(values)).sum()), rel=1e-9)


def test_cka_is_the_u_statistic_of_the_kernels(data):
    sides = np.split(data[1], 8, axis=1)
    n = 90

    def hsic(x, y):
        k, l = x @ x.T, y @ y.T  # noqa: E741
        np.fill_diagonal(k, 0.0)
        np.fill_diagonal(l, 0.0)
        ones = np.ones(n)
        inner = np.trace(k @ l) + (ones @ k @ ones) * (ones @ l @ ones) / ((n - 1) * (n - 2))
        return inner - 2.0 * (ones @ k @ l @ ones) / (n - 2)

    expected = hsic(sides[0], sides[3]) / np.sqrt(hsic(sides[0], sides[0]) * hsic(sides[3], sides[3]))
    assert reference.cka(data[0])["score"][0, 3] == pytest.approx(expected, rel=1e-9)
