"""Effective rank, participation ratio, stable rank, entropy and IsoScore share their known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

import featdiv
from featdiv import NotEnoughData
from featdiv.metrics.spectral import (
    effective_rank,
    isoscore,
    participation_ratio,
    spectral_entropy,
    stable_rank,
)

RANKS = (effective_rank.core, participation_ratio.core, stable_rank.core)


@pytest.mark.parametrize("core", RANKS)
def test_a_flat_spectrum_counts_every_direction(core, eigenvalues):
    assert core(eigenvalues(np.full(24, 0.7))) == pytest.approx(24.0, rel=1e-13)


@pytest.mark.parametrize("core", RANKS)
def test_rank_one_counts_one(core, eigenvalues):
    assert core(eigenvalues([5.0, 0.0, 0.0, 0.0])) == 1.0


def test_by_hand(eigenvalues):
    eig = eigenvalues([16.0, 4.0, 4.0, 1.0])  # singular values in ratio 4 : 2 : 2 : 1
    p = [4 / 9, 2 / 9, 2 / 9, 1 / 9]
    assert effective_rank.core(eig) == pytest.approx(math.exp(-sum(v * math.log(v) for v in p)), rel=1e-14)
    assert participation_ratio.core(eig) == pytest.approx(625.0 / 289.0, rel=1e-14)
    assert stable_rank.core(eig) == pytest.approx(25.0 / 16.0, rel=1e-14)
    p = [0.64, 0.16, 0.16, 0.04]
    assert spectral_entropy.core(eig) == pytest.approx(-sum(v * math.log(v) for v in p), rel=1e-14)
    assert isoscore.core(eig) == pytest.approx((625.0 / 289.0 - 1.0) / 3.0, rel=1e-14)


@pytest.mark.parametrize("core", [*RANKS, spectral_entropy.core, isoscore.core])
def test_scaling_to_extremes_changes_nothing(core, eigenvalues):
    values = np.array([16.0, 4.0, 4.0, 1.0])
    for scale in (1e-200, 1e200):
        assert core(eigenvalues(values * scale)) == pytest.approx(core(eigenvalues(values)), rel=1e-12)


def test_effective_rank_of_isotropic_rows_approaches_d():
    x = np.random.default_rng(0).normal(size=(40_000, 16))
    assert float(featdiv.effective_rank(x)) == pytest.approx(16.0, rel=1e-3)


def test_effective_rank_of_rank_one_rows():
    x = np.outer(np.arange(500.0), np.arange(1.0, 200.0)).astype(np.float32)
    assert float(featdiv.effective_rank(x)) == pytest.approx(1.0, abs=1e-5)


def test_participation_ratio_is_at_most_effective_rank(rows):
    assert float(featdiv.participation_ratio(rows)) < float(featdiv.effective_rank(rows))


def test_nesum_is_stable_rank_under_its_own_name():
    x = np.diag([2.0, 1.0, 1.0]) @ np.array([[1.0, 0.5, 0.0], [-1.0, 0.5, 0.0], [0.0, -1.0, 1.0]])
    score = featdiv.nesum(x, interval=None)
    assert score.value == featdiv.stable_rank(x).value
    assert (score.name, score.provenance.function) == ("nesum", "featdiv.nesum")
    with pytest.raises(featdiv.NotEnoughData, match=r"^nesum: "):
        featdiv.nesum(np.ones((5, 3)))


def test_uncentred_and_centred_differ_where_there_is_a_mean(rows):
    centred = float(featdiv.effective_rank(rows))
    uncentred = float(featdiv.effective_rank(rows, center=False))
    sigma = np.linalg.svd(rows, compute_uv=False)
    p = sigma / sigma.sum()
    assert uncentred == pytest.approx(math.exp(-p @ np.log(p)), rel=1e-6)
    assert uncentred < 0.95 * centred


def test_stable_rank_needs_the_trace_and_the_first_eigenvalue_only(eigenvalues):
    leading = eigenvalues([4.0, 2.0], d=50, total=10.0)
    assert stable_rank.core(leading) == 2.5
    for core in (effective_rank.core, participation_ratio.core, spectral_entropy.core, isoscore.core):
        with pytest.raises(NotEnoughData, match="only the leading 2 were computed"):
            core(leading)


def test_stable_rank_says_when_the_jackknife_fails(eigenvalues):
    assert "largest eigenvalues" in stable_rank.jackknife_problem(eigenvalues([1.001, 1.0, 0.9], n=10_000))
    assert stable_rank.jackknife_problem(eigenvalues([2.0, 1.0, 0.9], n=10_000)) is None
    assert stable_rank.jackknife_problem(eigenvalues([2.0], n=10_000)) is None


def published_isoscore(x):
    """Algorithm 1 of Rudman et al. 2022, step by step."""
    _, d = x.shape
    axes = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2]
    variances = np.cov(x @ axes.T, rowvar=False).diagonal()
    normalised = math.sqrt(d) * variances / np.linalg.norm(variances)
    defect = np.linalg.norm(normalised - np.ones(d)) / math.sqrt(2.0 * (d - math.sqrt(d)))
    used = (d - defect**2 * (d - math.sqrt(d))) ** 2 / d**2
    return (d * used - 1.0) / (d - 1.0)


@pytest.mark.parametrize("power", [0.0, 0.5, 2.0])
def test_isoscore_equals_the_published_algorithm(power):
    rng = np.random.default_rng(8)
    x = (rng.normal(size=(500, 20)) * np.arange(1.0, 21.0) ** -power) @ rng.normal(size=(20, 20)) + 4.0
    assert float(featdiv.isoscore(x, precision="float64")) == pytest.approx(published_isoscore(x), rel=1e-10)


def test_isoscore_needs_two_features(rows):
    with pytest.raises(NotEnoughData, match="isoscore: it divides by d - 1, and there is one feature"):
        featdiv.isoscore(rows[:, :1])


def test_the_debiased_participation_ratio_is_that_of_the_population():
    scales = np.arange(1.0, 41.0) ** -0.4
    population = (scales**2).sum() ** 2 / (scales**4).sum()
    rng = np.random.default_rng(12)
    draws = [rng.normal(size=(60, 40)) * scales for _ in range(60)]
    values = [float(featdiv.participation_ratio(x, definition="debiased", precision="float64")) for x in draws]
    biased = [float(featdiv.participation_ratio(x, precision="float64")) for x in draws]
    assert np.mean(values) == pytest.approx(population, rel=0.03)
    assert np.mean(biased) < 0.8 * population


def test_the_debiased_participation_ratio_exceeds_the_number_of_rows():
    rng = np.random.default_rng(13)
    values = [float(featdiv.participation_ratio(rng.normal(size=(50, 400)), definition="debiased")) for _ in range(20)]
    assert np.mean(values) == pytest.approx(400.0, rel=0.15)


def test_the_debiased_participation_ratio_needs_unequal_eigenvalues(eigenvalues):
    with pytest.raises(NotEnoughData, match="equally far from one another"):
        participation_ratio.core(eigenvalues(np.ones(4), n=5), "debiased")
    assert participation_ratio.core(eigenvalues([3.0, 0.0], n=5), "debiased") == pytest.approx(1.0)
