from __future__ import annotations

import functools
import pickle

import numpy as np
import pytest

from featdiv.errors import InputError, NotEnoughData
from featdiv.stats import ClassMoments, Moments
from featdiv.testing import cases, laws
from featdiv.testing.compare import Errors, assert_close_statistic

exact = functools.partial(ClassMoments.of, precision="float64")


def brute(x, labels) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Classes, counts, means and class scatters in extended precision, one class after the other."""
    x = np.asarray(x, dtype=np.longdouble)
    classes, counts = np.unique(labels, return_counts=True)
    means, scatters = [], []
    for label in classes:
        rows = x[labels == label]
        means.append(rows.mean(axis=0))
        z = rows - means[-1]
        scatters.append(np.einsum("ni,nj->ij", z, z))
    return classes, counts, np.array(means, dtype=np.float64), np.array(scatters, dtype=np.float64)


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("names", [None, ["ant", "bee", "cat", "dragonfly", "eel"]])
def test_laws(per_class, names):
    rows, labels = cases.labelled(120, 6, 5)
    if names:
        labels = np.array(names)[labels]
    laws.check_laws(
        functools.partial(exact, per_class=per_class),
        rows,
        labels,
        empty=ClassMoments.empty(6, per_class=per_class),
    )


def test_laws_of_normalised_rows():
    rows, labels = cases.labelled(120, 6, 5, offset=2.0)
    laws.check_laws(
        functools.partial(exact, normalize="l2"),
        rows,
        labels,
        empty=ClassMoments.empty(6, normalize="l2"),
        translates=False,
    )


def test_hand_table():
    rows = np.array([[0.0, 0.0], [10.0, 1.0], [2.0, 4.0], [10.0, 3.0], [4.0, 2.0]])
    moments = exact(rows, [3, 1, 3, 1, 3], per_class=True)
    assert moments.classes.tolist() == [1, 3]
    assert moments.counts.tolist() == [2, 3]
    assert moments.means.tolist() == [[10.0, 2.0], [2.0, 2.0]]
    assert np.allclose(moments.scatters, [[[0.0, 0.0], [0.0, 2.0]], [[8.0, 4.0], [4.0, 8.0]]], atol=1e-14)
    assert np.allclose(moments.within, [[8.0, 4.0], [4.0, 10.0]], atol=1e-14)
    # Means 10 and 2 about 5.2 with weights 2 and 3; about 6 with weight 2.5 each when balanced.
    assert np.allclose(moments.between(), [[76.8, 0.0], [0.0, 0.0]], atol=1e-12)
    assert np.allclose(moments.between(balanced=True), [[80.0, 0.0], [0.0, 0.0]], atol=1e-12)
    assert (moments.n, moments.d, moments.c) == (5, 2, 2)
    assert np.allclose(moments.mean, [5.2, 2.0], rtol=1e-15)


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("c", [2, 40, 300])
def test_equals_brute_force(per_class, precision, c):
    rows, labels = cases.labelled(900, 12, c, offset=50.0)
    moments = ClassMoments.of(rows, labels, per_class=per_class, precision=precision)
    classes, counts, means, scatters = brute(rows, labels)
    assert (moments.classes == classes).all()
    assert (moments.counts == counts).all()
    assert np.abs(moments.means - means).max() <= 1e-12 * 50.0
    error = Errors.of(moments.within, scatters.sum(axis=0))
    assert max(error.frobenius, error.entrywise) <= moments.error_bound
    if per_class:
        assert max(Errors.of(*pair).entrywise for pair in zip(moments.scatters[:9], scatters, strict=False)) < 2e-6


def test_two_gaussians_have_their_closed_form():
    random = np.random.default_rng(3)
    n, gap = 40_000, 4.0
    labels = random.integers(0, 2, size=n)
    rows = random.normal(size=(n, 3)) * [1.0, 2.0, 0.5]
    rows[:, 0] += gap * labels
    moments = exact(rows, labels)
    # Five standard errors of each estimate.
    assert np.abs(moments.within / n - np.diag([1.0, 4.0, 0.25])).max() < 5 * 4.0 * np.sqrt(2 / n)
    assert moments.between()[0, 0] / n == pytest.approx(gap**2 / 4, abs=5 * gap * np.sqrt(1 / n))
    assert moments.total().covariance[0, 0] == pytest.approx(1.0 + gap**2 / 4, abs=0.1)


def test_within_agrees_with_scikit_learn():
    discriminant = pytest.importorskip("sklearn.discriminant_analysis").LinearDiscriminantAnalysis
    rows, labels = cases.labelled(500, 8, 4)
    theirs = discriminant(solver="lsqr", store_covariance=True).fit(rows, labels)
    moments = exact(rows, labels)
    assert np.allclose(moments.within / moments.n, theirs.covariance_, rtol=1e-10, atol=1e-12)
    assert np.allclose(moments.means, theirs.means_, rtol=1e-12)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_collapsed_classes_keep_their_scatter_where_a_difference_loses_it(precision):
    rows, labels = cases.labelled(2000, 10, 8, within=1e-8, between=1.0, offset=1.0)
    scatters = brute(rows, labels)[3]
    truth = scatters.sum(axis=0)
    moments = ClassMoments.of(rows, labels, precision=precision)
    error = Errors.of(moments.within, truth)
    assert max(error.frobenius, error.entrywise) <= max(moments.error_bound, 1e-7)
    total = exact(rows, np.zeros(len(rows), dtype=int)).within
    by_difference = Errors.of(total - moments.between(), truth)
    assert by_difference.frobenius > 1.0


def test_exactly_collapsed_classes_have_no_scatter():
    rows, labels = cases.labelled(300, 6, 5, within=0.0, offset=0.1)
    for per_class in (False, True):
        assert (ClassMoments.of(rows, labels, per_class=per_class).within == 0.0).all()


@pytest.mark.parametrize("per_class", [False, True])
def test_total_is_the_moments_of_all_rows(per_class):
    rows, labels = cases.labelled(400, 7, 6, offset=1e4)
    total, direct = exact(rows, labels, per_class=per_class).total(), Moments.of(rows, precision="float64")
    assert_close_statistic(total, direct, 1e-10)


def test_moments_of_one_class():
    rows, labels = cases.labelled(400, 7, 6)
    moments = exact(rows, labels, per_class=True)
    for label in (0, 5):
        direct = Moments.of(rows[labels == label], precision="float64")
        assert_close_statistic(moments.moments_of(label), direct, 1e-12)
    with pytest.raises(InputError, match=r"moments_of: label: expected one of the 6 classes \(0, 1, .*; got 17"):
        moments.moments_of(17)
    with pytest.raises(InputError, match=r"Make them with per_class=True"):
        exact(rows, labels).moments_of(0)


def test_merge_is_the_union_of_labels():
    rows, labels = cases.labelled(300, 5, 6)
    left, right = labels < 4, labels >= 3
    left &= np.arange(300) % 2 == 0
    right &= ~left
    both = left | right
    merged = exact(rows[left], labels[left]) + exact(rows[right], labels[right])
    assert merged.classes.tolist() == sorted(set(labels[both].tolist()))
    assert_close_statistic(merged, exact(rows[both], labels[both]), 1e-12)


def test_merge_says_what_does_not_fit():
    a = exact(np.eye(4), [0, 0, 1, 1])
    with pytest.raises(InputError, match=r"ClassMoments\.merge: other: expected d=4 features; got d=3"):
        a.merge(exact(np.eye(3), [0, 0, 1]))
    with pytest.raises(InputError, match=r"expected normalize=None; got 'l2'"):
        a.merge(exact(np.eye(4), [0, 0, 1, 1], normalize="l2"))
    with pytest.raises(InputError, match=r"make both with the same per_class="):
        a.merge(exact(np.eye(4), [0, 0, 1, 1], per_class=True))
    with pytest.raises(InputError, match=r"labels: expected integers as before; got strings"):
        a.merge(exact(np.eye(4), list("aabb")))
    with pytest.raises(InputError, match=r"expected ClassMoments; got Moments"):
        a.merge(Moments.of(np.eye(4)))


def test_the_identity_goes_with_any_kind_of_label():
    a = exact(np.eye(4), list("aabb"))
    assert (ClassMoments.empty(4) + a).classes.tolist() == ["a", "b"]


def test_no_rows_have_no_scatter_between_classes():
    empty = ClassMoments.empty(3)
    with pytest.raises(NotEnoughData, match="expected at least one class; got no rows"):
        empty.between()
    assert empty.total().n == 0


def test_arrays_are_read_only_even_after_pickling():
    moments = exact(*cases.labelled(50, 3, 2), per_class=True)
    for one in (moments, pickle.loads(pickle.dumps(moments))):
        for array in (one.classes, one.counts, one.means, one.within, one.scatters):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"expected classes \(c,\), counts \(c,\).*; got \(2,\), \(3,\)"):
        ClassMoments(classes=np.arange(2), counts=np.arange(3), means=np.zeros((2, 4)), within=np.zeros((4, 4)))


def test_real_embeddings(shared_data):
    rows = np.load(shared_data / "minilm-docstrings.npy", mmap_mode="r")[:6000]
    labels = np.load(shared_data / "minilm-docstrings-labels.npy")[:6000]
    moments = ClassMoments.of(rows, labels)
    truth = np.zeros((rows.shape[1],) * 2)
    for label in np.unique(labels):
        z = rows[labels == label].astype(np.float64)
        z -= z.mean(axis=0)
        truth += z.T @ z
    error = Errors.of(moments.within, truth)
    assert max(error.frobenius, error.entrywise) <= 1e-6
