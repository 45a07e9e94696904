"""scikit-learn: PCA, covariance, kernels; and where its default PCA loses eigenvalues."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.covariance import EmpiricalCovariance
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_similarity, rbf_kernel

import featdiv

SPREAD = np.arange(1.0, 257.0) ** -0.75
"""Standard deviations along the axes of `far_from_zero`."""


def far_from_zero(mean: float) -> np.ndarray:
    """4096 x 256 float32 rows, whose covariance is diagonal with entries SPREAD squared, about a constant mean."""
    z = np.random.default_rng(7).normal(size=(4096, 256))
    q, _ = np.linalg.qr(z - z.mean(axis=0))
    return (q * math.sqrt(4095) * SPREAD + mean).astype(np.float32)


def effective_rank(eigenvalues: np.ndarray) -> float:
    sigma = np.sqrt(eigenvalues[eigenvalues > 0.0].astype(np.float64))
    p = sigma / sigma.sum()
    return math.exp(-float(p @ np.log(p)))


def test_covariance_and_mean(rows):
    peer = EmpiricalCovariance().fit(rows)  # divides by n, where featdiv divides by n - 1
    moments = featdiv.Moments.of(rows, precision="float64")
    np.testing.assert_allclose(moments.covariance * (399 / 400), peer.covariance_, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(moments.mean, peer.location_, rtol=1e-12)


def test_eigenvalues(rows):
    peer = PCA(svd_solver="full").fit(rows)
    np.testing.assert_allclose(
        featdiv.spectrum(rows, method="gram", precision="float64").eigenvalues, peer.explained_variance_, rtol=1e-11
    )


@pytest.mark.parametrize("k", [1, 7, 60])
def test_explained_variance(rows, agree, k):
    peer = PCA(n_components=k, svd_solver="full").fit(rows)
    agree(featdiv.explained_variance(rows, k, precision="float64"), peer.explained_variance_ratio_.sum(), rel=1e-12)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95, 0.99])
def test_components_for_a_share_of_the_variance(rows, agree, share):
    peer = PCA(n_components=share, svd_solver="full").fit(rows)
    agree(featdiv.components_for(rows, share, precision="float64"), peer.n_components_, rel=0.0)


def test_mean_cosine(rows, agree):
    pairs = cosine_similarity(rows)[np.triu_indices(len(rows), 1)]
    agree(featdiv.mean_cosine(rows, precision="float64"), pairs.mean(), rel=1e-10)
    agree(featdiv.mean_squared_cosine(rows, precision="float64"), (pairs**2).mean(), rel=1e-10)


def test_vendi_takes_its_kernels(rows, agree):
    eigenvalues = np.linalg.eigvalsh(rbf_kernel(rows) / len(rows))
    positive = eigenvalues[eigenvalues > 0.0]
    agree(featdiv.vendi(rows, kernel=rbf_kernel), math.exp(-float(positive @ np.log(positive))), rel=1e-9)


@pytest.mark.parametrize("mean", [30.0, 100.0])
def test_default_pca_loses_eigenvalues_of_float32_rows_with_a_large_mean(mean, disagree):
    # PCA() takes `covariance_eigh` for n >= 10 d: it forms X^T X in float32 without centring and subtracts
    # n mean mean^T afterwards, which cancels. Every true eigenvalue is positive: SPREAD squared.
    x = far_from_zero(mean)
    peer = PCA().fit(x)
    assert peer._fit_svd_solver == "covariance_eigh"
    lost = int((peer.explained_variance_ <= 0.0).sum())
    assert lost > 50
    ours = featdiv.spectrum(x, method="gram")
    # What is left is the rounding of the rows themselves to float32, which grows with the mean.
    np.testing.assert_allclose(ours.eigenvalues, SPREAD**2, rtol=1e-6 * mean)
    exact = np.linalg.svd(x - x.mean(axis=0, dtype=np.float64), compute_uv=False) ** 2 / 4095
    np.testing.assert_allclose(ours.eigenvalues, exact, rtol=2e-6)
    disagree(
        ours.effective_rank,
        effective_rank(peer.explained_variance_),
        effective_rank(SPREAD**2),
        rel=1e-5,
        peer_off_by=0.1,
    )
