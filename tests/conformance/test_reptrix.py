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
