from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

import featdiv
from featdiv import ClassMoments, InputError, NotEnoughData
from featdiv.testing import cases


def as_published(x, labels, c):
    upper = np.triu_indices(len(x), 1)
    return spearmanr((1 - np.corrcoef(x))[upper], (1 - np.corrcoef(np.eye(c)[labels]))[upper]).statistic


def test_it_is_the_published_formula():
    x, labels = cases.labelled(150, 8, 4, between=0.8, offset=1.0)
    score = featdiv.parc(x, labels)
    assert float(score) == pytest.approx(as_published(x, labels, 4), rel=1e-10)
    assert score.details == {"sample": 150, "rows": 150, "classes": 4}
    assert score.provenance.seed is None


def test_equal_distances_share_a_rank_whatever_the_order_of_features():
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, size=(80, 9)).astype(float)
    bits = bits[bits.std(axis=1) > 0.0]
    labels = rng.integers(0, 3, size=len(bits))
    upper = np.triu_indices(len(bits), 1)
    exact = np.round(1.0 - np.corrcoef(bits)[upper], 9)
    truth = spearmanr(exact, labels[upper[0]] != labels[upper[1]]).statistic
    for changed in (bits, bits[:, rng.permutation(9)], 3.0 * bits):
        assert float(featdiv.parc(changed, labels)) == pytest.approx(truth, abs=1e-12)


def test_a_sample_is_stated_and_seeded():
    x, labels = cases.labelled(400, 8, 4, between=0.8)
    score = featdiv.parc(x, labels, sample=100, seed=3)
    chosen = np.sort(np.random.default_rng(3).choice(400, 100, replace=False))
    assert float(score) == pytest.approx(as_published(x[chosen], labels[chosen], 4), rel=1e-10)
    assert score.provenance.notes == ("a sample of 100 of 400 rows",)
    assert score.provenance.seed == 3


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, y: featdiv.parc(x, np.arange(60)), NotEnoughData, "parc: every class has one row"),
        (lambda x, y: featdiv.parc(x, y * 0), NotEnoughData, "parc: it compares classes"),
        (lambda x, y: featdiv.parc(np.ones_like(x), y), NotEnoughData, "parc: a correlation needs features"),
        (lambda x, y: featdiv.parc(x, y, sample=2), InputError, "parc: sample: expected 3 rows or more"),
        (lambda x, y: featdiv.parc(ClassMoments.of(x, y)), InputError, "parc: x: expected labelled rows"),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    x, labels = cases.labelled(60, 4, 3)
    with pytest.raises(error, match=message):
        call(x, labels)
