"""vendi-score (Friedman & Dieng): equal at order one, and where its orders go wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics.pairwise import rbf_kernel

import featdiv

pytestmark = pytest.mark.filterwarnings("ignore:Please import `csr_matrix`:DeprecationWarning")


@pytest.fixture
def peer(load):
    return load("vendi_score.vendi")


def test_order_one(rows, peer, agree):
    agree(featdiv.vendi(rows, precision="float64"), peer.score_X(rows), rel=1e-10)


@pytest.mark.parametrize(("q", "theirs"), [(0.5, 0.5), (1.0, 1), (2.0, 2), (3.5, 3.5), (math.inf, "inf")])
def test_every_order_in_feature_space(rows, peer, agree, q, theirs):
    agree(featdiv.vendi(rows, q=q, precision="float64"), peer.score_dual(rows, q=theirs), rel=1e-10)


def test_another_kernel(rows, peer, agree):
    agree(featdiv.vendi(rows, q=2.0, kernel=rbf_kernel), peer.score_K(rbf_kernel(rows), q=2), rel=1e-9)


def test_mean_cosine_from_internal_diversity(rows, peer, agree):
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    n = len(rows)
    with_self_pairs = 1.0 - peer.intdiv_K(unit @ unit.T)
    agree(featdiv.mean_cosine(rows, precision="float64"), (n * with_self_pairs - 1.0) / (n - 1), rel=1e-10)


def test_score_x_ignores_the_order(peer, disagree):
    # `score_X(X, q)` passes q=1 on. Three orthogonal kinds of rows, 60, 30 and 10 of them: the eigenvalues of
    # K/n are 0.6, 0.3 and 0.1, and the score of order 2 is 1 / (0.36 + 0.09 + 0.01).
    rows = np.repeat(np.eye(3), [60, 30, 10], axis=0)
    assert peer.score_X(rows, q=2) == pytest.approx(peer.score_X(rows, q=1), rel=1e-12)
    ours = featdiv.vendi(rows, q=2.0, precision="float64")
    disagree(ours, peer.score_X(rows, q=2), 1.0 / 0.46, rel=1e-12, peer_off_by=0.05)


def test_intdiv_x_fails_on_every_input(rows, peer):
    # It calls `intdiv`, which wants a similarity function, instead of `intdiv_K`.
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        peer.intdiv_X(rows)
