"""The pair_sums kernels, played on the host as their backend launches them, against the float64 oracle."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from featdiv.errors import InputError, NonFiniteError, ZeroNormError
from featdiv.ops.pair_sums import PairTask, blocks, cuda_, reference

PLAIN = PairTask(
    rates=(2.0,),
    distances=False,
    measure=None,
    edges=None,
    threshold=None,
    examples=0,
    normalize="l2",
    precision="float32",
)


@pytest.fixture
def rng():
    return np.random.default_rng(21)


def task(bins=0, limits=(-1.0, 1.0), **changes):
    edges = np.linspace(*limits, bins + 1) if bins else None
    return dataclasses.replace(PLAIN, edges=edges, **changes)


def assert_same(x, other, wanted, rtol=1e-6):
    got = cuda_.pair_sums(x, other, wanted)
    want = reference.pair_sums(x, other, wanted)
    np.testing.assert_allclose(got.exp_sums, want.exp_sums, rtol=rtol)
    if wanted.distances:
        assert got.distance_sum == pytest.approx(want.distance_sum, rel=rtol)
    if wanted.edges is not None:
        assert got.histogram.tolist() == want.histogram.tolist()
        assert (got.below, got.above) == (want.below, want.above)
    assert got.close == (None if wanted.threshold is None else want.close)
    assert got.close_pairs.tolist() == want.close_pairs.tolist()
    if wanted.measure is not None and want.nearest is not None:
        assert got.nearest[2] == pytest.approx(want.nearest[2], rel=1e-6, abs=1e-7)
    return got


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("eager", [False, True])
def test_the_order_of_threads_and_copies_does_not_matter(played, rng, backwards, eager):
    x = rng.normal(size=(140, 70)).astype(np.float32)
    wanted = task(rates=(0.5, 2.0), distances=True, measure="cosine", bins=20, threshold=0.2, examples=5)
    played.backwards = played.eager = False
    plain = cuda_.pair_sums(x, None, wanted)
    played.backwards, played.eager = backwards, eager
    got = assert_same(x, None, wanted)
    assert got.exp_sums.tolist() == plain.exp_sums.tolist()
    assert got.nearest == plain.nearest
    assert set(played.launched) == {"count_pairs_bfloat16"}


@pytest.mark.parametrize(("n", "m", "d"), [(1, None, 1), (2, None, 3), (1, 1, 1), (129, None, 65), (65, 130, 5)])
@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("measure", [None, "cosine", "distance"])
def test_odd_shapes_within_and_across(played, rng, n, m, d, precision, measure):
    x = rng.normal(size=(n, d)) + 0.1
    other = None if m is None else rng.normal(size=(m, d)) - 0.1
    some = {"measure": measure, "precision": precision, "distances": measure == "distance"}
    if measure is not None:
        some |= {"bins": 7, "limits": (-0.5, 0.9) if measure == "cosine" else (0.2, 1.5), "threshold": 0.6}
    assert_same(x, other, task(examples=3 if measure else 0, **some))
    kind = "bfloat16" if precision == "float32" else "float64"
    assert set(played.launched) == {f"{'count' if measure else 'reduce'}_pairs_{kind}"}


@pytest.mark.parametrize("rates", [(), (1.0,), (0.5, 1.0, 2.0, 4.0, 8.0)])
@pytest.mark.parametrize("measure", [None, "cosine"])
def test_any_number_of_rates(played, rng, rates, measure):
    assert_same(rng.normal(size=(70, 9)), None, task(rates=rates, measure=measure, bins=9 if measure else 0))


@pytest.mark.parametrize("listed", [1, 1 << 20])
def test_pairs_on_edges_are_counted_in_float64(played, rng, listed, monkeypatch):
    """Rows of a lattice, all of whose cosines lie on an edge; blocks with too many are cut."""
    monkeypatch.setattr(blocks, "BLOCK", 256)
    monkeypatch.setattr(blocks, "LISTED", listed)
    lattice = np.sign(rng.normal(size=(300, 4)))
    assert_same(lattice, None, task(measure="cosine", bins=4, threshold=0.5, examples=7))
    assert (len(played.launched) > 3) == (listed == 1)


def test_more_bins_than_a_block_can_count(played, rng):
    assert_same(rng.normal(size=(80, 6)), None, task(measure="cosine", bins=1500))


def test_rows_of_any_length_far_from_the_origin(played, rng):
    x = 1e3 + rng.normal(size=(90, 12))
    wanted = task(normalize=None, measure="distance", bins=30, limits=(0.0, 9.0), distances=True, rates=(0.1,))
    assert_same(x, None, wanted)
    assert_same(x, x[::3] + 0.5, wanted)


def test_near_copies_are_measured_in_float64(played, rng):
    x = rng.normal(size=(40, 8))
    x = np.concatenate([x, x + 1e-7 * rng.normal(size=x.shape)])
    assert_same(x, None, task(distances=True, measure="distance", threshold=1e-3, examples=50))


@pytest.mark.parametrize("scale", [1e-30, 1e60])
def test_scales_beyond_the_range_of_the_split(played, rng, scale):
    x = scale * rng.normal(size=(30, 5))
    wanted = task(normalize=None, measure="distance", distances=True, rates=(1 / scale**2,))
    got = cuda_.pair_sums(x, None, wanted)
    want = reference.pair_sums(x, None, wanted)
    np.testing.assert_allclose(got.exp_sums, want.exp_sums, rtol=1e-12)
    assert got.distance_sum == pytest.approx(want.distance_sum, rel=1e-12)
    assert set(played.launched) == {"count_pairs_float64"}


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "int8"])
def test_element_types_and_strides(played, rng, dtype):
    rows = torch.from_numpy(5 * rng.normal(size=(60, 22)) + 9).to(getattr(torch, dtype))
    for x in (rows, rows[::2, 3:], rows.T.contiguous().T):
        assert_same(x, None, task(measure="cosine", bins=10))


def test_bad_rows_are_named_with_their_set(played, rng):
    x, other = rng.normal(size=(40, 4)), rng.normal(size=(40, 4))
    other[17] = 0
    with pytest.raises(ZeroNormError, match=r"other: .* the first is row 17"):
        cuda_.pair_sums(x, other, PLAIN)
    other[3, 1] = np.nan
    with pytest.raises(NonFiniteError, match=r"other: .* the first in row 3"):
        cuda_.pair_sums(x, other, PLAIN)
    with pytest.raises(InputError, match="squares float64 can hold"):
        cuda_.pair_sums(x * 1e200, None, task(normalize=None))
    assert cuda_.pair_sums(x[:0], None, task(measure="cosine", bins=3)).histogram.tolist() == [0, 0, 0]
