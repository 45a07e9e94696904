"""The estimators keep scikit-learn's contract, and give what scikit-learn's own give."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from featdiv.integrations.sklearn import KNNProbe, LinearProbe, RidgeProbe


@parametrize_with_checks([LinearProbe(), RidgeProbe(), KNNProbe(k=5, distance="l2")])
def test_the_contract_of_estimators(estimator, check):
    check(estimator)


@pytest.fixture
def blobs():
    random = np.random.default_rng(0)
    names = np.array(["ant", "bee", "cow"])
    labels = random.integers(0, 3, size=240)
    x = random.normal(size=(240, 6)) + 1.5 * random.normal(size=(3, 6))[labels]
    return x, names[labels]


def test_weights_are_those_of_logistic_regression(blobs):
    x, y = blobs
    theirs = LogisticRegression(C=0.3, tol=1e-10, max_iter=10_000).fit(x, y)
    own = LinearProbe(C=0.3).fit(x, y)
    np.testing.assert_allclose(own.coef_, theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(own.predict_proba(x), theirs.predict_proba(x), atol=1e-4)


def test_neighbours_vote_as_in_scikit_learn(blobs):
    x, y = blobs
    theirs = KNeighborsClassifier(1).fit(x[:200], y[:200])
    own = KNNProbe(k=1, distance="l2").fit(x[:200], y[:200])
    assert (own.predict(x[200:]) == theirs.predict(x[200:])).all()


def test_a_probe_works_in_a_pipeline_and_a_grid_search(blobs):
    x, y = blobs
    search = GridSearchCV(make_pipeline(StandardScaler(), LinearProbe()), {"linearprobe__C": [1e-6, 1.0]}, cv=3)
    assert search.fit(x, y).best_params_ == {"linearprobe__C": 1.0}
