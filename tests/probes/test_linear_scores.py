"""Scores of a linear probe and their intervals, against scikit-learn and counts by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

import featdiv
from featdiv.probes.linear_scores import average_precision, voc_precision
from featdiv.probes.proportion import of_rows


def data(n=600, d=12, c=5, *, seed=0, noise=1.5, offset=0.0):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(c, d))
    labels = random.integers(0, c, size=n)
    x = (centres[labels] + noise * random.normal(size=(n, d))) * np.geomspace(2.0, 0.1, d) + offset
    return x, labels


def reference(x, labels, C, **arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return LogisticRegression(C=C, tol=1e-10, max_iter=50_000, **arguments).fit(x, labels)


def test_the_interval_of_unequal_folds_is_that_of_the_mean_over_them():
    x, labels = data(c=2, n=300, noise=6.0)
    folds = (np.arange(300) >= 60).astype(int)
    probe = featdiv.linear_probe(x, labels, C=[1e-3, 1.0], folds=folds)
    interval, accuracy = probe.intervals["folds_accuracy"], probe.scores["folds_accuracy"]
    # Sixty rows make up half of the mean: it tells as much as 4/(1/60 + 1/240) rows.
    assert interval.standard_error == pytest.approx(np.sqrt(accuracy * (1 - accuracy) * (1 / 60 + 1 / 240) / 4))
    assert accuracy in interval
    grouped = featdiv.linear_probe(x, labels, C=[1e-3, 1.0], folds=folds, groups=np.arange(300))
    assert grouped.scores["folds_accuracy"] == accuracy
    other = grouped.intervals["folds_accuracy"]
    assert other.standard_error == pytest.approx(interval.standard_error, rel=0.1)


def test_top5_counts_the_five_largest_logits():
    x, labels = data(c=9, noise=4.0)
    probe = featdiv.linear_probe(x, labels, C=1.0, test=x, test_labels=labels)
    order = np.argsort(-probe.decision_function(x), axis=1)[:, :5]
    assert probe.scores["test_top5_accuracy"] == (order == labels[:, None]).any(1).mean()


def test_several_labels_a_row_are_as_many_binary_problems():
    x, labels = data(c=4, n=400)
    random = np.random.default_rng(2)
    several = (np.eye(4)[labels] + (random.random((400, 4)) < 0.2) > 0).astype(int)
    probe = featdiv.linear_probe(x[:300], several[:300], C=0.5, test=x[300:], test_labels=several[300:])
    models = [reference(x[:300], several[:300, k], 0.5) for k in range(4)]
    for k, model in enumerate(models):
        np.testing.assert_allclose(probe.coefficients[k], model.coef_[0], atol=1e-4)
        np.testing.assert_allclose(probe.predict_proba(x)[:, k], model.predict_proba(x)[:, 1], atol=1e-5)
    precision = [
        average_precision_score(several[300:, k], model.decision_function(x[300:])) for k, model in enumerate(models)
    ]
    assert probe.scores["test_map"] == pytest.approx(np.mean(precision), abs=1e-9)
    assert list(probe.per_class.values()) == pytest.approx(precision, abs=1e-9)


def test_one_hot_labels_are_remarked_upon():
    x, labels = data(c=4, n=400)
    one_hot = np.eye(4, dtype=int)[labels]
    (note, _) = featdiv.linear_probe(x, one_hot, C=0.5).provenance.notes
    assert note.startswith("every row has exactly one of 4 labels")
    one_hot[0] = 1
    (other,) = featdiv.linear_probe(x, one_hot, C=0.5).provenance.notes
    assert "exactly one" not in other


def test_a_single_c_without_rows_to_judge_on_says_why_there_is_no_accuracy():
    x, labels = data(c=4, n=400)
    probe = featdiv.linear_probe(x, labels, C=0.5)
    assert probe.provenance.notes == (
        "no accuracy: a single C leaves nothing to choose; test=, val= or folds= give rows to judge on",
    )
    judged = featdiv.linear_probe(x[:300], labels[:300], C=0.5, test=x[300:], test_labels=labels[300:])
    assert not judged.provenance.notes


def test_a_column_of_classes_is_no_table_of_labels():
    x, labels = data(c=4, n=400)
    with pytest.raises(featdiv.InputError, match=r"labels: .* got shape \(400, 1\) .* np\.ravel\(labels\)"):
        featdiv.linear_probe(x, labels[:, None], C=0.5)


def test_average_precision_by_hand():
    scores, truth = np.array([4.0, 3.0, 2.0, 1.0]), np.array([1, 0, 1, 0])
    assert average_precision(scores, truth) == pytest.approx((1 + 2 / 3) / 2)
    assert voc_precision(scores, truth) == pytest.approx((6 * 1.0 + 5 * 2 / 3) / 11)
    assert np.isnan(average_precision(scores, np.zeros(4, int)))
    tied = np.array([1.0, 1.0, 0.0])
    assert average_precision(tied, np.array([0, 1, 1])) == pytest.approx(
        average_precision_score([0, 1, 1], tied), abs=1e-12
    )


def test_rows_in_groups_tell_no_more_than_groups_do():
    x, labels = data(n=700)
    copies, names, groups = np.repeat(x[400:], 6, axis=0), np.repeat(labels[400:], 6), np.repeat(np.arange(300), 6)
    arguments = {"test": copies, "test_labels": names, "C": 0.1}
    once = featdiv.linear_probe(x[:400], labels[:400], test=x[400:], test_labels=labels[400:], C=0.1)
    found = featdiv.linear_probe(x[:400], labels[:400], test_groups=groups, **arguments)
    pretended = featdiv.linear_probe(x[:400], labels[:400], **arguments)
    expected, narrow = once.intervals["test_accuracy"], pretended.intervals["test_accuracy"]
    interval = found.intervals["test_accuracy"]
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=0.003)
    assert interval.high - interval.low > 2.0 * (narrow.high - narrow.low)


@pytest.mark.parametrize("arguments", [{"folds": 3}, {"holdout": 0.3}])
def test_folds_and_hold_out_keep_groups_whole(arguments):
    x, labels = data(n=80, noise=6.0)
    # Copies of a row that is on the other side would be learned by heart at a C this large.
    copies, names, groups = np.repeat(x, 6, axis=0), np.repeat(labels, 6), np.repeat(np.arange(80), 6)
    by = next(iter(arguments))
    whole = featdiv.linear_probe(copies, names, groups=groups, C=(1e3, 1e4), **arguments)
    split = featdiv.linear_probe(copies, names, C=(1e3, 1e4), **arguments)
    assert split.scores[f"{by}_accuracy"] > whole.scores[f"{by}_accuracy"] + 0.1
    interval = whole.intervals[f"{by}_accuracy"]
    assert interval.groups == (80 if by == "folds" else sum(round(0.3 * n) for n in np.bincount(labels)))
    assert whole.scores[f"{by}_accuracy"] in interval


def test_top_five_of_groups_is_counted_as_the_logits_say():
    x, labels = data(n=500, c=9, noise=4.0)
    groups = np.arange(200) % 35
    probe = featdiv.linear_probe(
        x[:300], labels[:300], test=featdiv.open(x[300:], labels=labels[300:], groups=groups), C=1.0
    )
    logits = probe.decision_function(x[300:])
    five = np.argsort(-logits, axis=1)[:, :5]
    assert probe.intervals["test_top5_accuracy"] == of_rows((five == labels[300:, None]).any(1), groups)
    assert probe.intervals["test_accuracy"] == of_rows(probe.predict(x[300:]) == labels[300:], groups)
