from __future__ import annotations

import math

import numpy as np
import pytest

import featdiv
from featdiv import InputError, NotEnoughData
from featdiv.metrics.spectral import rankme

HARMONIC = np.arange(1.0, 1025.0) ** -1.0
"""Singular values on which the packages that compute RankMe were compared."""


def by_formula(shares, epsilon):
    p = shares + epsilon
    return math.exp(-np.sum(p * np.log(p)))


@pytest.mark.parametrize(
    ("definition", "published"),
    [("garrido2023", 182.5), ("stable-pretraining", 195.8), ("reptrix", 5.1), ("normalized", 0.75)],
)
def test_the_numbers_that_the_packages_print(definition, published, eigenvalues):
    eig = eigenvalues(HARMONIC**2, centered=definition == "reptrix")
    assert rankme.core(eig, definition) == pytest.approx(published, abs=0.05 if published > 1 else 0.005)


@pytest.mark.parametrize(
    ("epsilon", "definition", "published"),
    [(1e-7, "garrido2023", 432.6), (1e-5, "stable-pretraining", 608.7)],
)
def test_the_larger_constant_inflates_wide_features(epsilon, definition, published, eigenvalues):
    sigma = np.arange(1.0, 4097.0) ** -1.0
    eig = eigenvalues(sigma**2, centered=False)
    assert rankme.core(eig, definition) == pytest.approx(published, abs=0.05)
    assert rankme.core(eig, definition) == pytest.approx(by_formula(sigma / sigma.sum(), epsilon), rel=1e-12)


def test_definitions_from_rows(rows):
    sigma = np.linalg.svd(rows, compute_uv=False)
    lam = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2
    expected = {
        "garrido2023": by_formula(sigma / sigma.sum(), 1e-7),
        "stable-pretraining": by_formula(sigma / sigma.sum(), 1e-5),
        "reptrix": by_formula(lam / lam.sum(), 1e-7),
    }
    expected["normalized"] = math.log(expected["garrido2023"]) / math.log(45)
    for name, value in expected.items():
        assert float(featdiv.rankme(rows, definition=name, precision="float64")) == pytest.approx(value, rel=1e-9)


def test_a_large_mean_lowers_it_and_leaves_reptrix_alone(rows):
    far = rows + 50.0
    assert float(featdiv.rankme(far)) < 0.5 * float(featdiv.rankme(rows))
    reptrix = [float(featdiv.rankme(x, definition="reptrix")) for x in (rows, far)]
    assert reptrix[0] == pytest.approx(reptrix[1], rel=1e-5)


def test_the_wrong_kind_of_eigenvalues_is_refused(eigenvalues):
    with pytest.raises(InputError, match=r"rankme \(garrido2023\): .*expected uncentred ones; got centred ones"):
        rankme.core(eigenvalues([2.0, 1.0]))
    with pytest.raises(InputError, match=r"rankme \(reptrix\): .*Make them with center=True"):
        rankme.core(eigenvalues([2.0, 1.0], centered=False), "reptrix")


def test_normalized_needs_two_directions():
    with pytest.raises(NotEnoughData, match=r"rankme: 'normalized' divides by ln\(min\(n, d\)\), which is 0 for 3 x 1"):
        featdiv.rankme(np.array([[1.0], [2.0], [3.0]]), definition="normalized")
