"""scikit-dimension: dimensions that PCA gives, and the default PCA beneath them."""

from __future__ import annotations

import numpy as np
import pytest

import featdiv


@pytest.fixture
def lpca(load):
    return load("skdim").id.lPCA


def test_participation_ratio(rows, lpca, agree):
    theirs = lpca(ver="participation_ratio").fit(rows).dimension_
    agree(featdiv.participation_ratio(rows, precision="float64"), theirs, rel=1e-10)


def test_participation_ratio_about_zero(rows, lpca, agree):
    theirs = lpca(ver="participation_ratio", center=False).fit(rows).dimension_
    agree(featdiv.participation_ratio(rows, center=False, precision="float64"), theirs, rel=1e-10)


def test_participation_ratio_of_eigenvalues(rows, lpca, agree):
    spectrum = featdiv.spectrum(rows, precision="float64")
    theirs = lpca(ver="participation_ratio", fit_explained_variance=True).fit(spectrum.eigenvalues).dimension_
    agree(spectrum.participation_ratio, theirs, rel=1e-12)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_components_for_a_share_of_the_variance(rows, lpca, agree, share):
    theirs = lpca(ver="ratio", alphaRatio=share).fit(rows).dimension_
    agree(featdiv.components_for(rows, share, precision="float64"), theirs, rel=0.0)


def test_signals_above_the_marchenko_pastur_edge(lpca, agree):
    random = np.random.default_rng(46)
    x = random.normal(size=(1000, 50))
    x[:, :5] *= 5.0
    theirs = lpca(ver="MP").fit(x).dimension_
    assert theirs == 5
    agree(featdiv.marchenko_pastur(x, precision="float64"), theirs, rel=0.0)


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_it_inherits_what_the_default_pca_loses(lpca, disagree):
    # float32 rows, n >= 10 d, mean 1000: 64 equal eigenvalues have the participation ratio 64.
    z = np.random.default_rng(47).normal(size=(2048, 64))
    q, _ = np.linalg.qr(z - z.mean(axis=0))
    x = (q * np.sqrt(2047.0) + 1000.0).astype(np.float32)
    theirs = lpca(ver="participation_ratio").fit(x).dimension_
    disagree(featdiv.participation_ratio(x), theirs, 64.0, rel=1e-5, peer_off_by=0.1)


def test_twonn(rows, load, agree):
    theirs = load("skdim").id.TwoNN(discard_fraction=0.1).fit(rows).dimension_
    agree(featdiv.intrinsic_dimension(rows), theirs, rel=1e-9)


def test_mle_with_inverses_averaged(rows, load, agree):
    theirs = load("skdim").id.MLE().fit(rows, comb="mle", n_neighbors=8).dimension_
    agree(featdiv.intrinsic_dimension(rows, definition="mle", k=8), theirs, rel=1e-9)
