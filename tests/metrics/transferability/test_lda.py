"""The leave-one-out discriminant against refits without each row, and against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import multivariate_normal
from scipy.stats import t as student_t
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import featdiv
from featdiv import ClassMoments, InputError, NotEnoughData
from featdiv.metrics.transferability.shrinkage import oracle_approximating
from featdiv.testing import cases


def refitted(x, labels, shrinkage):
    """Mean log probability and accuracy over refits without each row; the ridge is that of all rows."""
    names = np.unique(labels)
    d = x.shape[1]
    gaps = x - np.array([x[labels == label].mean(axis=0) for label in names])[np.searchsorted(names, labels)]
    ridge = shrinkage * np.trace(gaps.T @ gaps) / d
    each, correct = [], 0
    for i in range(len(x)):
        if (labels == labels[i]).sum() == 1:
            continue
        keep = np.arange(len(x)) != i
        rest, known = x[keep], labels[keep]
        means = [rest[known == label].mean(axis=0) for label in names]
        within = sum(
            (rest[known == label] - m).T @ (rest[known == label] - m) for label, m in zip(names, means, strict=True)
        )
        covariance = ((1 - shrinkage) * within + ridge * np.eye(d)) / (len(rest) - len(names))
        logits = [
            multivariate_normal.logpdf(x[i], m, covariance) + np.log((known == label).mean())
            for label, m in zip(names, means, strict=True)
        ]
        own = int(np.searchsorted(names, labels[i]))
        each.append(log_softmax(logits)[own])
        correct += int(np.argmax(logits) == own)
    return np.array(each), correct / len(x)


@pytest.mark.parametrize(("n", "d", "c"), [(80, 5, 3), (40, 50, 3)])
@pytest.mark.parametrize("shrinkage", [None, 0.3])
def test_it_is_what_refits_without_each_row_say(n, d, c, shrinkage):
    x, labels = cases.labelled(n, d, c, between=0.5, offset=10.0)
    score = featdiv.lda(x, labels, shrinkage=shrinkage)
    likelihood, accuracy = refitted(x, labels, score.details["shrinkage"])
    assert float(score) == pytest.approx(likelihood.mean(), rel=1e-8)
    assert score.scores["lda_accuracy"] == pytest.approx(accuracy)
    assert score.provenance.passes == 2
    interval = score.intervals["lda"]
    error = likelihood.std(ddof=1) / np.sqrt(len(likelihood))
    assert interval.standard_error == pytest.approx(error, rel=1e-6)
    half = student_t.ppf(0.975, len(likelihood) - 1) * error
    assert (interval.low, interval.high) == pytest.approx((float(score) - half, float(score) + half), rel=1e-6)


def test_the_error_over_groups_is_that_of_what_refits_say_of_them():
    x, labels = cases.labelled(80, 5, 3, between=0.5)
    groups = np.arange(80) % 27
    score = featdiv.lda(x, labels, groups=groups)
    likelihood, _ = refitted(x, labels, score.details["shrinkage"])
    residuals = [(likelihood[groups == g] - likelihood.mean()).sum() for g in range(27)]
    error = np.sqrt(27 / 26 * np.square(residuals).sum()) / 80
    interval = score.intervals["lda"]
    assert interval.standard_error == pytest.approx(error, rel=1e-6)
    assert interval.high - interval.low == pytest.approx(2 * student_t.ppf(0.975, 26) * error, rel=1e-6)
    assert (interval.groups, interval.method) == (27, "standard error over groups")
    carried = featdiv.lda(featdiv.open(x, labels=labels, groups=groups))
    assert carried.intervals == score.intervals


def test_one_group_cannot_tell_how_groups_differ():
    x, labels = cases.labelled(80, 5, 3, between=0.5)
    assert featdiv.lda(x, labels, groups=np.zeros(80, dtype=int)).intervals == {}


def test_without_shrinkage_refits_by_scikit_learn_choose_the_same_labels():
    x, labels = cases.labelled(90, 4, 3, between=0.6)
    hits = 0
    for i in range(90):
        keep = np.arange(90) != i
        hits += LinearDiscriminantAnalysis().fit(x[keep], labels[keep]).predict(x[i : i + 1])[0] == labels[i]
    assert featdiv.lda(x, labels, shrinkage=0.0).scores["lda_accuracy"] == pytest.approx(hits / 90)


def test_the_shrinkage_is_that_of_chen_2010():
    # S = diag(3, 1), 10 degrees: Tr S^2 = 10, (Tr S)^2 = 16, and 1 - 2/d = 0: 16/(10 (10 - 8)).
    assert oracle_approximating(10.0 * np.diag([3.0, 1.0]), 10) == pytest.approx(0.8)
    assert oracle_approximating(np.eye(5), 100) == 1.0


def test_a_row_alone_in_its_class_counts_as_wrong():
    x, labels = cases.labelled(60, 3, 2, between=4.0)
    labels[5] = 9
    score = featdiv.lda(x, labels)
    likelihood, accuracy = refitted(x, labels, score.details["shrinkage"])
    assert score.details["alone"] == 1
    assert float(score) == pytest.approx(likelihood.mean(), rel=1e-8)
    assert score.scores["lda_accuracy"] == pytest.approx(accuracy)


def test_rows_read_in_chunks_and_ignored_rows():
    x, labels = cases.labelled(300, 5, 3, between=0.5)
    expected = float(featdiv.lda(x, labels))
    chunked = featdiv.open(x, labels=labels, chunk_rows=70)
    assert float(featdiv.lda(chunked)) == pytest.approx(expected, rel=1e-10)
    labels = np.r_[labels, [-1] * 20]
    more = np.r_[x, np.full((20, 5), 1e3)]
    assert float(featdiv.lda(more, labels, ignore=-1)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, y: featdiv.lda(x, y * 0), NotEnoughData, "lda: it compares classes"),
        (lambda x, y: featdiv.lda(x[:4], [0, 1, 2, 3]), NotEnoughData, "lda: a covariance within classes"),
        (lambda x, y: featdiv.lda(np.eye(3)[y], y), NotEnoughData, "lda: every class is a point"),
        (lambda x, y: featdiv.lda(x, y, shrinkage=1.5), InputError, "lda: shrinkage: expected a share"),
        (lambda x, y: featdiv.lda(ClassMoments.of(x, y)), InputError, "lda: x: expected labelled rows"),
        (lambda x, y: featdiv.lda(iter([x]), y), InputError, "leaving out each row takes a second reading"),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    x, labels = cases.labelled(60, 4, 3)
    with pytest.raises(error, match=message):
        call(x, labels)
