from __future__ import annotations

import math

import numpy as np
import pytest

from featdiv.metrics.spectral.entropy import entropy, renyi_entropy

SHARES = np.array([0.5, 0.25, 0.125, 0.125])


def test_entropy_of_powers_of_two():
    assert entropy(SHARES) == pytest.approx(1.75 * math.log(2.0), rel=1e-15)


def test_zero_shares_count_nothing():
    assert entropy(np.array([1.0, 0.0, 0.0])) == 0.0
    assert renyi_entropy(np.array([0.5, 0.5, 0.0]), 0.25) == pytest.approx(math.log(2.0))


@pytest.mark.parametrize(
    ("q", "sum_of_powers"),
    [
        (2.0, 0.25 + 0.0625 + 2 * 0.015625),
        (3.0, 0.125 + 0.015625 + 2 * 0.001953125),
        (0.5, math.sqrt(0.5) + 0.5 + 2 * math.sqrt(0.125)),
        (1.25, 0.5**1.25 + 0.25**1.25 + 2 * 0.125**1.25),
        (0.01, 0.5**0.01 + 0.25**0.01 + 2 * 0.125**0.01),
    ],
)
def test_renyi_entropy_is_its_formula(q, sum_of_powers):
    assert renyi_entropy(SHARES, q) == pytest.approx(math.log(sum_of_powers) / (1.0 - q), rel=1e-13)


def test_limits_at_one_and_infinity():
    assert renyi_entropy(SHARES, 1.0) == entropy(SHARES)
    assert renyi_entropy(SHARES, math.inf) == pytest.approx(math.log(2.0))
    assert renyi_entropy(SHARES, 1e6) == pytest.approx(math.log(2.0), rel=1e-5)


@pytest.mark.parametrize("step", [1e-3, 1e-6, 1e-9, 1e-12, 1e-15])
def test_orders_near_one_keep_their_digits(step):
    # To first order H_q = H_1 - (q - 1) V / 2, V the variance of ln p.
    variance = float(SHARES @ np.log(SHARES) ** 2) - entropy(SHARES) ** 2
    for q in (1.0 - step, 1.0 + step):
        expected = entropy(SHARES) - (q - 1.0) * variance / 2.0
        assert renyi_entropy(SHARES, q) == pytest.approx(expected, abs=step**2 + 1e-14)


@pytest.mark.parametrize("q", [0.1, 0.9, 1.0, 1.4, 2.0, 40.0, math.inf])
def test_every_order_of_even_shares_is_the_logarithm_of_their_number(q):
    assert renyi_entropy(np.full(37, 1.0 / 37.0), q) == pytest.approx(math.log(37.0), rel=1e-12)


def test_large_orders_do_not_underflow():
    assert renyi_entropy(np.array([1e-3, *[999e-3 / 999] * 999]), 500.0) == pytest.approx(math.log(1000), rel=1e-9)
