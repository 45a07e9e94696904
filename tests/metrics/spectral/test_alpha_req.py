from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import featdiv
from featdiv import InputError, NotEnoughData
from featdiv.metrics.spectral import alpha_req

DEFINITIONS = ("least-squares", "agrawal2022", "stringer2019")


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.7])
def test_an_exact_power_law_gives_its_exponent(definition, alpha, eigenvalues):
    fit = alpha_req.fit(eigenvalues(3.0 * np.arange(1.0, 201.0) ** -alpha), definition)
    assert fit.alpha == pytest.approx(alpha, abs=1e-12)
    assert fit.intercept == pytest.approx(np.log(3.0), abs=1e-11)
    assert fit.r_squared == pytest.approx(1.0)
    assert fit.standard_error == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize(
    ("definition", "r", "expected"),
    [
        ("least-squares", 200, (11, 100)),
        ("agrawal2022", 200, (11, 100)),
        ("stringer2019", 200, (11, 200)),
        ("stringer2019", 768, (11, 500)),
        ("least-squares", 41, (11, 20)),
    ],
)
def test_default_ranges(definition, r, expected, eigenvalues):
    fit = alpha_req.fit(eigenvalues(np.arange(1.0, r + 1.0) ** -0.8), definition)
    assert (fit.fit_min, fit.fit_max) == expected


def bent(r=120):
    rng = np.random.default_rng(9)
    return np.sort(np.arange(1.0, r + 1.0) ** -1.1 * np.exp(0.2 * rng.normal(size=r)))[::-1]


def test_least_squares_agrees_with_scipy(eigenvalues):
    values = bent()
    index = np.arange(11, 61)
    line = stats.linregress(np.log(index), np.log(values[10:60]))
    fit = alpha_req.fit(eigenvalues(values))
    assert fit.alpha == pytest.approx(-line.slope, rel=1e-12)
    assert fit.intercept == pytest.approx(line.intercept, rel=1e-12)
    assert fit.standard_error == pytest.approx(line.stderr, rel=1e-10)
    assert fit.r_squared == pytest.approx(line.rvalue**2, rel=1e-12)


@pytest.mark.parametrize(("definition", "last"), [("agrawal2022", 60), ("stringer2019", 120)])
def test_weights_are_one_over_the_index(definition, last, eigenvalues):
    values = bent()
    index = np.arange(11, last + 1)
    # The normal equations of the authors' code: w = 1/i, unknowns (alpha, intercept).
    design = np.column_stack([-np.log(index), np.ones(index.size)])
    w = 1.0 / index
    alpha, intercept = np.linalg.solve(design.T @ (w[:, None] * design), design.T @ (w * np.log(values[10:last])))
    fit = alpha_req.fit(eigenvalues(values), definition)
    assert fit.alpha == pytest.approx(alpha, rel=1e-10)
    assert fit.intercept == pytest.approx(intercept, rel=1e-10)
    assert fit.alpha != pytest.approx(alpha_req.fit(eigenvalues(values)).alpha, rel=1e-3)
    _, covariance = np.polyfit(np.log(index), np.log(values[10:last]), 1, w=np.sqrt(w), cov=True)
    assert fit.standard_error == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-8)


def test_a_given_range_is_used(eigenvalues):
    values = np.concatenate([np.full(20, 1.0), np.arange(21.0, 101.0) ** -2.0])
    fit = alpha_req.fit(eigenvalues(values), fit_min=21, fit_max=100)
    assert (fit.fit_min, fit.fit_max) == (21, 100)
    assert fit.alpha == pytest.approx(2.0)


def test_eigenvalues_below_the_floor_are_left_out(eigenvalues):
    values = np.arange(1.0, 101.0) ** -2.0
    values[40:] = 1e-9
    fit = alpha_req.fit(eigenvalues(values, floor=1e-3))
    assert fit.fit_max == 40
    assert fit.alpha == pytest.approx(2.0)


def test_too_few_points_are_undefined(eigenvalues):
    values = np.arange(1.0, 101.0) ** -2.0
    values[19:] = 0.0
    with pytest.raises(NotEnoughData, match=r"at least 10 eigenvalues .*, here 11 to 50; it has 9 \(19 of 100 in all"):
        alpha_req.core(eigenvalues(values))
    with pytest.raises(NotEnoughData, match="its range, here 11 to 10, which is empty; it has 0 "):
        alpha_req.core(eigenvalues(np.ones(20)))


@pytest.mark.parametrize(
    ("fit_min", "fit_max", "message"),
    [
        (0, None, "fit_min: expected a positive integer, got 0"),
        (None, 101, r"fit_max: expected at most min\(n, d\) = 100; got 101"),
        (60, 50, "fit_max: expected at least fit_min = 60; got 50"),
    ],
)
def test_ranges_that_do_not_exist(fit_min, fit_max, message, eigenvalues):
    with pytest.raises(InputError, match=message):
        alpha_req.core(eigenvalues(np.ones(100)), fit_min=fit_min, fit_max=fit_max)


def test_leading_eigenvalues_are_enough_for_the_range_they_cover(eigenvalues):
    leading = eigenvalues(np.arange(1.0, 61.0) ** -1.5, d=1000, total=10.0)
    fit = alpha_req.fit(leading)
    assert fit.fit_max == 60
    assert fit.alpha == pytest.approx(1.5)


def test_the_score_carries_the_fit(rows):
    score = featdiv.alpha_req(rows)
    assert score.details["fit_min"] == 11
    assert score.details["fit_max"] == 22
    assert score.details["alpha"] == score.value
    assert 0.0 < score.details["r_squared"] <= 1.0
    assert score.provenance.definition == "least-squares"
