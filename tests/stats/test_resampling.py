from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from featdiv.stats import resampling


def test_the_jackknife_of_a_mean_is_its_textbook_error():
    x = np.random.default_rng(0).normal(size=40)
    without = (x.sum() - x) / 39
    corrected, error = resampling.jackknife(x.mean(), without, np.full(40, 1 / 40))
    assert corrected == pytest.approx(x.mean())
    assert error == pytest.approx(x.std(ddof=1) / np.sqrt(40))


def test_the_jackknife_takes_the_bias_off_a_variance():
    x = np.random.default_rng(1).normal(size=30)
    without = np.array([np.delete(x, i).var() for i in range(30)])
    corrected, _ = resampling.jackknife(x.var(), without, np.full(30, 1 / 30))
    assert corrected == pytest.approx(x.var(ddof=1))


def test_the_half_width_is_that_of_student():
    interval = resampling.symmetric(1.0, 0.5, groups=11, method="m", estimand="e")
    assert interval.high - 1.0 == pytest.approx(0.5 * stats.t.ppf(0.975, 10))


def block_sums(h, blocks):
    g = len(blocks)
    sums, pairs = np.zeros((g, g)), np.zeros((g, g))
    for a in range(g):
        for b in range(a, g):
            part = h[np.ix_(blocks[a], blocks[b])]
            part = part[np.triu_indices(len(part), 1)] if a == b else part.ravel()
            sums[a, b], pairs[a, b] = part.sum(), part.size
    return sums, pairs


@pytest.mark.slow
def test_the_bootstrap_of_a_mean_over_pairs_covers():
    # h(x, y) = (x - y)^2 / 2, whose mean over pairs is the variance.
    rng = np.random.default_rng(2)
    covered = 0
    for draw in range(200):
        x = rng.normal(size=600)
        h = 0.5 * (x[:, None] - x) ** 2
        sums, pairs = block_sums(h, np.array_split(np.arange(600), 24))
        interval = resampling.of_pairs(sums, pairs, lambda s, c: s / c, seed=draw)
        assert (interval.low + interval.high) / 2 == pytest.approx(x.var(ddof=1))
        covered += 1.0 in interval
    assert 180 <= covered <= 198
