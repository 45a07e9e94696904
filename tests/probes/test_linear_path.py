"""Linear probes at large C: few steps, the optimum of scikit-learn, and the digits of nearly separable rows."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy.special import expit, logsumexp
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import featdiv
from featdiv import io
from featdiv.probes.linear_loss import Objective, Problems
from featdiv.probes.linear_path import stones
from featdiv.probes.linear_rows import Rows

LARGE = (1e3, 1e4, 1e5, 1e6)


def separable(n=240, d=8, c=4, *, seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(n) % c
    return random.normal(size=(c, d))[labels] * 2.0 + 0.5 * random.normal(size=(n, d)), labels


def reference(x, labels, C):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return LogisticRegression(C=C, tol=1e-13, max_iter=500, solver="newton-cholesky").fit(x, labels)


def objective(x, labels, coefficients, intercept, C):
    z = x @ coefficients.T + intercept
    if z.shape[1] == 1:
        z = np.concatenate([np.zeros_like(z), z], axis=1)
    rest = z - z[np.arange(len(z)), labels][:, None]
    rest[np.arange(len(z)), labels] = -np.inf
    loss = np.logaddexp(0.0, logsumexp(rest, axis=1))
    return C * loss.sum() + 0.5 * (coefficients**2).sum()


def test_large_c_take_tens_of_steps_on_digits():
    x, labels = load_digits(return_X_y=True)
    probe = featdiv.linear_probe(x / 16.0, labels, C=(1.0, *LARGE), holdout=None)
    assert probe.converged
    assert max(fitted.iterations for fitted in probe.path) < 80
    assert probe.provenance.passes < 400


@pytest.mark.parametrize("classes", [2, 4])
def test_large_c_reach_the_optimum_and_the_probabilities_of_scikit_learn(classes):
    x, labels = separable(c=classes)
    probe = featdiv.linear_probe(x, labels, C=LARGE, holdout=None)
    assert probe.converged
    for place, C in enumerate(LARGE):
        theirs = reference(x, labels, C)
        known = objective(x, labels, theirs.coef_, theirs.intercept_, C)
        weights, intercept = probe.path_coefficients[place], probe.path_intercepts[place]
        assert objective(x, labels, weights, intercept, C) <= known * (1 + 1e-9)
        assert probe.path[place].objective == pytest.approx(objective(x, labels, weights, intercept, C), rel=1e-12)
        logits = x @ weights.T + intercept
        if classes == 2:
            chances = expit(logits) @ [[-1.0, 1.0]] + [1.0, 0.0]
        else:
            chances = np.exp(logits - logsumexp(logits, axis=1, keepdims=True))
        np.testing.assert_allclose(chances, theirs.predict_proba(x), atol=1e-6)


def test_one_large_c_alone_ends_where_the_path_does():
    x, labels = separable()
    alone = featdiv.linear_probe(x, labels, C=1e6, holdout=None)
    path = featdiv.linear_probe(x, labels, C=np.geomspace(1e-2, 1e6, 17), holdout=None)
    assert alone.converged
    assert alone.path[0].objective == pytest.approx(path.path[-1].objective, rel=1e-9)
    assert alone.path[0].iterations < 80


def test_copies_and_sums_of_features_in_other_units_converge_at_large_c():
    x, labels = separable()
    random = np.random.default_rng(1)
    x = np.concatenate([x, x[:, :3], x @ random.normal(size=(8, 4)), 50.0 * x[:, :2]], axis=1)
    probe = featdiv.linear_probe(x, labels, C=LARGE, holdout=None)
    assert probe.converged
    theirs = reference(x, labels, 1e4)
    known = objective(x, labels, theirs.coef_, theirs.intercept_, 1e4)
    assert probe.path[1].objective <= known * (1 + 1e-9)


def test_folds_and_several_labels_are_carried_on_each_by_itself():
    x, labels = separable(c=3)
    several = np.stack([labels == 0, labels != 1], axis=1).astype(int)
    probe = featdiv.linear_probe(x, several, C=(1e3, 1e5), holdout=None)
    for k in range(2):
        theirs = reference(x, several[:, k], 1e5)
        known = objective(x, several[:, k], theirs.coef_, theirs.intercept_, 1e5)
        weights, intercept = probe.path_coefficients[1][k : k + 1], probe.path_intercepts[1][k : k + 1]
        assert objective(x, several[:, k], weights, intercept, 1e5) <= known * (1 + 1e-9)
    folds = np.arange(len(x)) % 2
    both = featdiv.linear_probe(x, labels, C=(1e3, 1e5), folds=folds)
    halves = [featdiv.linear_probe(x[folds == k], labels[folds == k], C=(1e3, 1e5), holdout=None) for k in range(2)]
    for place in range(2):
        mean = np.mean([half.path[place].objective for half in halves])
        assert both.path[place].objective == pytest.approx(mean, rel=1e-9)


def test_steps_are_bounded_and_what_is_missing_is_told_where_the_minimum_goes_to_infinity():
    x, labels = separable()
    with pytest.warns(featdiv.ConvergenceWarning, match=r"not converged: C = 1e\+200"):
        probe = featdiv.linear_probe(x, labels, C=[1.0, 1e200], holdout=None, max_iter=60)
    assert [fitted.converged for fitted in probe.path] == [True, False]
    assert probe.path[1].iterations <= 60
    assert probe.provenance.passes < 1000
    assert np.isfinite(probe.path_coefficients).all()


@pytest.mark.parametrize("classes", [1, 3])
def test_loss_and_gradient_keep_their_digits_where_rows_are_far_from_the_border(classes):
    x = np.array([[1.0], [-1.0]])
    problems = Problems(
        C=torch.tensor([1e300], dtype=torch.float64),
        subset=torch.tensor([0]),
        label=torch.tensor([0]),
        targets=torch.tensor([[1], [0]]) if classes == 1 else torch.tensor([0, 1]),
        weights=torch.ones(2, 1, dtype=torch.float64),
        classes=classes,
    )
    rows = Rows([io.open(x)], device=torch.device("cpu"), keep_bytes=1 << 20, normalize=None, function="test")
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    whole = Objective(rows, problems, center=zero, scale=one, second_moment=torch.ones(1, 1), intercept=False)
    # Margins of 45: the chance of the wrong class, e^-45, is lost in one less that of the right one.
    theta = torch.tensor([[45.0]] if classes == 1 else [[22.5, -22.5, -1e3]], dtype=torch.float64)
    value, gradient = whole.evaluate(theta, torch.tensor([0]), torch.tensor([True]))
    small = np.exp(-45.0)
    assert float(value[0]) == pytest.approx(small, rel=1e-12, abs=0.0)
    assert gradient[0, 0] == pytest.approx(-small, rel=1e-12, abs=0.0)


def test_wide_gaps_of_the_grid_are_stepped_over():
    assert len(stones(np.array([1e-6, 1e-3, 1.0]), easy=1.0)) == 0
    assert len(stones(10.0 ** np.linspace(-6, 5, 45), easy=1.0)) == 0
    assert stones(np.array([0.5, 500.0]), easy=1.0) == pytest.approx([5.0, 50.0], rel=1e-9)
    assert stones(np.array([1e-6, 500.0]), easy=5.0) == pytest.approx([5.0, 50.0], rel=1e-9)
    assert len(stones(np.array([1.0, 1e300]), easy=1.0)) == 8
