"""The ridge probe against scikit-learn's ridge, its leave-one-out and refits without each row."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeClassifier, RidgeCV

import featdiv
from featdiv import ClassMoments, InputError, NotEnoughData
from featdiv.probes.proportion import of_rows
from featdiv.testing import cases

LAMBDAS = [0.1, 3.0, 100.0]


@pytest.mark.parametrize(("n", "d", "c"), [(120, 8, 4), (40, 60, 3), (100, 5, 2)])
def test_coefficients_and_predictions_are_those_of_scikit_learn(n, d, c):
    x, labels = cases.labelled(n, d, c, between=0.7, offset=4.0)
    new, _ = cases.labelled(50, d, c, seed=1)
    probe = featdiv.ridge_probe(x, labels, lambdas=[3.0])
    one_hot = Ridge(alpha=3.0).fit(x, np.eye(c)[labels])
    assert probe.coefficients == pytest.approx(one_hot.coef_.T, rel=1e-7, abs=1e-9)
    assert probe.intercept == pytest.approx(one_hot.intercept_, rel=1e-7, abs=1e-8)
    assert probe.predict(new).tolist() == RidgeClassifier(alpha=3.0).fit(x, labels).predict(new).tolist()


@pytest.mark.parametrize(("n", "d", "c"), [(90, 6, 3), (40, 60, 3)])
def test_leave_one_out_is_what_refits_without_each_row_predict(n, d, c):
    x, labels = cases.labelled(n, d, c, between=0.5)
    probe = featdiv.ridge_probe(x, labels, lambdas=LAMBDAS)
    for strength, found in zip(LAMBDAS, probe.loo, strict=True):
        right = 0
        for i in range(n):
            keep = np.arange(n) != i
            fitted = Ridge(alpha=strength).fit(x[keep], np.eye(c)[labels[keep]])
            right += int(fitted.predict(x[i : i + 1])[0].argmax() == labels[i])
        assert found == pytest.approx(right / n)


def test_leave_one_out_of_targets_is_that_of_ridge_cv():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(150, 10)) + 2.0
    y = x @ rng.normal(size=(10, 2)) + rng.normal(size=(150, 2))
    probe = featdiv.ridge_probe(x, targets=y, lambdas=LAMBDAS)
    reference = RidgeCV(alphas=LAMBDAS, store_cv_results=True).fit(x, y)
    errors = reference.cv_results_.sum(axis=0)
    spread = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    assert probe.loo == pytest.approx((1 - errors / spread[:, None]).mean(axis=0), rel=1e-9)
    assert probe.best_lambda == reference.alpha_
    assert probe.predict(x[:5]) == pytest.approx(Ridge(alpha=reference.alpha_).fit(x, y).predict(x[:5]), rel=1e-8)


def test_generalised_cross_validation_is_its_formula():
    x, labels = cases.labelled(80, 6, 3, between=0.5)
    probe = featdiv.ridge_probe(ClassMoments.of(x, labels, precision="float64"), lambdas=LAMBDAS)
    y, centred = np.eye(3)[labels], x - x.mean(axis=0)
    for strength, gcv, degrees in zip(LAMBDAS, probe.gcv, probe.degrees_of_freedom, strict=True):
        hat = centred @ np.linalg.solve(centred.T @ centred + strength * np.eye(6), centred.T) + 1 / 80
        assert degrees == pytest.approx(np.trace(hat))
        assert gcv == pytest.approx(((y - hat @ y) ** 2).sum() / 80 / (1 - np.trace(hat) / 80) ** 2, rel=1e-9)
    assert probe.loo is None
    assert probe.chosen_by == "gcv"
    assert probe.chosen == int(np.argmin(probe.gcv))


def test_validation_chooses_and_test_judges():
    x, labels = cases.labelled(600, 12, 4, between=0.4, seed=2)
    parts = slice(0, 200), slice(200, 400), slice(400, 600)
    train, val, test = ((x[part], labels[part]) for part in parts)
    probe = featdiv.ridge_probe(
        *train, val=val[0], val_labels=val[1], test=test[0], test_labels=test[1], lambdas=LAMBDAS
    )
    accuracies = [RidgeClassifier(alpha=a).fit(*train).score(*val) for a in LAMBDAS]
    assert probe.val == pytest.approx(accuracies)
    best = max(range(3), key=lambda i: (accuracies[i], i))
    assert (probe.chosen, probe.chosen_by) == (best, "validation")
    fitted = RidgeClassifier(alpha=LAMBDAS[best]).fit(*train)
    assert probe.scores["test_accuracy"] == pytest.approx(fitted.score(*test))
    predicted = fitted.predict(test[0])
    per_class = [(predicted[test[1] == k] == k).mean() for k in range(4)]
    assert probe.per_class == pytest.approx(per_class)
    assert probe.scores["test_mean_per_class"] == pytest.approx(np.mean(per_class))
    assert probe.scores["test_accuracy"] in probe.intervals["test_accuracy"]
    assert not any("optimistic" in note for note in probe.provenance.notes)


def test_rows_in_groups_tell_no_more_than_groups_do():
    x, labels = cases.labelled(600, 12, 4, between=0.3, seed=2)
    parts = slice(0, 200), slice(200, 400), slice(400, 600)
    train, val, test = ((x[part], labels[part]) for part in parts)
    groups = np.arange(200) % 45
    probe = featdiv.ridge_probe(
        *train, val=val[0], val_labels=val[1], test=featdiv.open(test[0], labels=test[1], groups=groups),
        groups=groups, val_groups=groups, lambdas=LAMBDAS,
    )  # fmt: skip
    assert probe.intervals["test_accuracy"] == of_rows(probe.predict(test[0]) == test[1], groups)
    assert probe.intervals["val_accuracy"] == of_rows(probe.predict(val[0]) == val[1], groups)
    right = np.empty(200, dtype=bool)
    for i in range(200):
        keep = np.arange(200) != i
        model = RidgeClassifier(alpha=probe.best_lambda).fit(train[0][keep], train[1][keep])
        right[i] = model.predict(train[0][i : i + 1])[0] == train[1][i]
    assert probe.intervals["loo_accuracy"] == of_rows(right, groups)
    assert probe.intervals["loo_accuracy"].method == "Wilson, rows in groups"


def test_the_default_path_follows_the_units_of_the_rows():
    x, labels = cases.labelled(200, 8, 3, between=0.5)
    probe, scaled = featdiv.ridge_probe(x, labels), featdiv.ridge_probe(1000.0 * x, labels)
    assert scaled.loo == pytest.approx(probe.loo)
    assert scaled.lambdas == pytest.approx(1e6 * probe.lambdas)
    assert len(probe.lambdas) == 19


def test_text_labels_ignored_rows_and_unit_rows():
    x, labels = cases.labelled(200, 8, 3, between=1.0)
    names = np.array(["ant", "bee", "cow"])[labels]
    names[::9] = "?"
    kept = names != "?"
    probe = featdiv.ridge_probe(x, names, ignore="?", normalize="l2", lambdas=[0.5])
    unit = x[kept] / np.linalg.norm(x[kept], axis=1, keepdims=True)
    assert (
        probe.predict(x).tolist()
        == RidgeClassifier(alpha=0.5)
        .fit(unit, names[kept])
        .predict(x / np.linalg.norm(x, axis=1, keepdims=True))
        .tolist()
    )


def test_the_result_has_a_table_a_picture_and_says_how_it_chose():
    x, labels = cases.labelled(100, 4, 3, between=1.0)
    probe = featdiv.ridge_probe(x, labels)
    assert [line["loo"] for line in probe.table()] == pytest.approx(probe.loo)
    (ax,) = probe.plot().axes[:1]
    assert ax.get_xscale() == "log"
    assert "optimistic" in probe.provenance.notes[-1]
    assert probe.provenance.passes == 2
    assert "leave-one-out" in repr(probe)
    assert probe.to_dict()["chosen_by"] == "leave-one-out"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, y: featdiv.ridge_probe(x, y * 0), NotEnoughData, "ridge_probe: it compares classes"),
        (lambda x, y: featdiv.ridge_probe(x * 0, y), NotEnoughData, "ridge_probe: all rows are equal"),
        (lambda x, y: featdiv.ridge_probe(x, y, lambdas=[0.0]), InputError, "lambdas: expected positive numbers"),
        (lambda x, y: featdiv.ridge_probe(x, y, lambdas="weak"), InputError, "lambdas: expected positive numbers"),
        (lambda x, y: featdiv.ridge_probe(x, y, targets=y), InputError, "labels: expected None with targets"),
        (lambda x, y: featdiv.ridge_probe(x, y, test=x), InputError, "test_labels: expected labels of the rows"),
        (lambda x, y: featdiv.ridge_probe(x, y, val_labels=y), InputError, "expected the rows in val= too"),
        (lambda x, y: featdiv.ridge_probe(x, y, test_groups=y), InputError, "test_groups: expected the rows in test="),
        (
            lambda x, y: featdiv.ridge_probe(featdiv.ClassMoments.of(x, y), groups=y),
            InputError,
            "groups: expected None with ClassMoments",
        ),
        (lambda x, y: featdiv.ridge_probe(x, y, test=x, test_targets=y), InputError, "expected test_labels"),
        (
            lambda x, y: featdiv.ridge_probe(x, y, test=x, test_labels=y + 5),
            InputError,
            "test_labels: expected classes that train has; got 7 in 60 rows",
        ),
        (
            lambda x, y: featdiv.ridge_probe(x, y, test=x[:, :2], test_labels=y),
            InputError,
            "test: expected 4 features, like train; got 2",
        ),
        (lambda x, y: featdiv.ridge_probe(iter([x]), y), InputError, "leave_one_out=True takes a second reading"),
        (lambda x, y: featdiv.ridge_probe(x, np.where(y, y, -1)), InputError, "-1, which marks a missing label"),
        (lambda x, y: featdiv.ridge_probe(x, targets=np.ones(60)), NotEnoughData, "target 0 is the same for every row"),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    x, labels = cases.labelled(60, 4, 3)
    with pytest.raises(error, match=message):
        call(x, labels)
