"""Components, explained variance and condition number."""

from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv import InputError, NotEnoughData
from featdiv.metrics.spectral import components_for, condition_number, explained_variance

VALUES = [8.0, 4.0, 2.0, 1.0, 1.0]


@pytest.mark.parametrize(("q", "k"), [(0.01, 1), (0.5, 1), (0.51, 2), (0.75, 2), (0.875, 3), (0.9, 4), (1.0, 5)])
def test_components_by_hand(q, k, eigenvalues):
    assert components_for.core(eigenvalues(VALUES), q) == k


def test_a_share_met_exactly_counts_in_spite_of_rounding(eigenvalues):
    assert components_for.core(eigenvalues(np.full(10, 0.1)), 0.8) == 8
    assert components_for.core(eigenvalues(np.full(10, 0.1)), 0.3) == 3


@pytest.mark.parametrize("q", [0.0, -0.5, 1.0001, float("nan")])
def test_shares_out_of_range_are_refused(q, rows):
    with pytest.raises(InputError, match=r"components_for: q: expected a share in \(0, 1\]; got"):
        featdiv.components_for(rows, q)


def test_components_of_leading_eigenvalues(eigenvalues):
    leading = eigenvalues([8.0, 4.0], d=5, total=16.0)
    assert components_for.core(leading, 0.75) == 2
    with pytest.raises(NotEnoughData, match=r"2 leading eigenvalues .* hold 0.75 of the variance, less than q = 0.8"):
        components_for.core(leading, 0.8)


def test_components_are_complementary_to_explained_variance(rows):
    k = int(float(featdiv.components_for(rows, 0.9)))
    assert float(featdiv.explained_variance(rows, k)) >= 0.9
    assert float(featdiv.explained_variance(rows, k - 1)) < 0.9


def test_explained_variance_by_hand(eigenvalues):
    eig = eigenvalues(VALUES)
    assert [explained_variance.core(eig, k) for k in range(1, 6)] == [0.5, 0.75, 0.875, 0.9375, 1.0]
    assert explained_variance.core(eigenvalues([8.0, 4.0], d=5, total=16.0), 2) == 0.75


def test_explained_variance_matches_scikit_learn(rows):
    from sklearn.decomposition import PCA

    score = featdiv.explained_variance(rows, 10, precision="float64")
    expected = PCA(svd_solver="full").fit(rows).explained_variance_ratio_[:10]
    np.testing.assert_allclose(score.details["ratios"], expected, rtol=1e-9)
    assert score.value == pytest.approx(expected.sum(), rel=1e-9)


def test_explained_variance_out_of_range(eigenvalues, rows):
    with pytest.raises(InputError, match=r"explained_variance: k: expected 1 to min\(n, d\) = 45; got 46"):
        featdiv.explained_variance(rows, 46)
    with pytest.raises(InputError, match="got 0"):
        featdiv.explained_variance(rows, 0)
    with pytest.raises(NotEnoughData, match="k = 3, and only the leading 2"):
        explained_variance.core(eigenvalues([8.0, 4.0], d=5, total=16.0), 3)


def test_condition_number_is_that_of_numpy(rows):
    expected = np.linalg.cond(rows - rows.mean(axis=0))
    assert float(featdiv.condition_number(rows, precision="float64")) == pytest.approx(expected, rel=1e-8)


def test_condition_number_stops_at_the_floor(eigenvalues):
    eig = eigenvalues([100.0, 1.0, 1e-8, 0.0], floor=1e-3)
    assert condition_number.core(eig) == pytest.approx(10.0)


def test_condition_number_of_a_narrow_spectrum_is_read_again_in_float64():
    rng = np.random.default_rng(10)
    x = np.linalg.qr(rng.normal(size=(2000, 6)))[0] * [1.0, 1.0, 1.0, 1.0, 1.0, 1e-5]
    x -= x.mean(axis=0)
    score = featdiv.condition_number(x)
    assert score.provenance.precision == "float64"
    assert score.provenance.passes == 2
    assert "read again in float64" in score.provenance.notes[0]
    assert score.value == pytest.approx(np.linalg.cond(x), rel=1e-3)
    assert score.details == {"resolved": 6, "below_floor": 0}


def test_condition_number_of_directions_without_variance_is_of_the_others():
    x = np.random.default_rng(11).normal(size=(500, 4)) @ np.eye(4, 9)
    score = featdiv.condition_number(x)
    assert score.details == {"resolved": 4, "below_floor": 5}
    assert score.value == pytest.approx(np.linalg.cond(x[:, :4] - x[:, :4].mean(axis=0)), rel=1e-5)


def test_condition_number_says_when_the_jackknife_fails(eigenvalues):
    check = condition_number.jackknife_problem
    assert check(eigenvalues([4.0, 2.0, 1.0])) is None
    assert "two smallest" in check(eigenvalues([4.0, 1.001, 1.0]))
    assert "two largest" in check(eigenvalues([4.001, 4.0, 1.0]))
    assert "noise floor" in check(eigenvalues([4.0, 1.0, 0.0]))


def test_condition_number_needs_every_eigenvalue(eigenvalues):
    with pytest.raises(NotEnoughData, match="needs all 5 eigenvalues"):
        condition_number.core(eigenvalues([8.0, 4.0], d=5, total=16.0))
