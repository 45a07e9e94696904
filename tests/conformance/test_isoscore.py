"""IsoScore: the published algorithm, step by step, is (PR - 1)/(d - 1)."""

from __future__ import annotations

import pytest

import featdiv


@pytest.mark.filterwarnings("ignore:To copy construct:UserWarning")
def test_isoscore(rows, load, agree):
    theirs = load("IsoScore.IsoScore").IsoScore(rows)
    # Its constants, square roots of integer tensors, are float32.
    agree(featdiv.isoscore(rows, precision="float64"), theirs, rel=1e-5)
    d = rows.shape[1]
    by_participation_ratio = (float(featdiv.participation_ratio(rows, precision="float64")) - 1.0) / (d - 1.0)
    agree(by_participation_ratio, theirs, rel=1e-5)
