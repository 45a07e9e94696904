from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics.pairwise import rbf_kernel

import featdiv
from featdiv import BudgetExceeded, InputError, Moments
from featdiv.metrics.spectral import vendi

ORDERS = (0.1, 0.5, 0.999999, 1.0, 1.5, 2.0, 10.0, math.inf)


def by_kernel(kernel, q):
    """The published formula on the eigenvalues of the n x n kernel."""
    p = np.linalg.eigvalsh(kernel / len(kernel))
    p = p[p > 1e-13]
    if q == 1.0:
        return math.exp(-np.sum(p * np.log(p)))
    if math.isinf(q):
        return 1.0 / p.max()
    return np.sum(p**q) ** (1.0 / (1.0 - q))


@pytest.mark.parametrize("q", ORDERS)
@pytest.mark.parametrize("shape", [(120, 10), (12, 40)])
def test_the_small_matrix_has_the_eigenvalues_of_the_kernel(q, shape, moments_of):
    x = np.random.default_rng(18).normal(size=shape) + 0.3
    u = x / np.linalg.norm(x, axis=1, keepdims=True)
    expected = by_kernel(u @ u.T, q)
    assert float(featdiv.vendi(moments_of(x, "l2"), q=q)) == pytest.approx(expected, rel=1e-6)
    assert float(featdiv.vendi(x, q=q)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("q", ORDERS)
def test_repeated_orthonormal_rows_count_once(q):
    x = np.repeat(np.eye(6, 9), 50, axis=0) * np.arange(1.0, 301.0)[:, None]
    assert float(featdiv.vendi(x, q=q)) == pytest.approx(6.0, rel=1e-6)


def test_lower_orders_count_rare_rows_more():
    x = np.vstack([np.tile([1.0, 0.0], (99, 1)), [[0.0, 1.0]]])
    p = np.array([0.99, 0.01])
    values = [float(featdiv.vendi(x, q=q)) for q in (0.1, 0.5, 2.0)]
    np.testing.assert_allclose(values, [np.sum(p**q) ** (1 / (1 - q)) for q in (0.1, 0.5, 2.0)], rtol=1e-5)
    assert values[0] > values[1] > values[2]


def test_low_orders_do_not_count_rounding():
    rng = np.random.default_rng(19)
    x = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 60))
    score = featdiv.vendi(x, q=0.01)
    assert score.value <= 3.0
    assert score.details == {"below_floor": 57}


def test_low_orders_stop_at_the_noise_floor(eigenvalues):
    noisy = eigenvalues([0.5, 0.5, 1e-18, 1e-18], centered=False, unit_rows=True)
    assert vendi.core(noisy, 0.1) == pytest.approx(2.0, rel=1e-12)
    resolved = eigenvalues([0.5, 0.5, 1e-18, 1e-18], centered=False, unit_rows=True, floor=1e-12)
    assert vendi.core(resolved, 0.1) == pytest.approx((2.0 * 0.5**0.1 + 2.0 * 1e-18**0.1) ** (1.0 / 0.9), rel=1e-12)


@pytest.mark.parametrize("q", [0.0, -1.0, float("nan")])
def test_orders_must_be_positive(q, rows):
    with pytest.raises(InputError, match=r"vendi: q: expected an order in \(0, inf\]; got"):
        featdiv.vendi(rows, q=q)


def test_a_zero_row_has_no_direction(rows):
    bad = rows.copy()
    bad[4] = 0.0
    with pytest.raises(featdiv.ZeroNormError) as caught:
        featdiv.vendi(bad)
    assert caught.value.first_row == 4


def test_moments_of_rows_as_they_are_are_refused(rows, moments_of, eigenvalues):
    with pytest.raises(InputError, match=r"vendi: x: expected moments of rows with norm one.*normalize='l2'"):
        featdiv.vendi(moments_of(rows))
    with pytest.raises(InputError, match="unit_rows=True"):
        vendi.core(eigenvalues([0.6, 0.4], centered=False))
    with pytest.raises(InputError, match="vendi: eigenvalues: expected uncentred ones"):
        vendi.core(eigenvalues([0.6, 0.4], unit_rows=True))


def test_unit_rows_may_be_proved_instead_of_normalised(rows):
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    proved = Moments.of(unit, norm_sums=True)
    assert proved.normalize is None
    assert float(featdiv.vendi(proved)) == pytest.approx(float(featdiv.vendi(rows)), rel=1e-5)


@pytest.mark.parametrize("q", [0.5, 1.0, 2.0])
def test_another_kernel_takes_the_large_matrix(q):
    x = np.random.default_rng(20).normal(size=(80, 5))
    score = featdiv.vendi(x, q=q, kernel=rbf_kernel)
    assert score.value == pytest.approx(by_kernel(rbf_kernel(x, x), q), rel=1e-6)
    assert score.provenance.arguments["kernel"] == "rbf_kernel"


def test_a_sample_is_drawn_with_the_seed_and_stated():
    x = np.random.default_rng(21).normal(size=(200, 5))
    score = featdiv.vendi(x, kernel=rbf_kernel, sample=50, seed=7)
    drawn = x[np.random.default_rng(7).choice(200, 50, replace=False)]
    assert score.value == pytest.approx(by_kernel(rbf_kernel(drawn, drawn), 1.0), rel=1e-6)
    assert score.details == {"sample": 50}
    assert "a sample of 50 of 200 rows" in score.provenance.notes[0]
    assert score.provenance.seed == 7


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (lambda a, b: 2.0 * np.eye(len(a)), "expected similarity 1 of every row with itself"),
        (lambda a, b: np.eye(len(a))[:, :-1], r"expected a matrix of shape \(n, n\); got \(3, 2\)"),
        (lambda a, b: np.eye(3) + np.triu(np.ones((3, 3)), 1), "expected a symmetric matrix"),
        (lambda a, b: np.array([[1, 1, -1], [1, 1, 1], [-1, 1, 1.0]]), "not a positive semidefinite kernel"),
        (lambda a, b: np.full((3, 3), np.nan), "expected finite similarities"),
        ("rbf", "expected 'cosine' or a function of two arrays of rows; got 'rbf'"),
    ],
)
def test_functions_that_are_no_kernel_are_refused(kernel, message):
    with pytest.raises(InputError, match=message):
        featdiv.vendi(np.eye(3), kernel=kernel)


def test_kernels_need_rows_and_memory(rows, moments_of):
    with pytest.raises(InputError, match="a kernel other than cosine needs the rows; got Moments"):
        featdiv.vendi(moments_of(rows, "l2"), kernel=rbf_kernel)
    with pytest.raises(InputError, match="needs rows that can be picked by index"):
        featdiv.vendi(iter([rows]), kernel=rbf_kernel)
    with pytest.raises(BudgetExceeded, match=r"kernel matrix of 20000 rows takes 3.0 GiB.*sample=8192"):
        featdiv.vendi(np.ones((20_000, 1)), kernel=rbf_kernel)
    with pytest.raises(InputError, match="sample: expected 1 to n = 300; got 301"):
        featdiv.vendi(rows, kernel=rbf_kernel, sample=301)
    with pytest.raises(InputError, match="sample: expected None with the cosine kernel"):
        featdiv.vendi(rows, sample=10)
