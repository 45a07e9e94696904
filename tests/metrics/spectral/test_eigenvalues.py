from __future__ import annotations

import math

import numpy as np
import pytest

from featdiv import Eigenvalues, InputError, Moments, NormSums, NotEnoughData
from featdiv.metrics.spectral.eigenvalues import LOWEST_FLOOR, has_unit_rows


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("shape", [(200, 12), (12, 12), (9, 30), (50, 1)])
def test_of_moments_matches_the_svd_of_the_rows(center, shape, moments_of):
    x = np.random.default_rng(1).normal(size=shape) + 0.5
    eig = Eigenvalues.of_moments(moments_of(x), center)
    sigma = np.linalg.svd(x - x.mean(axis=0) if center else x, compute_uv=False)
    np.testing.assert_allclose(eig.singular_values, sigma, rtol=1e-10, atol=1e-12 * sigma[0])
    np.testing.assert_allclose(eig.values, sigma**2 / (shape[0] - center), rtol=1e-9, atol=1e-24)
    assert eig.total == pytest.approx(np.sum(sigma**2) / (shape[0] - center), rel=1e-12)
    assert (eig.n, eig.d, eig.centered, eig.complete) == (*shape, center, True)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("shape", [(200, 12), (9, 30)])
def test_of_rows_matches_of_moments(center, shape, moments_of):
    x = np.random.default_rng(2).normal(size=shape).astype(np.float32) + 3.0
    direct = Eigenvalues.of_rows(x, center)
    by_moments = Eigenvalues.of_moments(moments_of(x), center)
    np.testing.assert_allclose(direct.values, by_moments.values, rtol=1e-9, atol=1e-12)
    assert direct.total == pytest.approx(by_moments.total, rel=1e-12)
    assert direct.floor < 1e-12 < by_moments.floor


def test_centring_ten_rows_of_thirty_features_leaves_nine_directions(moments_of):
    x = np.random.default_rng(3).normal(size=(10, 30))
    for eig in (Eigenvalues.of_moments(moments_of(x)), Eigenvalues.of_rows(x)):
        assert eig.values.size == 10
        assert eig.values[9] == 0.0
        assert eig.values[8] > 0.1
        assert eig.resolved == 9


@pytest.mark.parametrize("rank", [1, 7])
def test_directions_without_variance_are_zero_and_not_rounding(rank, moments_of):
    rng = np.random.default_rng(4)
    x = rng.normal(size=(900, rank)) @ rng.normal(size=(rank, 80))
    for eig in (Eigenvalues.of_moments(moments_of(x)), Eigenvalues.of_rows(x)):
        assert eig.resolved == rank
        assert eig.share_below_floor < 1e-6
        assert np.count_nonzero(eig.values) <= rank + 2


def test_the_floor_follows_the_error_bound(moments_of):
    moments = moments_of(np.random.default_rng(5).normal(size=(100, 5)))
    assert Eigenvalues.of_moments(moments).floor == LOWEST_FLOOR == pytest.approx(1.49e-8, rel=1e-2)
    coarse = Moments(n=100, mean=moments.mean, scatter=moments.scatter, error_bound=1e-6)
    assert Eigenvalues.of_moments(coarse).floor == pytest.approx(1e-3)


def test_resolved_and_share_below_the_floor_by_hand(eigenvalues):
    eig = eigenvalues([100.0, 4.0, 1e-3, 1e-6], floor=1e-2)  # singular values in ratio 10 : 2 : 0.0316 : 0.001
    assert eig.resolved == 2  # the floor lies at 0.1
    assert eig.share_below_floor == pytest.approx((math.sqrt(1e-3) + 1e-3) / (12.0 + math.sqrt(1e-3) + 1e-3))


def test_constant_rows_have_no_spectrum(moments_of):
    for x in (np.full((20, 3), 0.1), np.zeros((20, 3))):
        for make in (lambda x: Eigenvalues.of_moments(moments_of(x)), Eigenvalues.of_rows):
            with pytest.raises(NotEnoughData, match="the features are constant: every row is the same"):
                make(x)


def test_merging_constant_parts_stays_constant(moments_of):
    parts = [moments_of(np.full((m, 3), 0.1)) for m in (7, 11, 13)]
    with pytest.raises(NotEnoughData, match="the features are constant"):
        Eigenvalues.of_moments(parts[0] + parts[1] + parts[2])


@pytest.mark.parametrize("scale", [2.0**-300, 2.0**500])
def test_the_floor_does_not_depend_on_the_scale_of_the_rows(scale):
    rows = np.random.default_rng(0).normal(size=(200, 6)) + 3.0
    floors = []
    for factor in (1.0, scale):
        moments = Moments.of(rows * factor, precision="float32")
        floors.append(Eigenvalues.of_moments(moments, center=False).floor)
    assert floors[1] == pytest.approx(floors[0], rel=1e-9)


def test_a_tiny_variance_on_a_large_mean_is_still_a_spectrum(moments_of):
    x = 1e4 + 1e-6 * np.random.default_rng(6).normal(size=(400, 3))
    assert Eigenvalues.of_moments(moments_of(x)).values[0] == pytest.approx(1e-12, rel=0.5)


def test_zero_rows_have_no_uncentred_spectrum(moments_of):
    with pytest.raises(NotEnoughData, match="every entry of the rows is zero"):
        Eigenvalues.of_moments(moments_of(np.zeros((20, 3))), False)
    with pytest.raises(NotEnoughData, match="every entry of the rows is zero"):
        Eigenvalues.of_rows(np.zeros((20, 3)), False)


def test_one_row_is_not_enough_when_centred(moments_of):
    x = np.array([[3.0, 4.0]])
    with pytest.raises(NotEnoughData, match="at least 2 rows when centred; got 1"):
        Eigenvalues.of_moments(moments_of(x))
    assert Eigenvalues.of_moments(moments_of(x), False).values[0] == pytest.approx(25.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[2.0, 1.0]], r"expected 1 to 2 of them for 10000 x 2; got shape \(1, 2\)"),
        ([3.0, 2.0, 1.0], r"expected 1 to 2 of them for 10000 x 2; got shape \(3,\)"),
        ([], r"got shape \(0,\)"),
        ([1.0, 2.0], "expected finite, descending values, none negative"),
        ([1.0, -1e-9], "expected finite, descending values, none negative"),
        ([1.0, math.nan], "expected finite, descending values, none negative"),
        ([math.nan, 1.0], "expected finite, descending values, none negative"),
    ],
)
def test_values_that_are_no_spectrum_are_refused(values, message, eigenvalues):
    with pytest.raises(InputError, match=message):
        eigenvalues(values, d=2)


def test_rows_must_be_two_dimensional():
    with pytest.raises(InputError, match=r"Eigenvalues.of_rows: rows: expected shape \(n, d\); got \(3,\)"):
        Eigenvalues.of_rows(np.zeros(3))


def test_leading_eigenvalues_only(eigenvalues):
    eig = eigenvalues([3.0, 2.0], d=5, total=7.0)
    assert not eig.complete
    with pytest.raises(NotEnoughData, match="needs all 5 eigenvalues, and only the leading 2 were computed"):
        eig.shares()


def test_unit_rows_are_known_from_normalising_or_proved_by_norm_sums(moments_of):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(60, 4))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    # Mean squared norm one, though no row has norm one: the trace alone must not convince.
    impostor = unit * np.where(np.arange(60) % 2, math.sqrt(1.5), math.sqrt(0.5))[:, None]

    def with_norm_sums(rows):
        moments = moments_of(rows)
        z = rows - moments.mean
        k = np.einsum("ij,ij->i", z, z)
        sums = NormSums(weighted=k @ z, fourth=float(k @ k))
        return Moments(n=60, mean=moments.mean, scatter=moments.scatter, norm_sums=sums)

    assert has_unit_rows(moments_of(x, "l2"))
    assert has_unit_rows(with_norm_sums(unit))
    assert not has_unit_rows(with_norm_sums(impostor))
    assert not has_unit_rows(moments_of(unit))
    assert Eigenvalues.of_rows(unit, False).unit_rows
    assert not Eigenvalues.of_rows(impostor, False).unit_rows


@pytest.mark.parametrize("shape", [(200, 12), (9, 30), (50, 1)])
@pytest.mark.parametrize("offset", [0.0, 0.5, 1e3])
def test_both_of_moments_is_of_moments_twice(shape, offset, moments_of):
    moments = moments_of(np.random.default_rng(8).normal(size=shape) + offset)
    for eig, center in zip(Eigenvalues.both_of_moments(moments), (True, False), strict=True):
        expected = Eigenvalues.of_moments(moments, center)
        np.testing.assert_allclose(eig.values, expected.values, rtol=1e-9, atol=1e-14 * moments.gram.trace())
        assert (eig.centered, eig.total) == (center, pytest.approx(expected.total, rel=1e-12))


def test_both_of_moments_of_a_mean_of_zero(moments_of):
    x = np.random.default_rng(9).normal(size=(40, 5))
    centred, uncentred = Eigenvalues.both_of_moments(moments_of(np.vstack([x, -x])))
    np.testing.assert_allclose(centred.singular_values, uncentred.singular_values, rtol=1e-12)


def test_the_direction_that_centring_removes_stays_empty_under_rounding(moments_of):
    exact = moments_of(np.random.default_rng(10).normal(size=(10, 30)))
    rounded = Moments(n=10, mean=exact.mean, scatter=exact.scatter + 1e-6 * np.eye(30), error_bound=1e-6)
    assert Eigenvalues.of_moments(rounded).values[9] == 0.0
    assert Eigenvalues.of_moments(rounded, False).values[9] > 0.0
