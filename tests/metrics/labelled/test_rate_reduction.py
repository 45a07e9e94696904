from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv import BudgetExceeded, ClassMoments, InputError
from featdiv.metrics.labelled import rows as labelled_rows


def rate(x, eps_squared):
    n, d = x.shape
    return 0.5 * np.linalg.slogdet(np.eye(d) + d / (n * eps_squared) * x.T @ x)[1]


def by_determinants(x, labels, eps_squared=0.5):
    classes, counts = np.unique(labels, return_counts=True)
    parts = [rate(x[labels == k], eps_squared) for k in classes]
    return rate(x, eps_squared) - np.average(parts, weights=counts)


CASES = {
    "large classes": (300, 10, 4),
    "classes of fewer rows than features": (60, 40, 6),
    "fewer rows than features": (20, 50, 3),
    "some rows alone": (30, 8, 20),
}


def some(n, d, c, offset=0.0):
    rng = np.random.default_rng(n)
    labels = np.minimum(rng.integers(0, c, size=n), rng.integers(0, c, size=n))
    return rng.normal(size=(n, d)) + rng.normal(size=(c, d))[labels] + offset, labels


@pytest.mark.parametrize("eps_squared", [0.5, 0.01])
@pytest.mark.parametrize("case", CASES)
def test_it_is_the_difference_of_log_determinants(case, eps_squared):
    x, labels = some(*CASES[case])
    score = featdiv.rate_reduction(x, labels, eps_squared=eps_squared, precision="float64")
    assert score.value == pytest.approx(by_determinants(x, labels, eps_squared), rel=1e-9)
    assert score.details["rate"] == pytest.approx(rate(x, eps_squared), rel=1e-10)
    assert score.details["rate"] - score.details["class_rate"] == pytest.approx(score.value, rel=1e-12)
    moments = ClassMoments.of(x, labels, per_class=True, precision="float64")
    assert float(featdiv.rate_reduction(moments, eps_squared=eps_squared)) == pytest.approx(score.value, rel=1e-9)


def test_the_whole_is_the_coding_rate():
    x, labels = some(200, 12, 3)
    score = featdiv.rate_reduction(x, labels, precision="float64")
    assert score.details["rate"] == pytest.approx(float(featdiv.coding_rate(x, precision="float64")), rel=1e-10)


def test_orthogonal_classes_have_a_closed_form():
    # c classes of m equal unit rows along their own axis: X^T X = m I_c, of each class m on one axis.
    c, m, eps_squared = 5, 8, 0.5
    x = np.repeat(np.eye(c), m, axis=0)
    expected = 0.5 * c * np.log1p(1.0 / eps_squared) - 0.5 * np.log1p(c / eps_squared)
    assert float(featdiv.rate_reduction(x, np.repeat(np.arange(c), m))) == pytest.approx(expected, rel=1e-12)


def test_equal_classes_save_nothing():
    x = np.tile(np.random.default_rng(10).normal(size=(30, 6)), (2, 1))
    assert float(featdiv.rate_reduction(x, np.repeat([0, 1], 30), precision="float64")) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("case", ["large classes", "classes of fewer rows than features"])
def test_a_large_mean_does_not_drown_the_scatter(case):
    mpmath = pytest.importorskip("mpmath")
    x, labels = some(*CASES[case])
    # An offset that float64 holds exactly beside rounded rows; the reference has 60 digits.
    x = np.round(x * 2**10) / 2**10 + 2.0**20

    def exact(part):
        n, d = part.shape
        with mpmath.workdps(60):
            m = mpmath.matrix(part.tolist())
            small = m.T * m if d <= n else m * m.T
            for i in range(small.rows):
                for j in range(small.cols):
                    small[i, j] *= mpmath.mpf(d) / (n * mpmath.mpf("0.5"))
                small[i, i] += 1
            return float(mpmath.log(mpmath.det(small)) / 2)

    classes, counts = np.unique(labels, return_counts=True)
    expected = exact(x) - np.average([exact(x[labels == k]) for k in classes], weights=counts)
    found = float(featdiv.rate_reduction(x, labels, precision="float64"))
    assert found == pytest.approx(expected, rel=1e-7)


def test_blocks_and_large_classes_change_nothing(monkeypatch):
    x, labels = some(300, 10, 4)
    whole = float(featdiv.rate_reduction(x, labels))
    monkeypatch.setattr(labelled_rows, "BLOCK_ROWS", 7)
    monkeypatch.setattr(labelled_rows, "GATHER_BYTES", 1)
    assert float(featdiv.rate_reduction(x, labels)) == pytest.approx(whole, rel=1e-12)


def test_moments_need_the_scatter_of_each_class():
    x, labels = some(60, 5, 3)
    with pytest.raises(InputError, match=r"rate_reduction: x: .*; got pooled ones.*per_class=True"):
        featdiv.rate_reduction(ClassMoments.of(x, labels))


@pytest.mark.parametrize("eps_squared", [0.0, -1.0, float("nan")])
def test_distortion_must_be_positive(eps_squared):
    with pytest.raises(InputError, match="rate_reduction: eps_squared: expected a number above 0"):
        featdiv.rate_reduction(*some(60, 5, 3), eps_squared=eps_squared)


def test_the_budget_is_kept_before_the_rows_of_classes_are_read():
    x, labels = some(200, 40, 3)
    with pytest.raises(BudgetExceeded, match=r"rate_reduction: memory: .*Raise memory="):
        featdiv.rate_reduction(x, labels, memory=20_000)
    with pytest.raises(InputError, match="rate_reduction: memory: expected bytes or text"):
        featdiv.rate_reduction(x, labels, memory="lots")
