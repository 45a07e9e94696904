from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, t

from featdiv.probes.proportion import of_groups, of_rows, wilson


@pytest.mark.parametrize(("correct", "n"), [(0, 7), (7, 7), (3, 10), (912, 1000)])
def test_it_is_scipys(correct, n):
    interval = wilson(correct, n)
    expected = binomtest(correct, n).proportion_ci(method="wilson")
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert interval.method == "Wilson"


@pytest.mark.parametrize(("correct", "n"), [(0, 7), (7, 7), (3, 10), (912, 1000)])
def test_groups_of_one_row_are_rows(correct, n):
    right = np.arange(n) < correct
    found, expected = of_rows(right, [f"video {i}" for i in range(n)]), wilson(correct, n)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert found.standard_error == pytest.approx(expected.standard_error)
    assert (found.groups, found.method) == (n, "Wilson, rows in groups")


@pytest.mark.parametrize(("correct", "m"), [(150, 200), (0, 200), (200, 200), (30, 40)])
@pytest.mark.parametrize("r", [2, 25])
def test_rows_that_are_repeated_tell_no_more_than_once(correct, m, r):
    right = np.arange(m) < correct
    found = of_rows(np.repeat(right, r), np.repeat(np.arange(m), r))
    once, pretended = wilson(correct, m), wilson(correct * r, m * r)
    assert found.high - found.low == pytest.approx(once.high - once.low, rel=0.05)
    assert found.high - found.low > 1.3 * (pretended.high - pretended.low)
    # By hand: the design effect of copies, and Student's quantiles.
    spread = 0 < correct < m
    effect = r * (m * r - 1) / (r * (m - 1)) if spread else r
    rows = m * r / effect * (t.ppf(0.975, m * r - 1) / t.ppf(0.975, m - 1)) ** 2
    z, share = 1.959963984540054, correct / m
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * np.sqrt(share * (1 - share) / rows + z * z / (4 * rows**2))
    assert (found.low, found.high) == pytest.approx((max(0, middle - half), min(1, middle + half)), abs=1e-12)


def test_groups_without_rows_and_one_group():
    assert of_groups([3, 0, 5], [4, 0, 6]) == of_groups([3, 5], [4, 6])
    assert of_groups([3], [4]) is None
    assert of_rows(np.array([True, False]), ["a", "a"]) is None


def test_groups_that_differ_less_than_chance_are_no_more_than_rows():
    found, expected = of_groups([2] * 50, [4] * 50), wilson(100, 200)
    assert found.high - found.low == pytest.approx(expected.high - expected.low, rel=0.03)
    assert found.high - found.low >= expected.high - expected.low


def test_it_covers_the_accuracy_of_new_groups_where_wilsons_does_not():
    rng = np.random.default_rng(0)
    covered, pretended = 0, 0
    for _ in range(500):
        # Groups of about 20 rows whose accuracies are of Beta(1.6, 0.4): mean 0.8, correlation within groups 1/3.
        sizes = rng.integers(1, 40, 60)
        right = rng.binomial(sizes, rng.beta(1.6, 0.4, 60))
        covered += 0.8 in of_groups(right, sizes)
        pretended += 0.8 in wilson(int(right.sum()), int(sizes.sum()))
    # 95 % nominal: of 500 draws, fewer than 455 would come up once in ten thousand times.
    assert covered >= 455
    assert pretended < 350
