from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import pdist

import featdiv
from featdiv import InputError, Moments, NotEnoughData, ZeroNormError
from featdiv.metrics.geometric import uniformity


def by_pairs(x, t):
    u = x / np.linalg.norm(x, axis=1, keepdims=True)
    return math.log(np.exp(-t * pdist(u, "sqeuclidean")).mean())


@pytest.mark.parametrize("n", [3, 8, 31])
@pytest.mark.parametrize("t", [0.5, 2.0])
def test_points_on_a_circle_have_a_closed_form(n, t):
    # |u_0 - u_k|^2 = 2 - 2 cos(2 pi k / n), and every point sees the same n - 1 others.
    angle = 2.0 * math.pi * np.arange(n) / n
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.arange(1.0, n + 1.0)[:, None]
    expected = math.log(np.exp(-t * (2.0 - 2.0 * np.cos(angle[1:]))).mean())
    assert float(featdiv.uniformity(x, t=t, precision="float64")) == pytest.approx(expected, rel=1e-12)


def test_collapsed_rows_have_zero():
    assert float(featdiv.uniformity(np.ones((40, 6)))) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("interval", [None, "bootstrap"])
def test_it_is_the_mean_over_all_pairs_whole_or_by_blocks(interval):
    x = np.random.default_rng(0).normal(size=(1500, 12)) + 0.5
    score = featdiv.uniformity(x, interval=interval, precision="float64")
    assert score.value == pytest.approx(by_pairs(x, 2.0), rel=1e-12)
    assert score.details["pairs"] == 1500 * 1499 // 2
    assert score.provenance.notes == ()


@pytest.mark.parametrize("d", [3, 64])
def test_noise_is_what_directions_drawn_evenly_give(d):
    x = np.random.default_rng(1).normal(size=(4000, d))
    score = featdiv.uniformity(x, interval="bootstrap")
    assert score.details["noise"] == uniformity.noise(d)
    assert abs(score.value - score.details["noise"]) < 4.0 * score.interval.standard_error


def test_an_interval_of_repeated_rows_needs_groups():
    rng = np.random.default_rng(2)
    groups = rng.permutation(np.repeat(np.arange(60), 25))
    centres = rng.normal(size=(60, 5)) + 0.7
    x = centres[groups]
    naive = featdiv.uniformity(x, interval="bootstrap").interval
    whole = featdiv.uniformity(x, interval="bootstrap", groups=groups).interval
    assert whole.standard_error > 2.0 * naive.standard_error
    assert whole.groups == 24


def test_the_seed_decides_the_sample_and_the_result_says_sample():
    x = np.random.default_rng(3).normal(size=(500, 6))
    score = featdiv.uniformity(x, sample=100, seed=4)
    again = featdiv.uniformity(x, sample=100, seed=4)
    assert score.value == again.value != featdiv.uniformity(x, sample=100, seed=5).value
    assert score.details["sample"] == 100
    assert "sample" in score.provenance.method
    assert any("a sample of 100 rows" in note for note in score.provenance.notes)
    drawn = np.sort(np.random.default_rng(4).choice(500, 100, replace=False))
    assert score.value == pytest.approx(by_pairs(x[drawn], 2.0), rel=1e-6)


def test_files_of_half_precision_are_read_as_they_are(tmp_path):
    x = np.random.default_rng(5).normal(size=(300, 8)).astype(np.float16)
    np.save(tmp_path / "x.npy", x)
    score = featdiv.uniformity(tmp_path / "x.npy")
    assert score.value == pytest.approx(by_pairs(x.astype(np.float64), 2.0), rel=1e-6)
    assert score.provenance.dtype == "float16"


def test_chunks_that_are_read_once():
    x = np.random.default_rng(6).normal(size=(90, 4))
    assert float(featdiv.uniformity(iter([x[:50], x[50:]]))) == pytest.approx(by_pairs(x, 2.0), rel=1e-6)


@pytest.mark.parametrize("interval", [None, "auto"])
def test_rows_without_direction_are_refused_with_their_place(interval):
    x = np.ones((900, 4))
    x[333] = 0.0
    with pytest.raises(ZeroNormError, match=r"uniformity: x: expected rows of non-zero norm; got 1 zero rows.*333"):
        featdiv.uniformity(x, interval=interval)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"t": 0.0}, "uniformity: t: expected a positive finite number; got 0.0"),
        ({"t": float("nan")}, "uniformity: t: expected a positive"),
        ({"interval": "jackknife"}, "uniformity: interval: expected one of 'auto', 'bootstrap', None"),
        ({"interval": "bootstrap"}, "needs at least 640 rows; got 20"),
        ({"sample": 21}, "uniformity: sample: expected at most n = 20 rows"),
        ({"sample": 1}, "uniformity: sample: expected at least 2 rows"),
        ({"groups": np.arange(20) % 2, "interval": "bootstrap"}, "needs at least 5 groups; got 2"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(InputError, match=message):
        featdiv.uniformity(np.random.default_rng(0).normal(size=(20, 3)), **arguments)


def test_one_row_has_no_pair():
    with pytest.raises(NotEnoughData, match="uniformity: x: expected at least 2 rows; got 1"):
        featdiv.uniformity(np.ones((1, 3)))


def test_moments_no_longer_hold_the_rows():
    with pytest.raises(InputError, match="uniformity: x: expected rows; got Moments, which no longer holds them"):
        featdiv.uniformity(Moments.of(np.eye(3)))


def test_rows_that_do_not_fit_the_budget_are_refused():
    with pytest.raises(featdiv.BudgetExceeded, match=r"uniformity: memory: .*sample="):
        featdiv.uniformity(np.ones((1000, 50)), memory="10kB")


@pytest.mark.parametrize("interval", ["auto", None])
def test_rows_of_a_file_are_not_copied(tmp_path, monkeypatch, interval):
    from featdiv.metrics.geometric import pairs

    x = np.random.default_rng(8).normal(size=(3000, 16)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    plain = featdiv.uniformity(x, interval=None)
    seen, op = [], pairs.pair_sums
    monkeypatch.setattr(pairs, "pair_sums", lambda rows, *rest, **task: seen.append(rows) or op(rows, *rest, **task))
    score = featdiv.uniformity(tmp_path / "x.npy", interval=interval)
    assert float(score) == pytest.approx(float(plain), rel=1e-9)
    assert (score.interval is None) == (interval is None)
    assert all(isinstance(rows, np.memmap) for rows in seen)


def test_many_rows_are_rounded_where_the_native_module_can(monkeypatch):
    from featdiv.metrics.geometric import uniformity
    from featdiv.ops import _native

    x = np.random.default_rng(4).normal(size=(uniformity.ROUNDED_ROWS, 6)).astype(np.float32)
    score, exact = featdiv.uniformity(x), featdiv.uniformity(x, precision="float64")
    rounds = _native.missing() is None and _native.module().rounds_pairs(_native.isa())
    assert score.provenance.precision == ("mixed" if rounds else "float32")
    assert float(score) == pytest.approx(float(exact), abs=2e-6)
    assert featdiv.uniformity(x[:-1]).provenance.precision == "float32"
    assert featdiv.uniformity(x, t=2.1).provenance.precision == "float32"
    assert featdiv.uniformity(x, precision="float32").provenance.precision == "float32"


def test_rows_are_not_rounded_where_two_copies_may_make_up_the_sum():
    from featdiv.metrics.geometric import uniformity

    # At t = 20, of a million isotropic rows, one pair of copies is all of the sum.
    assert uniformity.precision_for(1 << 30, 8.0, "auto") == "mixed"
    assert uniformity.precision_for(1 << 30, 20.0, "auto") == "float32"
