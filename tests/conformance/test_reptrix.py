"""reptrix: its RankMe under its own name, its power-law fit, and what its RankMe is not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import featdiv


@pytest.fixture
def features() -> np.ndarray:
    """600 x 150 float64 rows with eigenvalues exactly i^-1.6 and mean zero: reptrix fits indices 11 to 100."""
    z = np.random.default_rng(42).normal(size=(600, 150))
    q, _ = np.linalg.qr(z - z.mean(axis=0))
    return q * math.sqrt(599) * np.arange(1.0, 151.0) ** -0.8


def test_rankme_by_its_own_definition(features, load, agree):
    peer = load("reptrix.rankme")
    ours = featdiv.rankme(features + 3.0, definition="reptrix", precision="float64")
    agree(ours, peer.get_rankme(torch.from_numpy(features + 3.0)), rel=1e-10)


def test_its_rankme_is_not_that_of_the_paper(features, load, disagree):
    # The paper (Garrido et al. 2023, equation 1) has singular values i^-0.8, reptrix takes eigenvalues i^-1.6.
    peer = load("reptrix.rankme")
    p = np.arange(1.0, 151.0) ** -0.8
    p = p / p.sum() + 1e-7
    truth = math.exp(-float(p @ np.log(p)))
    theirs = peer.get_rankme(torch.from_numpy(features))
    disagree(featdiv.rankme(features, precision="float64"), theirs, truth, rel=1e-9, peer_off_by=0.5)


def test_power_law(features, load, agree):
    peer = load("reptrix.alpha")
    noisy = features + 0.01 * np.random.default_rng(43).normal(size=features.shape)
    theirs = peer.get_alpha(torch.from_numpy(noisy))[0]
    ours = featdiv.alpha_req(noisy, definition="agrawal2022", fit_min=11, fit_max=100, precision="float64")
    # Its weights 1/i are rounded to float32.
    agree(ours, theirs, rel=1e-7)


def test_both_find_an_exact_power_law(features, load, agree):
    theirs = load("reptrix.alpha").get_alpha(torch.from_numpy(features))[0]
    agree(1.6, theirs, rel=1e-9)
    for definition in ("least-squares", "agrawal2022", "stringer2019"):
        agree(featdiv.alpha_req(features, definition=definition, precision="float64"), 1.6, rel=1e-9)


def test_its_lidar_takes_the_matrix_for_data(load, agree, disagree):
    # 16 inputs at plus and minus sqrt(8 b_i) e_i, b_i = 1/i, two views of each at plus and minus e_i from there:
    # S_B = diag(b) and S_W = I/8, so that LiDAR is exp H(b/sum(b)) (Thilak et al. 2023). reptrix has the matrix
    # right, but gives it to PCA as if its rows were samples, which centres it and squares its eigenvalues.
    peer = load("reptrix.lidar")
    b = 1.0 / np.arange(1.0, 9.0)
    inputs = np.concatenate([np.diag(np.sqrt(8.0 * b)), -np.diag(np.sqrt(8.0 * b))])
    steps = np.concatenate([np.eye(8), np.eye(8)])
    views = np.stack([inputs + steps, inputs - steps], axis=1)
    theirs = peer.get_lidar(torch.from_numpy(views), num_samples=16, num_augs=2)
    p = b / b.sum()
    ours = featdiv.lidar(views.reshape(32, 8), np.repeat(np.arange(16), 2))
    disagree(ours, theirs, math.exp(-float(p @ np.log(p))), rel=1e-4, peer_off_by=0.2)
    agree(ours, peer.get_rank(b), rel=1e-9)
