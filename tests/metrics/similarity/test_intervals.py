"""Intervals of similarities that come from moments: what they are made of, and what they cover."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from scipy.stats import t

import featdiv
from featdiv.errors import InputError
from featdiv.metrics.similarity import cca, left_out, procrustes
from featdiv.metrics.similarity.pairs import Models
from featdiv.stats import CrossMoments

D, ROWS = 48, 30 * 48
SPREAD = np.arange(1.0, D + 1) ** -0.5


def sides(n: int, seed: int, shared: int) -> tuple[np.ndarray, np.ndarray]:
    """Two representations with decaying spectra, of which the leading directions are the same but for noise."""
    random = np.random.default_rng(seed)
    x, noise = (random.standard_normal((n, D)) * SPREAD for _ in range(2))
    return x, x * (np.arange(D) < shared) + noise


def mean_squared_correlation(shared: int) -> float:
    """Of the population: half of the variance of each shared direction is common, and nothing of the others."""
    return shared * 0.5 / D


MEASURES = [("cca", "mean"), ("cca", "mean_squared"), ("procrustes", "angular"), ("procrustes", "squared")]


@pytest.mark.parametrize(("name", "definition"), MEASURES)
@pytest.mark.parametrize("grouped", [False, True])
def test_the_interval_is_that_of_compare(name, definition, grouped):
    x, y = sides(3000, 0, 8)
    given = {"definition": definition, "interval": "jackknife", "groups": np.arange(3000) // 40 if grouped else None}
    alone = getattr(featdiv, name)(x, y, **given).interval
    whole = featdiv.compare({"x": x, "other": y}, metric=name, **given).interval("x", "other")
    assert alone is not None
    assert (alone.low, alone.high, alone.groups) == (pytest.approx(whole.low), pytest.approx(whole.high), whole.groups)
    assert getattr(featdiv, name)(x, y, definition=definition).interval is None


@pytest.mark.parametrize(("name", "definition"), MEASURES)
def test_it_is_the_jackknife_on_rows(name, definition):
    """Leaving out every slab on the rows, with the formula of the jackknife written out."""
    n, g = 2048, 8
    x, y = sides(n, 1, 8)
    function = getattr(featdiv, name)
    found = function(x, y, definition=definition, interval="jackknife")
    assert found.interval.groups == g
    part = np.arange(n) // 256 % g
    values = np.array([float(function(x[part != j], y[part != j], definition=definition)) for j in range(g)])
    pseudo = g * found.value - (g - 1) * values
    error = math.sqrt(pseudo.var(ddof=1) / g)
    assert found.interval.standard_error == pytest.approx(error, rel=1e-6)
    smooth = definition == "mean_squared"
    assert found.interval.estimand == ("population" if smooth else f"expected at n={n}, d={D}")
    center = pseudo.mean() if smooth else found.value
    assert found.interval.low == pytest.approx(center - t.ppf(0.975, g - 1) * error, rel=1e-6)


def test_an_interval_stays_within_the_bounds():
    x, _ = sides(2048, 2, 8)
    same = featdiv.cca(x, 3.0 * x, interval="jackknife").interval
    assert same.low <= 1.0 + 1e-12
    assert same.high <= 1.0
    assert featdiv.procrustes(x, 3.0 * x, interval="jackknife").interval.low >= 0.0


def test_what_cannot_be_had():
    x, y = sides(600, 3, 8)
    for name in ("cca", "procrustes"):
        few = getattr(featdiv, name)(x, y, interval="auto")
        assert few.interval is None
        assert any("no interval: a jackknife needs at least 5 slabs" in note for note in few.provenance.notes)
        with pytest.raises(InputError, match=f"{name}: interval: 'jackknife' cannot be had here"):
            getattr(featdiv, name)(x, y, interval="jackknife")


COVERED = {
    "squared": (functools.partial(cca.core, definition="mean_squared"), cca.ESTIMATES["mean_squared"]),
    "mean": (cca.core, cca.ESTIMATES["mean"]),
    "angle": (procrustes.core, procrustes.ESTIMATES["angular"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("shared", [8, D])
def test_coverage_at_thirty_rows_a_feature(shared):
    """100 draws; nominal 95 %. The mean and the distance cover what they are at this n, taken over all draws."""
    found = {name: [] for name in COVERED}
    for seed in range(100):
        x, y = sides(ROWS, 100 + seed, shared)
        parts = [
            CrossMoments.of({"x": x[start : start + 288], "y": y[start : start + 288]}, precision="float64")
            for start in range(0, ROWS, 288)
        ]
        total = functools.reduce(CrossMoments.merge, parts)
        for name, (core, estimate) in COVERED.items():
            value = core(Models(total).pair("x", "y"))
            rests = left_out.leave_out(total, parts, [("x", "y")], core)
            interval = left_out.interval(
                ("x", "y"), value, rests, n=total.n, sizes=total.named_sizes, estimate=estimate
            )
            found[name].append((value, interval))
    for name, scores in found.items():
        smooth = name == "squared"
        assert {interval.estimand.split()[0] for _, interval in scores} == {"population" if smooth else "expected"}
        truth = mean_squared_correlation(shared) if smooth else np.mean([value for value, _ in scores])
        # Fewer than 88 of 100 has probability 0.4 %; errors that are a third too small give about 80.
        assert 0.88 <= np.mean([truth in interval for _, interval in scores]) <= 0.99, name


def test_the_population_is_out_of_reach_of_the_mean_correlation():
    """The contrast: correlations that are 0 in the population do not come out as 0, by many standard errors."""
    x, y = sides(3000, 4, 8)
    score = featdiv.cca(x, y, interval="jackknife")
    population = 8 * math.sqrt(0.5) / D
    assert score.value - population > 10 * score.interval.standard_error


@pytest.mark.slow
def test_repeated_rows_need_groups():
    """Every row 10 times over, in any order: the information is in a tenth of the rows."""
    naive, whole = [], []
    expected = np.mean([float(featdiv.procrustes(*sides(300, 500 + seed, D))) for seed in range(40)])
    for seed in range(40):
        rows = [np.repeat(side, 10, axis=0) for side in sides(300, 500 + seed, D)]
        order = np.random.default_rng(seed).permutation(3000)
        x, y = (side[order] for side in rows)
        ids = np.repeat(np.arange(300), 10)[order]
        naive.append(expected in featdiv.procrustes(x, y, interval="jackknife").interval)
        whole.append(expected in featdiv.procrustes(x, y, interval="jackknife", groups=ids).interval)
    assert np.mean(naive) < 0.75
    assert np.mean(whole) >= 0.85
