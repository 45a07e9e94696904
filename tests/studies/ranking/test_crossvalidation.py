"""Probes in folds, against scikit-learn fold by fold and a loop over the votes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import featdiv
from featdiv.errors import BudgetExceeded, NotEnoughData
from featdiv.probes import holdout
from featdiv.studies.folds import stratified_folds
from featdiv.studies.ranking.crossvalidation import KNN_K, LINEAR_C, Judgement, knn, linear

MEMORY = 1 << 30


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    return (rng.normal(size=(120, 5)) + 1.2 * np.eye(3, 5)[labels]).astype(np.float32), labels


def votes(train, labels, query, k):
    """The class of most votes exp(cosine/0.07) among the k nearest."""
    cosine = train @ query
    near = np.argsort(-cosine, kind="stable")[:k]
    weights = np.bincount(labels[near], weights=np.exp(cosine[near] / 0.07), minlength=3)
    return int(weights.argmax())


def test_knn_is_a_search_in_the_other_folds_alone(rows):
    x, labels = rows
    folds = stratified_folds(labels, folds=4, repeats=2)
    found = knn(featdiv.open(x), labels, folds, seed=0, memory=MEMORY)
    unit = x.astype(np.float64) / np.linalg.norm(x, axis=1, keepdims=True)
    chosen = iter(found.chosen)
    held = dict.fromkeys((k for k in KNN_K if k < 90), 0)
    for repeat, division in enumerate(folds):
        for fold in range(4):
            train = np.flatnonzero(division != fold)
            scores = {}
            for k in (k for k in KNN_K if k < 90):
                right = [
                    votes(unit[train[train != i]], labels[train[train != i]], unit[i], k) == labels[i] for i in train
                ]
                scores[k] = sum(right)
            best = max(scores, key=scores.get)
            assert next(chosen) == best
            for i in np.flatnonzero(division == fold):
                expected = votes(unit[train], labels[train], unit[i], best) == labels[i]
                assert found.correct[repeat, i] == expected
                for k in held:
                    held[k] += votes(unit[train], labels[train], unit[i], k) == labels[i]
    assert dict(found.curve) == pytest.approx({k: right / 240 for k, right in held.items()})


def test_knn_looks_further_where_the_near_are_all_in_one_fold():
    # Eighty copies of one row in one fold: the first neighbours of each are all held out with it.
    x = np.concatenate([np.tile([[1.0, 0.0]], (80, 1)), np.random.default_rng(0).normal(size=(40, 2))])
    x[:80] += 1e-3 * np.random.default_rng(1).normal(size=(80, 2))
    labels = np.arange(120) % 2
    folds = np.r_[np.zeros(80, int), np.ones(20, int), np.full(20, 2)][None]
    found = knn(featdiv.open(x), labels, folds, seed=0, memory=MEMORY)
    assert found.correct.shape == (1, 120)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    expected = [votes(unit[80:], labels[80:], unit[i], int(found.chosen[0])) == labels[i] for i in range(80)]
    np.testing.assert_array_equal(found.correct[0, :80], expected)


def test_knn_leaves_out_the_k_that_a_fold_is_too_small_for():
    x, labels = np.random.default_rng(0).normal(size=(8, 3)), np.arange(8) % 2
    found = knn(featdiv.open(x), labels, stratified_folds(labels, folds=2), seed=0, memory=MEMORY)
    assert set(found.chosen) <= {1.0}
    with pytest.raises(NotEnoughData, match="at least 2 images outside of each fold; got 1"):
        knn(featdiv.open(x[:2]), labels[:2], np.array([[0, 1]]), seed=0, memory=MEMORY)


def test_linear_is_logistic_regression_at_the_c_chosen(rows):
    x, labels = rows
    folds = stratified_folds(labels, folds=3)
    found = linear(featdiv.open(x), labels, folds, seed=0, memory=MEMORY)
    for fold, C in enumerate(found.chosen):
        held = folds[0] == fold
        model = make_pipeline(StandardScaler(), LogisticRegression(C=C, tol=1e-8, max_iter=5000))
        right = model.fit(x[~held], labels[~held]).predict(x[held]) == labels[held]
        # A row on the border of two classes may fall on either side of it.
        assert (found.correct[0, held] != right).sum() <= 1
    assert found.notes == ()


@pytest.mark.parametrize("classes", [2, 3])
def test_the_curve_of_c_is_what_fits_to_four_fifths_get_right(rows, classes):
    x, labels = rows[0], rows[1] % classes
    folds = stratified_folds(labels, folds=3)
    found = linear(featdiv.open(x), labels, folds, seed=0, memory=MEMORY)
    assert [C for C, _ in found.curve] == list(LINEAR_C)
    # Below that, logits are nearly equal and the tolerance of either solver decides.
    for C, accuracy in found.curve[3:]:
        right = 0
        for fold in range(3):
            outside, held = np.flatnonzero(folds[0] != fold), folds[0] == fold
            kept, _ = holdout.split(labels[outside], 0.2, seed=0, function="test")
            train = outside[kept]
            model = make_pipeline(StandardScaler(), LogisticRegression(C=C, tol=1e-8, max_iter=5000))
            right += int((model.fit(x[train], labels[train]).predict(x[held]) == labels[held]).sum())
        # A row on the border of two classes may fall on either side of it.
        assert accuracy * 120 == pytest.approx(right, abs=1.01)


def test_linear_without_a_choice_has_no_curve():
    x, labels = np.random.default_rng(0).normal(size=(4, 3)), np.arange(4) % 2
    found = linear(featdiv.open(x), labels, np.array([[0, 0, 1, 1]]), seed=0, memory=MEMORY)
    assert found.curve == ()
    assert len(found.chosen) == 2


@pytest.mark.parametrize(("rows_of_each", "folds"), [(2, 5), (3, 3), (4, 2)])
def test_linear_judges_classes_of_so_few_rows_that_none_can_be_held_out(rows_of_each, folds):
    labels = np.repeat(np.arange(6), rows_of_each)
    x = np.random.default_rng(0).normal(size=(len(labels), 6)) + 20.0 * np.eye(6)[labels]
    found = linear(featdiv.open(x), labels, stratified_folds(labels, folds=folds), seed=0, memory=MEMORY)
    assert set(found.chosen) == {1.0}
    assert found.correct.all()


def test_linear_refuses_what_does_not_fit_the_budget(rows):
    x, labels = rows
    with pytest.raises(BudgetExceeded, match=r"featdiv.rank_models: memory: 120 x 5 features"):
        linear(featdiv.open(x), labels, stratified_folds(labels), seed=0, memory=1000)


def test_a_judgement_survives_json():
    correct = np.random.default_rng(0).random((3, 13)) < 0.5
    made = Judgement(correct=correct, chosen=(1.0, 0.1), curve=((1.0, 0.5),), notes=("a note",))
    read = Judgement.from_dict(made.to_dict())
    np.testing.assert_array_equal(read.correct, correct)
    assert (read.chosen, read.curve, read.notes) == (made.chosen, made.curve, made.notes)
