from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

import featdiv
from featdiv import ClassMoments, InputError, NotEnoughData
from featdiv.metrics.transferability.gbc import Variances, from_variances
from featdiv.testing import cases


def as_published(x, labels, *, spherical=False):
    names = np.unique(labels)
    total = 0.0
    for a in names:
        for b in names:
            if a == b:
                continue
            mu, nu = x[labels == a].mean(axis=0), x[labels == b].mean(axis=0)
            v, w = x[labels == a].var(axis=0), x[labels == b].var(axis=0)
            if spherical:
                v, w = np.full_like(v, v.mean()), np.full_like(w, w.mean())
            m = (v + w) / 2
            distance = ((mu - nu) ** 2 / m).sum() / 8 + 0.5 * np.log(m.prod() / np.sqrt(v.prod() * w.prod()))
            total -= np.exp(-distance)
    return total


@pytest.mark.parametrize("definition", ["diagonal", "spherical"])
def test_it_is_the_published_formula(definition):
    x, labels = cases.labelled(400, 6, 5, between=0.6, offset=5.0)
    x *= 1.0 + 0.3 * labels[:, None]
    expected = as_published(x, labels, spherical=definition == "spherical")
    assert float(featdiv.gbc(x, labels, definition=definition)) == pytest.approx(expected, rel=1e-9)


def test_it_is_the_overlap_of_two_normal_densities():
    x = np.array([[-1.0], [1.0], [0.0], [6.0]])  # N(0, 1) and N(3, 9)
    overlap, _ = quad(lambda t: np.sqrt(norm.pdf(t, 0, 1) * norm.pdf(t, 3, 3)), -30, 30)
    assert float(featdiv.gbc(x, ["a", "a", "b", "b"])) == pytest.approx(-2 * overlap, rel=1e-7)


def test_equal_classes_overlap_wholly():
    x = np.tile(np.random.default_rng(0).normal(size=(20, 3)), (3, 1))
    assert float(featdiv.gbc(x, np.repeat([0, 1, 2], 20))) == pytest.approx(-6.0, rel=1e-9)


def test_a_feature_that_is_constant_everywhere_takes_no_part():
    x, labels = cases.labelled(200, 4, 3, between=0.5)
    x = np.hstack([x, np.full((200, 1), 7.0)])
    assert float(featdiv.gbc(x, labels)) == pytest.approx(as_published(x[:, :4], labels), rel=1e-9)


def test_a_feature_that_is_constant_in_one_class_keeps_it_apart():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 2))
    labels = np.repeat([0, 1, 2], 30)
    x[labels == 0, 1] = 0.0
    rest = labels > 0
    assert float(featdiv.gbc(x, labels)) == pytest.approx(as_published(x[rest], labels[rest]), rel=1e-9)


def test_stable_transfer_bounds_variances_as_the_code_of_the_authors_does():
    rng = np.random.default_rng(0)
    x = np.abs(rng.normal(size=(90, 4))) * [1.0, 1.0, 0.005, 1.0]
    labels = np.repeat([0, 1, 2], 30)
    x[labels == 0, 1] = 0.0
    means = [x[labels == k].mean(axis=0) for k in range(3)]
    variances = [np.maximum(x[labels == k].var(axis=0), 1e-4) for k in range(3)]
    expected = 0.0
    for a in range(3):
        for b in set(range(3)) - {a}:
            middle = (variances[a] + variances[b]) / 2
            distance = ((means[a] - means[b]) ** 2 / middle).sum() / 8
            distance += 0.5 * (np.log(middle) - 0.5 * np.log(variances[a]) - 0.5 * np.log(variances[b])).sum()
            expected -= np.exp(-distance)
    assert float(featdiv.gbc(x, labels, definition="stable-transfer")) == pytest.approx(expected, rel=1e-9)
    assert "stable_transfer" in featdiv.gbc(x, labels, definition="stable-transfer").cite()


@pytest.mark.parametrize(("memory", "passes"), [(None, 1), (5000, 2)])
def test_the_table_says_how_many_pairs_a_constant_keeps_apart(memory, passes):
    x, labels = cases.labelled(200, 6, 4, between=0.5)
    arguments = {"metrics": ["logme", "gbc"], "memory": memory, "interval": None}
    assert featdiv.transferability(x, labels, **arguments).provenance.passes == passes
    assert not any(note.startswith("gbc") for note in featdiv.transferability(x, labels, **arguments).provenance.notes)
    x = np.hstack([x[:, :5], np.zeros((200, 1))])
    x[np.flatnonzero(labels == 2)[0], 5] = 1.0
    notes = featdiv.transferability(x, labels, **arguments).provenance.notes
    assert sum(note.startswith("gbc: 3 of 6 pairs of classes count as wholly apart") for note in notes) == 1


@pytest.mark.parametrize("definition", ["diagonal", "spherical"])
def test_no_overlap_at_all_is_zero_without_a_sign(definition):
    value = float(featdiv.gbc(np.array([[0.0], [0.0], [5.0], [5.0]]), [0, 0, 1, 1], definition=definition))
    assert (value, math.copysign(1.0, value)) == (0.0, 1.0)


@pytest.mark.parametrize("constant", [0.1, 1 / 3, 12345.678])
def test_a_constant_that_rounds_is_still_a_constant(constant):
    x, labels = cases.labelled(2000, 4, 3, between=0.5)
    more = np.hstack([x, np.full((2000, 1), constant)])
    assert float(featdiv.gbc(more, labels)) == pytest.approx(as_published(x, labels), rel=1e-9)


def test_a_second_reading_gives_what_the_scatters_give():
    x, labels = cases.labelled(5000, 6, 5, between=0.6, offset=50.0)
    classes = ClassMoments.of(x, labels, precision="float64")
    found = Variances(classes)
    for part in (slice(700), slice(700, None)):
        found.add(x[part], labels[part])
    value = from_variances(classes, found.result())
    assert value == pytest.approx(as_published(x, labels), rel=1e-9)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, y: featdiv.gbc(x, np.r_[y[:-1], 77]), NotEnoughData, "needs 2 rows; class 77 has 1"),
        (lambda x, y: featdiv.gbc(x, y * 0), NotEnoughData, "gbc: it compares classes"),
        (lambda x, y: featdiv.gbc(ClassMoments.of(x, y)), InputError, "per_class=True"),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    x, labels = cases.labelled(60, 4, 3)
    with pytest.raises(error, match=message):
        call(x, labels)
