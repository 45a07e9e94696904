from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from featdiv.studies import coefficients

PEERS = {
    "pearson": lambda x, y: scipy.stats.pearsonr(x, y).statistic,
    "spearman": lambda x, y: scipy.stats.spearmanr(x, y).statistic,
    "kendall": lambda x, y: scipy.stats.kendalltau(x, y).statistic,
    "weighted_kendall": lambda x, y: scipy.stats.weightedtau(x, y).statistic,
}


def problems(ties):
    rng = np.random.default_rng(3)
    x, noise = rng.normal(size=(40, 17)), rng.normal(size=(40, 17))
    y = x + noise
    return (np.round(x), np.round(y)) if ties else (x, y)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", coefficients.COEFFICIENTS)
def test_equal_to_scipy(name, ties):
    x, y = problems(ties)
    expected = [PEERS[name](a, b) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(coefficients.COEFFICIENTS[name](x, y), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", coefficients.COEFFICIENTS)
def test_missing_values_leave_the_model_out(name):
    x, y = problems(False)
    x[:, 4] = np.nan
    y[:, 9] = np.nan
    kept = [i for i in range(17) if i not in (4, 9)]
    expected = [PEERS[name](a[kept], b[kept]) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(coefficients.COEFFICIENTS[name](x, y), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", coefficients.COEFFICIENTS)
@pytest.mark.parametrize(
    "x", [[0.1] * 5, [np.nan] * 4 + [1.0], [np.nan] * 5], ids=["constant", "one left", "none left"]
)
def test_undefined(name, x):
    assert np.isnan(coefficients.COEFFICIENTS[name](np.array([x]), np.arange(5.0)[None]))


def test_weighted_kendall_by_hand():
    # Two swaps of neighbours, at the top and at the bottom of four: the one at the top costs more. Weights by the
    # ranks of either side: pairs sum to 3 (1 + 1/2 + 1/3 + 1/4) = 6.25; a swap of ranks i, j loses
    # 2 (1/(1+i) + 1/(1+j)).
    truth = np.array([[4.0, 3.0, 2.0, 1.0]])
    top, bottom = np.array([[3.0, 4.0, 2.0, 1.0]]), np.array([[4.0, 3.0, 1.0, 2.0]])
    assert coefficients.weighted_kendall(top, truth)[0] == pytest.approx(1 - 2 * 1.5 / 6.25)
    assert coefficients.weighted_kendall(bottom, truth)[0] == pytest.approx(1 - 2 * (1 / 3 + 1 / 4) / 6.25)


def test_pearson_survives_huge_and_tiny_units():
    x, y = problems(False)
    np.testing.assert_allclose(
        coefficients.pearson(x * 1e200, y * 1e-200), coefficients.pearson(x, y), rtol=1e-10, atol=1e-12
    )


def test_regret_by_hand():
    truth = np.array([[70.0, 80.0, 75.0, 60.0]])
    scores = np.array([[4.0, 1.0, 3.0, 2.0]])
    assert [float(coefficients.regret(scores, truth, k)[0]) for k in (1, 2, 3, 4)] == [10.0, 5.0, 5.0, 0.0]


def test_regret_of_equal_scores_is_that_of_the_worse():
    assert coefficients.regret(np.zeros((1, 3)), np.array([[1.0, 5.0, 3.0]]), 1)[0] == 4.0


def test_regret_passes_over_models_without_a_value():
    truth = np.array([[np.nan, 80.0, 75.0]])
    assert coefficients.regret(np.array([[9.0, 1.0, 2.0]]), truth, 1)[0] == 5.0
    assert np.isnan(coefficients.regret(np.array([[9.0, 1.0, 2.0]]), np.full((1, 3), np.nan), 1))
