"""Jackknife intervals: coverage on populations whose scores are known, and what groups are for."""

from __future__ import annotations

import math

import numpy as np
import pytest

import featdiv
from featdiv.metrics.spectral.eigenvalues import Eigenvalues
from featdiv.stats import grouped, partition, resampling
from featdiv.stats.moments import Moments


def population(variances: np.ndarray) -> dict[str, float]:
    p = np.sqrt(variances) / np.sqrt(variances).sum()
    return {
        "effective_rank": math.exp(-(p * np.log(p)).sum()),
        "participation_ratio": variances.sum() ** 2 / (variances**2).sum(),
    }


def coverage(variances: np.ndarray, n: int, draws: int) -> dict[str, float]:
    truth = population(variances)
    hits = dict.fromkeys(truth, 0)
    for draw in range(draws):
        x = np.random.default_rng(draw).standard_normal((n, len(variances))) * np.sqrt(variances)
        found = featdiv.spectrum(x, method="gram", precision="float64", interval="jackknife")
        for name, value in truth.items():
            assert found.intervals[name].estimand == "population"
            hits[name] += value in found.intervals[name]
    return {name: count / draws for name, count in hits.items()}


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    ("variances", "n"),
    [
        pytest.param(np.ones(24), 6000, id="isotropic"),
        pytest.param(np.arange(1, 25) ** -1.0, 24 * 60, id="decaying"),
    ],
)
def test_nominal_95_percent_is_what_is_seen(monkeypatch, variances, n, exact):
    monkeypatch.setattr(partition, "affordable", lambda *_, **__: (exact, ""))
    for name, share in coverage(variances, n, draws=60).items():
        # 60 draws at 95 %: fewer than 52 hits has probability 0.3 %.
        assert share >= 52 / 60, name


@pytest.mark.slow
@pytest.mark.parametrize("exponent", [1.0, 2.0])
def test_thirty_rows_a_feature_of_a_decaying_spectrum_are_enough(exponent):
    # 1,440 rows make 5 slabs of 256, the least that a jackknife takes: its quantile is that of 4 degrees of freedom.
    for name, share in coverage(np.arange(1, 49) ** -exponent, 30 * 48, draws=200).items():
        assert 0.90 <= share <= 0.99, name


def test_without_the_correction_isotropic_features_are_never_covered():
    # The contrast: the plain estimate is biased by many standard errors, so a test of the correction can fail.
    x = np.random.default_rng(0).standard_normal((20_000, 64))
    found = featdiv.spectrum(x, method="gram", precision="float64", interval="jackknife")
    interval = found.intervals["effective_rank"]
    assert abs(found.effective_rank - 64) > 10 * interval.standard_error
    assert 64 in interval


def test_few_rows_get_the_other_estimand():
    x = np.random.default_rng(1).standard_normal((1500, 100))
    found = featdiv.spectrum(x, method="gram", interval="jackknife")
    interval = found.intervals["effective_rank"]
    assert interval.estimand == "expected at n=1500, d=100"
    assert (interval.low + interval.high) / 2 == pytest.approx(found.effective_rank)


def test_groups_rescue_repeated_rows():
    # 300 patients of 20 identical rows each: the information is in 300 rows, not 6000.
    random = np.random.default_rng(2)
    patients = random.standard_normal((300, 6)) * np.arange(1, 7)
    rows, ids = np.repeat(patients, 20, axis=0), np.repeat(np.arange(300), 20)
    order = random.permutation(6000)
    naive = featdiv.spectrum(rows[order], method="gram", interval="jackknife").intervals["effective_rank"]
    grouped = featdiv.spectrum(rows[order], groups=ids[order], method="gram", interval="jackknife")
    honest = featdiv.spectrum(patients, groups=np.arange(300), method="gram", interval="jackknife")
    assert grouped.intervals["effective_rank"].standard_error > 3 * naive.standard_error
    assert grouped.intervals["effective_rank"].standard_error == pytest.approx(
        honest.intervals["effective_rank"].standard_error, rel=0.6
    )


def test_leaving_out_is_merging_undone():
    x = np.random.default_rng(3).standard_normal((500, 7)) + 5.0
    total, part = Moments.of(x, precision="float64"), Moments.of(x[100:180], precision="float64")
    rest = Moments.of(np.delete(x, np.s_[100:180], axis=0), precision="float64")
    found = grouped.without(total, part)
    assert found.n == rest.n
    np.testing.assert_allclose(found.mean, rest.mean, rtol=1e-12)
    np.testing.assert_allclose(found.scatter, rest.scatter, rtol=1e-9, atol=1e-9)


def test_the_jackknife_of_a_mean_is_its_textbook_standard_error():
    # For the mean of n values left out one by one, the jackknife standard error is std / sqrt(n) exactly.
    values = np.random.default_rng(4).standard_normal(50)
    without_each = (values.sum() - values) / 49
    corrected, error = resampling.jackknife(values.mean(), without_each, np.full(50, 1 / 50))
    assert corrected == pytest.approx(values.mean())
    assert error == pytest.approx(values.std(ddof=1) / math.sqrt(50))


def test_the_pair_solver_agrees_with_two_decompositions():
    random = np.random.default_rng(5)
    for n, d, offset in [(50, 1, 3.0), (400, 30, 0.0), (400, 30, 1e3), (20, 30, 1.0)]:
        x = random.standard_normal((n, d)) + offset * random.standard_normal(d)
        moments = Moments.of(x, precision="float64")
        centred, uncentred = Eigenvalues.both_of_moments(moments)
        for found, matrix, scale in ((centred, moments.scatter, n - 1), (uncentred, moments.gram, n)):
            truth = np.linalg.eigvalsh(matrix)[::-1][: min(n, d)] / scale
            np.testing.assert_allclose(found.values, np.clip(truth, 0, None), atol=1e-12 * truth[0])


def test_auto_leaves_out_what_would_cost_too_much():
    assert partition.affordable(10**6, 512, 10, always=False)[1] == ""
    assert "fifth of the pass" in partition.affordable(10**5, 2048, 20, always=False)[1]
    assert partition.affordable(10**5, 2048, 20, always=True)[1] == ""
