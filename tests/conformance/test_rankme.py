"""rankme (sirbastiano/RankMe): a share of the maximum under the name RankMe, and what its floor adds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import featdiv

SINGULAR_VALUES = np.arange(1.0, 65.0) ** -1.0


@pytest.fixture
def features() -> np.ndarray:
    """256 x 64 float64 rows with singular values exactly 1/i about zero."""
    q, _ = np.linalg.qr(np.random.default_rng(51).normal(size=(256, 64)))
    return q * SINGULAR_VALUES


def test_the_closed_form_of_its_definition(features):
    p = SINGULAR_VALUES / SINGULAR_VALUES.sum()
    truth = -float(p @ np.log(p)) / math.log(64)
    ours = featdiv.rankme(features, definition="normalized", precision="float64")
    # Ours adds 1e-7 to each share, as the paper does: 64e-7 (-ln p - 1) to the entropy, at most.
    assert float(ours) == pytest.approx(truth, rel=1e-5)


def test_its_rankme_is_our_normalized_one(features, load, agree):
    theirs = load("rankme").RankMe()(torch.from_numpy(features))
    # It adds nothing to the shares where the paper adds 1e-7.
    agree(featdiv.rankme(features, definition="normalized", precision="float64"), theirs, rel=1e-5)


def test_its_rankme_is_not_that_of_the_paper(features, load, disagree):
    p = SINGULAR_VALUES / SINGULAR_VALUES.sum() + 1e-7
    truth = math.exp(-float(p @ np.log(p)))
    theirs = load("rankme").RankMe()(torch.from_numpy(features))
    disagree(featdiv.rankme(features, precision="float64"), theirs, truth, rel=1e-9, peer_off_by=0.5)


def test_effective_rank(features, load, agree):
    theirs = load("rankme.feature_learning").EffectiveRank(center=True)(torch.from_numpy(features))
    agree(featdiv.effective_rank(features, precision="float64"), theirs, rel=1e-9)
