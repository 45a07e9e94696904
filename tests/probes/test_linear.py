"""`featdiv.linear_probe` against scikit-learn, closed forms and its own parts done separately."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import featdiv
from featdiv.probes.linear import DINOV2_C

GRID = (1e-4, 1e-2, 1.0, 100.0)


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


def objective(x, labels, coefficients, intercept, C, weights=None):
    """The objective of scikit-learn, in float64, from scratch."""
    z = x @ coefficients.T + intercept
    classes, numbers = np.unique(labels, return_inverse=True)
    if len(classes) == 2:
        loss = np.logaddexp(0.0, np.where(numbers == 1, -z[:, 0], z[:, 0]))
    else:
        top = z.max(1)
        loss = top + np.log(np.exp(z - top[:, None]).sum(1)) - z[np.arange(len(z)), numbers]
    weights = np.ones(len(z)) if weights is None else weights
    return C * (weights * loss).sum() + 0.5 * (coefficients**2).sum()


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("intercept", [True, False])
def test_every_c_reaches_the_optimum_of_scikit_learn(classes, intercept):
    x, labels = data(c=classes)
    probe = featdiv.linear_probe(x, labels, C=GRID, holdout=None, intercept=intercept)
    assert probe.converged
    for place, C in enumerate(GRID):
        theirs = reference(x, labels, C, fit_intercept=intercept)
        known = objective(x, labels, theirs.coef_, theirs.intercept_, C)
        own = objective(x, labels, probe.path_coefficients[place], probe.path_intercepts[place], C)
        assert own <= known * (1 + 1e-9)
        assert probe.path[place].objective == pytest.approx(own, rel=1e-12)
        scale = np.abs(theirs.coef_).max()
        np.testing.assert_allclose(probe.path_coefficients[place], theirs.coef_, atol=1e-3 * scale)


def test_the_stated_gap_bounds_the_real_one():
    x, labels = data()
    probe = featdiv.linear_probe(x, labels, C=GRID, holdout=None, tol=1e-4, intercept=False)
    for fitted in probe.path:
        theirs = reference(x, labels, fitted.C, fit_intercept=False)
        known = objective(x, labels, theirs.coef_, theirs.intercept_, fitted.C)
        assert (fitted.objective - known) / known <= fitted.gap * (1 + 1e-6) + 1e-9


def test_a_large_offset_does_not_hurt_although_products_start_in_float32():
    x, labels = data(offset=300.0)
    x = x.astype(np.float32)
    probe = featdiv.linear_probe(x, labels, C=[1.0], standardize=False)
    exact = x.astype(np.float64)
    theirs = reference(exact - exact.mean(0), labels, 1.0)
    np.testing.assert_allclose(probe.coefficients, theirs.coef_, atol=1e-3 * np.abs(theirs.coef_).max())


def test_standardised_weights_are_told_in_the_units_of_the_rows():
    x, labels = data()
    scaler = StandardScaler().fit(x)
    theirs = reference(scaler.transform(x), labels, 0.1)
    probe = featdiv.linear_probe(x, labels, C=0.1, standardize=True)
    np.testing.assert_allclose(probe.coefficients, theirs.coef_ / scaler.scale_, atol=1e-4)
    np.testing.assert_allclose(probe.predict_proba(x), theirs.predict_proba(scaler.transform(x)), atol=1e-5)
    # Deviations are those of float64, and so is the penalty that they scale.
    weights, intercept = probe.coefficients * scaler.scale_, probe.intercept + probe.coefficients @ scaler.mean_
    own = objective(scaler.transform(x), labels, weights, intercept, 0.1)
    assert probe.path[0].objective == pytest.approx(own, rel=1e-12)


def test_a_constant_feature_gets_no_weight_when_standardised():
    x, labels = data()
    x[:, 3] = 7.0
    probe = featdiv.linear_probe(x, labels, C=1.0, standardize=True)
    assert np.abs(probe.coefficients[:, 3]).max() < 1e-12


@pytest.mark.parametrize("class_weight", ["balanced", {0: 3.0, 2: 0.5}])
def test_class_weights_are_those_of_scikit_learn(class_weight):
    x, labels = data(c=3)
    keep = (labels != 1) | (np.arange(len(labels)) % 4 == 0)
    x, labels = x[keep], labels[keep]
    probe = featdiv.linear_probe(x, labels, C=1.0, class_weight=class_weight)
    theirs = reference(x, labels, 1.0, class_weight=class_weight)
    np.testing.assert_allclose(probe.coefficients, theirs.coef_, atol=1e-4)


def test_separable_rows_at_a_huge_c_end_with_finite_weights_and_a_certificate():
    x, labels = data(n=90, c=3, noise=0.01)
    probe = featdiv.linear_probe(x, labels, C=[1e5], max_iter=3000)
    assert np.isfinite(probe.coefficients).all()
    assert (probe.predict(x) == labels).all()
    assert probe.converged
    assert probe.path[0].decrement <= 1e-11


def test_what_has_not_converged_is_marked_and_warned_of():
    x, labels = data()
    with pytest.warns(featdiv.ConvergenceWarning, match=r"not converged: C = 1e\+04"):
        probe = featdiv.linear_probe(x, labels, C=[1e-6, 1e4], holdout=None, max_iter=3)
    assert [fitted.converged for fitted in probe.path] == [True, False]
    assert not probe.converged
    assert "not converged: C = 1e+04" in probe.provenance.notes


def test_gradients_are_those_of_finite_differences():
    from featdiv import io
    from featdiv.probes.linear_loss import Objective, Problems
    from featdiv.probes.linear_rows import Rows

    x, labels = data(n=50, d=4, c=3)
    random = np.random.default_rng(1)
    rows = Rows([io.open(x)], device=torch.device("cpu"), keep_bytes=1 << 20, normalize=None, function="test")
    mean, moment = rows.moments("train")
    problems = Problems(
        C=torch.tensor([0.3, 5.0], dtype=torch.float64),
        subset=torch.tensor([0, 1]),
        label=torch.tensor([0, 0]),
        targets=torch.from_numpy(labels),
        weights=torch.from_numpy(random.uniform(0.0, 2.0, size=(50, 2))),
        classes=3,
    )
    whole = Objective(
        rows, problems, center=mean, scale=torch.ones_like(mean) * 2.0, second_moment=moment, intercept=True
    )
    theta = torch.from_numpy(random.normal(size=(2, 15)))
    index, wide = torch.arange(2), torch.ones(2, dtype=torch.bool)
    _, gradient = whole.evaluate(theta, index, wide)
    for place in range(15):
        step = torch.zeros_like(theta)
        step[:, place] = 1e-6
        difference = whole.evaluate(theta + step, index, wide)[0] - whole.evaluate(theta - step, index, wide)[0]
        torch.testing.assert_close(difference / 2e-6, gradient[:, place], rtol=1e-5, atol=1e-7)


def test_folds_that_share_every_pass_give_what_separate_fits_give():
    x, labels = data()
    folds = np.arange(len(x)) % 3
    probe = featdiv.linear_probe(x, labels, C=[0.01, 1.0], folds=folds)
    for place, C in enumerate([0.01, 1.0]):
        right = [
            (reference(x[folds != k], labels[folds != k], C).predict(x[folds == k]) == labels[folds == k]).mean()
            for k in range(3)
        ]
        assert probe.path[place].selection == pytest.approx(np.mean(right), abs=1e-12)


def test_a_fold_without_one_class_leaves_that_class_out():
    x, labels = data(c=4)
    folds = np.where(labels == 2, 0, np.arange(len(labels)) % 2)
    probe = featdiv.linear_probe(x, labels, C=[1.0], folds=folds)
    first = reference(x[folds != 0], labels[folds != 0], 1.0).predict(x[folds == 0]) == labels[folds == 0]
    second = reference(x[folds != 1], labels[folds != 1], 1.0).predict(x[folds == 1]) == labels[folds == 1]
    assert probe.path[0].selection == pytest.approx((first.mean() + second.mean()) / 2, abs=1e-12)


def test_a_fold_whose_other_rows_are_of_one_class_predicts_that_class():
    # Of two classes, the fit to one alone has its minimum at an endless intercept: it is known, and not searched for.
    x, labels = data(n=120, c=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", featdiv.ConvergenceWarning)
        probe = featdiv.linear_probe(x, labels, C=[0.01, 100.0], folds=labels)
    assert [(fitted.objective, fitted.gap, fitted.selection) for fitted in probe.path] == [(0.0, 0.0, 0.0)] * 2
    several = np.stack([labels, np.arange(120) < 4], axis=1)
    folds = np.arange(120) // 24
    both = featdiv.linear_probe(x, several, C=[0.01, 1.0], folds=folds)
    alone = featdiv.linear_probe(x, several[:, :1], C=[0.01, 1.0], folds=folds)
    assert both.converged
    for found, single in zip(both.path, alone.path, strict=True):
        # The second label is in the first fold alone, and known with certainty outside of it.
        outside = [featdiv.linear_probe(x[folds != k], several[folds != k], C=found.C).path[0] for k in range(1, 5)]
        inside = featdiv.linear_probe(x[folds != 0], several[folds != 0, :1], C=found.C).path[0]
        expected = np.mean([*(fit.objective for fit in outside), inside.objective])
        assert found.objective == pytest.approx(expected, rel=1e-9)
        assert single.objective < found.objective


def test_the_chosen_c_is_fitted_to_train_and_val_and_judged_on_test():
    x, labels = data(n=900)
    parts = [slice(0, 500), slice(500, 700), slice(700, 900)]
    (train, a), (val, b), (test, c) = [(x[part], labels[part]) for part in parts]
    probe = featdiv.linear_probe(train, a, val=val, val_labels=b, test=test, test_labels=c, C=GRID)
    on_val = [(reference(train, a, C).predict(val) == b).mean() for C in GRID]
    assert [fitted.selection for fitted in probe.path] == pytest.approx(on_val, abs=1e-12)
    assert GRID[int(np.argmax(on_val))] == probe.C
    theirs = reference(np.concatenate([train, val]), np.concatenate([a, b]), probe.C)
    np.testing.assert_allclose(probe.coefficients, theirs.coef_, atol=1e-3)
    found = theirs.predict(test)
    assert probe.scores["test_accuracy"] == (found == c).mean()
    assert probe.scores["test_mean_per_class"] == pytest.approx(
        np.mean([(found == k)[c == k].mean() for k in range(5)])
    )
    assert probe.scores["test_accuracy"] in probe.intervals["test_accuracy"]
    assert probe.per_class[0] == pytest.approx((found == 0)[c == 0].mean())


def test_the_order_and_repetition_of_c_change_nothing():
    x, labels = data()
    one = featdiv.linear_probe(x, labels, C=[1.0, 0.01, 1.0, 100.0])
    other = featdiv.linear_probe(x, labels, C=[0.01, 1.0, 100.0])
    assert [fitted.C for fitted in one.path] == [0.01, 1.0, 100.0]
    assert one.scores == other.scores


def test_strings_and_integers_label_alike():
    x, labels = data(c=3)
    names = np.array(["ant", "bee", "cow"])[labels]
    one, other = (featdiv.linear_probe(x, known, C=1.0) for known in (names, labels))
    assert (one.predict(x) == np.array(["ant", "bee", "cow"])[other.predict(x)]).all()


@pytest.mark.parametrize("kind", ["npy", "float16", "bfloat16", "chunks"])
def test_sources_that_are_read_in_chunks_give_what_arrays_give(kind, tmp_path):
    x, labels = data()
    x = x.astype(np.float16).astype(np.float32)
    if kind == "npy":
        np.save(tmp_path / "x.npy", x)
        source, memory = tmp_path / "x.npy", 2e6
    elif kind == "float16":
        source, memory = x.astype(np.float16), None
    elif kind == "bfloat16":
        source = torch.from_numpy(x).to(torch.bfloat16)
        x, memory = source.to(torch.float32).numpy(), None
    else:
        source, memory = (x[start : start + 100] for start in range(0, len(x), 100)), None
    probe = featdiv.linear_probe(source, labels, C=[0.01, 10.0], holdout=None, memory=memory)
    whole = featdiv.linear_probe(x, labels, C=[0.01, 10.0], holdout=None)
    np.testing.assert_allclose(probe.path_coefficients, whole.path_coefficients, atol=1e-4)


def test_a_file_beyond_the_budget_is_read_again_in_every_pass(tmp_path):
    x, labels = data(n=3000)
    np.save(tmp_path / "x.npy", x)
    probe = featdiv.linear_probe(tmp_path / "x.npy", labels, C=[0.1], memory=3e5)
    whole = featdiv.linear_probe(x, labels, C=[0.1])
    assert x.nbytes > 3e5 / 3
    np.testing.assert_allclose(probe.coefficients, whole.coefficients, atol=1e-6)


def test_seeds_repeat_the_hold_out_within_one_batch():
    x, labels = data()
    both = featdiv.linear_probe(x, labels, C=[0.01, 1.0], seed=[3, 4])
    each = [featdiv.linear_probe(x, labels, C=[0.01, 1.0], seed=seed) for seed in (3, 4)]
    for place in range(2):
        mean = np.mean([probe.path[place].selection for probe in each])
        assert both.path[place].selection == pytest.approx(mean, abs=1e-12)


def test_without_held_out_rows_no_c_is_chosen():
    x, labels = data()
    probe = featdiv.linear_probe(x, labels, C=[0.1, 1.0], holdout=None)
    assert probe.chosen is None
    with pytest.raises(featdiv.NotEnoughData, match="no held-out rows to choose on"):
        _ = probe.C


def test_a_protocol_sets_the_grid_and_records_itself():
    x, labels = data(n=200, c=2)
    probe = featdiv.linear_probe(x, labels, protocol="dinov2-logreg")
    assert probe.provenance.definition == "dinov2-logreg@1"
    np.testing.assert_allclose([fitted.C for fitted in probe.path], DINOV2_C, rtol=1e-12)
    protocol, recorded = featdiv.protocols.get("dinov2-logreg"), probe.provenance.arguments
    assert protocol.differences(recorded, function="linear_probe") == ()
    assert protocol.unrecorded(recorded, function="linear_probe") == ()
    with pytest.raises(featdiv.InputError, match="prescribes nothing for linear_probe"):
        featdiv.linear_probe(x, labels, protocol="dinov2-knn")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"C": [1.0, 0.0]}, "C: expected positive, finite numbers"),
        ({"C": [-1.0]}, "C: expected positive, finite numbers"),
        ({"C": [np.nan]}, "C: expected positive, finite numbers"),
        ({"folds": 1}, "folds: expected a number from 2 to"),
        ({"holdout": 1.5}, "holdout: expected a share"),
        ({"solver": "newton"}, "solver: expected one of 'lbfgs'"),
        ({"metric": "map"}, "metric: expected one of accuracy, .* with one label a row"),
        ({"metric": "top5_accuracy"}, "metric: expected 'accuracy' or 'mean_per_class' with 5 classes"),
        ({"class_weight": {9: 1.0}}, "class_weight: expected 'balanced', or positive weights of labels of train"),
        ({"class_weight": {0: "x"}}, "class_weight: expected 'balanced', or positive weights"),
        ({"class_weight": [1, 2, 3, 4, 5]}, "class_weight: expected 'balanced', or positive weights"),
        ({"holdout": "a tenth"}, "holdout: expected a share between 0 and 1; got 'a tenth'"),
        ({"tol": "small"}, "tol: expected a positive number; got 'small'"),
        ({"max_iter": 2.5}, "max_iter: expected a positive integer"),
        ({"test": np.ones((2, 12)), "test_labels": [0, 77]}, "test_labels: expected classes that train has; got 77"),
        ({"test": np.ones((2, 11)), "test_labels": [0, 1]}, "test: expected 12 features, like train; got 11"),
        ({"test": np.ones((2, 12)), "test_labels": ["a", "b"]}, "test_labels: expected integers, like train"),
        ({"test_labels": [0]}, "test_labels: expected test= with them"),
        ({"test_groups": [0]}, "test_groups: expected test= with them; got groups of no rows"),
        ({"folds": 9, "groups": np.arange(600) % 8}, r"folds: expected a number from 2 to 8 \(the 8 groups stay whole"),
        ({"val": np.ones((2, 12)), "val_labels": [0, 1], "folds": 3}, "folds: expected None with val="),
    ],
)
def test_arguments_that_cannot_be_used_are_refused_in_words(arguments, message):
    x, labels = data()
    with pytest.raises(featdiv.InputError, match=f"linear_probe: {message}"):
        featdiv.linear_probe(x, labels, **arguments)


def test_rows_and_labels_that_cannot_be_used_are_refused_in_words():
    x, labels = data()
    with pytest.raises(featdiv.NotEnoughData, match="at least 2 classes; got 1, labelled 0"):
        featdiv.linear_probe(x, np.zeros(len(x), int))
    with pytest.raises(featdiv.InputError, match="expected an array, a path, or an iterable of 2-D chunks; got None"):
        featdiv.linear_probe(None, labels)
    with pytest.raises(featdiv.InputError, match="labels: expected one label for each row of train"):
        featdiv.linear_probe(x)
    bad = x.copy()
    bad[17, 2] = np.nan
    with pytest.raises(featdiv.NonFiniteError, match="row 17 of them holds NaN") as caught:
        featdiv.linear_probe(bad, labels)
    assert caught.value.first_row == 17
    with pytest.raises(featdiv.InputError, match="-1, which marks a missing label"):
        featdiv.linear_probe(x, np.where(labels == 0, -1, labels))
    with pytest.raises(featdiv.InputError, match="train: expected features whose sums of squares float32 can hold"):
        featdiv.linear_probe(1e25 * x, labels)
    several = np.eye(5, dtype=int)[labels] * (np.arange(600) >= 200)[:, None]
    nothing = {"val": x[:9], "val_labels": several[:9]}
    for arguments, argument in ((nothing, "val_labels"), ({"folds": np.arange(600) // 200}, "folds")):
        with pytest.raises(featdiv.NotEnoughData, match=f"{argument}: expected a label in some row that is judged"):
            featdiv.linear_probe(x, several, C=[0.1, 1.0], **arguments)
    with pytest.raises(featdiv.BudgetExceeded, match="solving all C and folds together needs"):
        featdiv.linear_probe(x, labels, memory=5000)


def test_the_picture_shows_the_chosen_c():
    x, labels = data()
    probe = featdiv.linear_probe(x, labels, C=GRID)
    axes = probe.plot().axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [f"C = {probe.C:.3g}, by holdout"]
    assert axes.get_ylabel() == "accuracy (holdout)"
    assert probe.to_dict()["path"][0]["C"] == GRID[0]
    single = featdiv.linear_probe(x, labels, C=[0.1]).plot().axes[0]
    assert single.get_xlim() == pytest.approx((0.01, 1.0))
