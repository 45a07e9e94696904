from __future__ import annotations

import math

import numpy as np
import pytest

import featdiv
from featdiv import InputError, ZeroNormError


def by_hand(x, eps):
    u = np.abs(x) / np.linalg.norm(x, axis=1, keepdims=True)
    d = x.shape[1]
    live = np.abs(x).sum(axis=0) > 0
    x = np.abs(x)
    return {
        "sparsity": (u < eps).mean(),
        "hoyer": ((math.sqrt(d) - u.sum(axis=1)) / (math.sqrt(d) - 1.0)).mean(),
        "treves_rolls_per_sample": (x.mean(axis=1) ** 2 / (x**2).mean(axis=1)).mean(),
        "treves_rolls_per_unit": (x[:, live].mean(axis=0) ** 2 / (x[:, live] ** 2).mean(axis=0)).mean(),
    }


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_it_is_the_published_formulas(dtype):
    x = np.maximum(np.random.default_rng(0).normal(size=(5000, 30)), 0.0).astype(dtype)
    x[:, 4] = 0.0
    x[:, 0] += 1.0
    found = featdiv.sparsity(x, eps=0.05)
    for name, value in by_hand(x.astype(np.float64), 0.05).items():
        assert found.scores[name] == pytest.approx(value, rel=1e-12)
    assert found.silent == 1


def test_extremes():
    flat = featdiv.sparsity(np.where(np.random.default_rng(1).random((40, 16)) < 0.5, -3.0, 3.0))
    assert flat.scores == pytest.approx(
        {"sparsity": 0.0, "hoyer": 0.0, "treves_rolls_per_sample": 1.0, "treves_rolls_per_unit": 1.0}, abs=1e-12
    )
    tiny = featdiv.sparsity(1e-150 * np.eye(16))
    assert tiny.scores["hoyer"] == pytest.approx(1.0)
    assert tiny.scores["treves_rolls_per_unit"] == pytest.approx(1 / 16)
    tiniest = featdiv.sparsity(1e-200 * np.eye(16))
    assert tiniest.scores["treves_rolls_per_sample"] == pytest.approx(1 / 16)
    assert "scale the rows up" in tiniest.undefined["treves_rolls_per_unit"]


def test_intervals_cover_the_closed_form_of_gaussian_entries():
    x = np.random.default_rng(2).normal(size=(40_000, 8))
    found = featdiv.sparsity(x)
    # E|z| = sqrt(2/pi), so a unit has activity ratio 2/pi.
    assert 2.0 / math.pi in found.intervals["treves_rolls_per_unit"]
    assert set(found.intervals) == set(found.scores)


def test_groups_are_left_out_whole():
    rng = np.random.default_rng(3)
    groups = rng.permutation(np.repeat(np.arange(80), 100))
    x = np.abs(rng.normal(size=(80, 6)))[groups]
    whole, naive = featdiv.sparsity(x, groups=groups), featdiv.sparsity(x)
    assert whole.intervals["hoyer"].standard_error > 3.0 * naive.intervals["hoyer"].standard_error


def test_few_rows_have_no_interval_and_say_so():
    found = featdiv.sparsity(np.eye(9))
    assert not found.intervals
    assert "at least 5 slabs of 256 rows" in found.provenance.notes[0]
    with pytest.raises(InputError, match="sparsity: interval: 'jackknife' cannot be had here"):
        featdiv.sparsity(np.eye(9), interval="jackknife")


def test_one_feature_has_no_hoyer():
    found = featdiv.sparsity(np.arange(1.0, 9.0)[:, None])
    assert "hoyer" in found.undefined
    assert found.scores["treves_rolls_per_sample"] == 1.0


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_squares_out_of_range_leave_the_scores_of_rows(scale):
    x = np.abs(np.random.default_rng(0).normal(size=(40, 6)))
    here, there = featdiv.sparsity(x), featdiv.sparsity(x * scale)
    assert "the squares of " in there.undefined["treves_rolls_per_unit"]
    assert dict(there.scores) == pytest.approx(
        {name: value for name, value in here.scores.items() if name != "treves_rolls_per_unit"}
    )


def test_zero_rows_and_arguments_out_of_range():
    x = np.ones((3000, 4))
    x[2500] = 0.0
    with pytest.raises(ZeroNormError, match="sparsity") as caught:
        featdiv.sparsity(x)
    assert caught.value.first_row == 2500
    with pytest.raises(InputError, match="sparsity: eps: expected a magnitude between 0 and 1; got 0"):
        featdiv.sparsity(x, eps=0)
