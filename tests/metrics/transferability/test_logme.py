"""LogME against the algorithm as it is published, from the singular vectors of the rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

import featdiv
from featdiv import ClassMoments, InputError, NotEnoughData
from featdiv.testing import cases


def as_published(features, columns):
    """You et al. 2021, algorithm 1: the fixed point of alpha and beta for each column, from the SVD of the rows."""
    n, d = features.shape
    left, sigma, _ = np.linalg.svd(features, full_matrices=False)
    sigma = sigma**2
    evidences = []
    for y in columns.T:
        z2 = (left.T @ y) ** 2
        outside = y @ y - z2.sum() if n > d else 0.0
        alpha = beta = 1.0
        for _ in range(100_000):
            t = alpha / beta
            gamma = (sigma / (sigma + t)).sum()
            m2 = (sigma * z2 / (sigma + t) ** 2).sum()
            residual = (z2 * t**2 / (sigma + t) ** 2).sum() + outside
            alpha, beta = gamma / m2, (n - gamma) / residual
            if abs(alpha / beta - t) < 1e-13 * t:
                break
        log_det = np.log(alpha + beta * sigma).sum() + (d - len(sigma)) * np.log(alpha)
        evidences.append(
            (d * np.log(alpha) + n * np.log(beta) - log_det - beta * residual - alpha * m2 - n * np.log(2 * np.pi)) / 2
        )
    return np.mean(evidences) / n


def log_density(features, y, alpha, beta):
    """ln N(y; 0, F F^T/alpha + I/beta): the evidence from its definition, n x n."""
    covariance = features @ features.T / alpha + np.eye(len(y)) / beta
    sign, log_det = np.linalg.slogdet(covariance)
    assert sign > 0
    return -0.5 * (y @ np.linalg.solve(covariance, y) + log_det + len(y) * np.log(2 * np.pi))


@pytest.mark.parametrize(("n", "d", "c"), [(400, 16, 5), (900, 64, 20), (60, 100, 3), (50, 50, 4)])
def test_it_is_the_published_algorithm(n, d, c):
    x, labels = cases.labelled(n, d, c, between=0.6)
    score = featdiv.logme(x, labels)
    assert float(score) == pytest.approx(as_published(x, np.eye(c)[labels]), rel=1e-8)
    assert score.details["converged"]


def test_it_is_the_maximum_of_the_evidence():
    x, labels = cases.labelled(80, 6, 3, between=0.7)
    score = featdiv.logme(x, labels)
    for k, found in enumerate(score.details["per_target"]):
        y = (labels == k).astype(float)

        def loss(log_alpha, y=y):
            best = minimize_scalar(lambda b: -log_density(x, y, np.exp(log_alpha), np.exp(b)), bracket=(-1.0, 3.0))
            return best.fun

        best = minimize_scalar(loss, bracket=(-2.0, 4.0))
        assert found == pytest.approx(-best.fun / 80, rel=1e-7)
        at = log_density(x, y, score.details["alpha"][k], score.details["beta"][k]) / 80
        assert found == pytest.approx(at, rel=1e-9)


def test_numbers_as_targets_are_the_published_algorithm():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(300, 12)) + 2.0
    y = x @ rng.normal(size=(12, 2)) + rng.normal(size=(300, 2))
    assert float(featdiv.logme(x, targets=y)) == pytest.approx(as_published(x, y), rel=1e-9)
    assert float(featdiv.logme(x, targets=y[:, 0])) == pytest.approx(as_published(x, y[:, :1]), rel=1e-9)


def test_targets_stream_in_chunks():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(300, 5))
    y = x[:, 0] + rng.normal(size=300)
    chunks = (x[start : start + 70] for start in range(0, 300, 70))
    assert float(featdiv.logme(chunks, targets=y)) == pytest.approx(as_published(x, y[:, None]), rel=1e-9)


def test_float32_rows_read_in_float32_are_close():
    x, labels = cases.labelled(2000, 24, 5, between=0.6)
    exact = float(featdiv.logme(x, labels))
    assert float(featdiv.logme(x.astype(np.float32), labels, precision="float32")) == pytest.approx(exact, abs=1e-4)


def test_repeated_features_do_not_upset_it():
    x, labels = cases.labelled(300, 8, 3, between=0.6)
    doubled = np.hstack([x, x])
    # The same rows of the same kernel up to a factor of 2, which alpha takes up.
    assert float(featdiv.logme(doubled, labels)) == pytest.approx(float(featdiv.logme(x, labels)), rel=1e-9)


def test_text_labels_give_the_value_of_numbers():
    x, labels = cases.labelled(300, 8, 3)
    names = np.array(["ant", "bee", "cow"])[labels]
    assert float(featdiv.logme(x, names)) == pytest.approx(float(featdiv.logme(x, labels)), rel=1e-12)


def test_labels_that_features_say_nothing_of_cost_their_entropy():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 500)
    x = rng.normal(size=(1000, 4))
    x -= np.array([x[labels == k].mean(axis=0) for k in (0, 1)])[labels]
    # F^T y = 0: the weights vanish, and y ~ N(0, 1/beta) with 1/beta its mean square, one half.
    assert float(featdiv.logme(x, labels)) == pytest.approx(-0.5 * (np.log(2 * np.pi * 0.5) + 1.0), rel=1e-9)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, y: featdiv.logme(x, np.zeros(len(x), int)), NotEnoughData, "logme: it compares classes"),
        (lambda x, y: featdiv.logme(np.zeros_like(x), y), NotEnoughData, "logme: all features are zero"),
        (lambda x, y: featdiv.logme(x, targets=x[:, 0]), NotEnoughData, "logme: target 0 is a linear function"),
        (lambda x, y: featdiv.logme(x, targets=np.ones(len(x))), NotEnoughData, "logme: target 0 is the same"),
        (lambda x, y: featdiv.logme(x, y, targets=x[:, 0]), InputError, "logme: labels: expected None with targets"),
        (lambda x, y: featdiv.logme(x, targets=x[:-1, 0]), InputError, "expected one for each of 60 rows; got 59"),
        (lambda x, y: featdiv.logme(x, targets=["a"] * 60), InputError, "logme: targets: expected numbers"),
        (lambda x, y: featdiv.logme(x, targets=np.full(60, np.nan)), InputError, "expected finite numbers"),
        (lambda x, y: featdiv.logme(ClassMoments.of(x, y), targets=y), InputError, "no place for targets"),
        (lambda x, y: featdiv.logme(x, np.where(y == 0, -1, y)), InputError, "got -1, which marks a missing label"),
        (lambda x, y: featdiv.logme(x), InputError, "logme: labels: expected one label for each row"),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    x, labels = cases.labelled(60, 4, 3)
    with pytest.raises(error, match=message):
        call(x, labels)


def test_missing_labels_may_be_left_out():
    x, labels = cases.labelled(300, 8, 3)
    labels = labels + 1
    labels[::7] = -1
    kept = labels != -1
    score = featdiv.logme(x, labels, ignore=-1)
    assert float(score) == pytest.approx(float(featdiv.logme(x[kept], labels[kept])), rel=1e-12)
    assert score.provenance.notes == (f"{int((~kept).sum())} rows were left out by their label",)
