"""pair_sums: every backend against closed forms, scipy and the float64 oracle."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist, pdist

from featdiv.errors import InputError, NonFiniteError, ZeroNormError
from featdiv.ops import _dispatch, _native
from featdiv.ops.pair_sums import native_, pair_sums


@pytest.fixture(params=["native", "torch", "triton", "reference"])
def backend(request):
    reason = _dispatch.unsupported_reason(_dispatch.Request(op="pair_sums", d=8), request.param)
    if reason is not None:
        pytest.skip(reason)
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def circle(n):
    angle = 2 * np.pi * np.arange(n) / n
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def test_points_on_a_circle_have_a_closed_form(backend):
    """|x_i - x_j|^2 = 2 - 2 cos(2 pi (i - j) / n): each difference occurs n times in n^2 ordered pairs."""
    n, rates = 120, [0.5, 2.0, 8.0]
    steps = 2 - 2 * np.cos(2 * np.pi * np.arange(1, n) / n)
    truth = [n / 2 * np.exp(-t * steps).sum() for t in rates]
    got = pair_sums(3.7 * circle(n), rates=rates, backend=backend)
    assert got.pairs == n * (n - 1) // 2
    assert got.backend == backend
    assert got.exp_sums == pytest.approx(truth, rel=1e-6)
    exact = pair_sums(3.7 * circle(n), rates=rates, precision="float64", backend=backend)
    assert exact.exp_sums == pytest.approx(truth, rel=1e-12)


def test_two_antipodal_points(backend):
    got = pair_sums(np.array([[0.0, 5.0], [0.0, -1.0]]), measure="distance", backend=backend)
    assert got.exp_sums[0] == pytest.approx(math.exp(-8), rel=1e-6)
    assert got.nearest == (0, 1, 2.0)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int8", "uint8", "int64"])
@pytest.mark.parametrize("normalize", ["l2", None])
def test_every_element_type_against_scipy(backend, rng, dtype, normalize):
    values = rng.normal(0.0, 2.0, size=(131, 37)) + 5.0
    rows = torch.from_numpy(values).to(torch.bfloat16) if dtype == "bfloat16" else values.astype(dtype)
    x = np.asarray(rows.double() if isinstance(rows, torch.Tensor) else rows, dtype=np.float64)
    if normalize:
        x = x / np.linalg.norm(x, axis=1)[:, None]
    rate = 2.0 if normalize else 0.01
    truth = np.exp(-rate * pdist(x) ** 2).sum()
    got = pair_sums(rows, rates=[rate], normalize=normalize, backend=backend)
    assert got.exp_sums[0] == pytest.approx(truth, rel=1e-6)


@pytest.mark.parametrize(("n", "m", "d"), [(1, 1, 1), (2, 3, 1), (47, 49, 16), (100, 7, 33), (200, 193, 130)])
def test_two_sets_of_any_shape(backend, rng, n, m, d):
    x, y = rng.normal(size=(n, d)).astype(np.float32), rng.normal(size=(m, d)).astype(np.float32)
    distances = cdist(x.astype(float), y.astype(float))
    edges = np.linspace(0.0, distances.max() * 0.9, 8)
    got = pair_sums(
        x,
        y,
        rates=[0.3 / d],
        measure="distance",
        bins=7,
        limits=(0.0, float(edges[-1])),
        threshold=float(np.median(distances)),
        examples=5,
        normalize=None,
        backend=backend,
    )
    assert got.pairs == n * m
    assert got.exp_sums[0] == pytest.approx(np.exp(-0.3 / d * distances**2).sum(), rel=1e-6)
    assert got.histogram.tolist() == np.histogram(distances, bins=got.edges)[0].tolist()
    assert got.above == (distances > edges[-1]).sum()
    assert got.below == 0
    close = np.argwhere(distances <= np.median(distances))
    assert got.close == pytest.approx(len(close), abs=1)  # the median itself may fall on either side
    assert got.nearest[:2] == np.unravel_index(distances.argmin(), distances.shape)
    assert got.nearest[2] == pytest.approx(distances.min(), rel=1e-12)


@pytest.mark.parametrize("n", [2, 48, 49, 100, 300])
def test_cosines_within_one_set(backend, rng, n):
    x = rng.normal(size=(n, 12)).astype(np.float32)
    unit = x / np.linalg.norm(x.astype(float), axis=1)[:, None]
    cosines = (unit @ unit.T)[np.triu_indices(n, 1)]
    got = pair_sums(x, measure="cosine", bins=50, threshold=0.5, examples=4, backend=backend)
    assert got.histogram.sum() == got.pairs == len(cosines)
    assert got.histogram.tolist() == np.histogram(cosines, bins=got.edges)[0].tolist()
    assert got.close == (cosines >= 0.5).sum()
    close = [[i, j] for i in range(n) for j in range(i + 1, n) if unit[i] @ unit[j] >= 0.5]
    assert got.close_pairs.tolist() == close[:4]
    assert got.nearest[2] == pytest.approx(cosines.max(), rel=1e-12)


def test_values_on_an_edge_are_decided_in_float64(backend):
    """Cosines of 0, 1/2 and 1 exactly, on edges and on the threshold: a float32 product may fall on either side."""
    rows = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1], [2, 2, 0, 0]]) * 0.1
    got = pair_sums(rows, measure="distance", bins=4, limits=(0.0, 2.0), normalize=None, backend=backend)
    truth = np.histogram(pdist(rows), bins=got.edges)[0]
    assert got.histogram.tolist() == truth.tolist()
    whole = pair_sums(np.eye(60, dtype=np.float32), measure="cosine", bins=2, threshold=0.0, backend=backend)
    assert whole.histogram.tolist() == [0, 1770]
    assert whole.close == 1770


def test_copies_are_neither_lost_past_the_last_edge_nor_below_zero(backend, rng):
    row = rng.normal(size=(1, 33)).astype(np.float32)
    copies = np.repeat(row, 130, axis=0)
    got = pair_sums(copies, measure="cosine", bins=10, backend=backend)
    assert got.histogram.tolist() == [0] * 9 + [130 * 129 // 2]
    assert (got.below, got.above) == (0, 0)
    assert got.nearest[:2] == (0, 1)
    assert got.exp_sums[0] == pytest.approx(got.pairs, rel=2e-6)
    apart = pair_sums(copies, measure="distance", bins=10, threshold=1e-3, examples=2, backend=backend)
    assert apart.histogram.tolist() == [130 * 129 // 2] + [0] * 9
    assert apart.close == apart.pairs
    assert apart.close_pairs.tolist() == [[0, 1], [0, 2]]


def test_copies_fall_into_the_last_of_a_million_bins(backend, rng):
    """The bins are narrower than the rounding of float32, so that every cosine is computed again; some pass 1."""
    copies = np.repeat(rng.normal(size=(40, 33)).astype(np.float32), 2, axis=0)
    got = pair_sums(copies[::-1], copies, measure="cosine", bins=1 << 20, backend=backend)
    assert (got.below, got.above) == (0, 0)
    assert got.histogram[-1] == 160


def test_large_offsets_do_not_hurt_distances(backend, rng):
    x = 1000.0 + rng.normal(size=(90, 8))
    truth = np.exp(-0.1 * pdist(x) ** 2).sum()
    got = pair_sums(x, rates=[0.1], normalize=None, backend=backend)
    assert got.exp_sums[0] == pytest.approx(truth, rel=2e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_any_scale(backend, rng, scale):
    x = (scale * rng.normal(size=(70, 9))).astype(np.float32)
    rate = 0.1 / scale**2
    distances = pdist(x.astype(float))
    got = pair_sums(x, rates=[rate], measure="distance", normalize=None, backend=backend)
    assert got.exp_sums[0] == pytest.approx(np.exp(-rate * distances**2).sum(), rel=1e-6)
    assert got.nearest[2] == pytest.approx(distances.min(), rel=1e-9)
    unit = pair_sums(x, backend=backend)
    assert unit.exp_sums[0] == pytest.approx(
        pair_sums(x / np.float32(scale), backend="reference").exp_sums[0], rel=1e-5
    )


@pytest.mark.parametrize("n", [1, 2, 47, 49, 150])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_sum_of_distances(backend, rng, n, precision):
    x, y = rng.normal(size=(n, 19)) + 3.0, rng.normal(size=(31, 19))
    unit_x, unit_y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
    options = {"rates": [], "distances": True, "precision": precision, "backend": backend}
    assert pair_sums(x, normalize=None, **options).distance_sum == pytest.approx(pdist(x).sum(), rel=1e-6)
    assert pair_sums(x, **options).distance_sum == pytest.approx(pdist(unit_x).sum(), rel=1e-6)
    assert pair_sums(x, y, **options).distance_sum == pytest.approx(cdist(unit_x, unit_y).sum(), rel=1e-6)
    assert pair_sums(x, rates=[1.0], backend=backend).distance_sum is None


def test_copies_add_no_distance(backend, rng):
    """Differences of float32 products would give each of them about 1e-3."""
    x = rng.normal(size=(20, 64))
    near = x + 1e-6 * rng.normal(size=x.shape)
    options = {"rates": [], "distances": True, "normalize": None, "backend": backend}
    assert pair_sums(np.repeat(x[:1], 99, axis=0), **options).distance_sum == 0.0
    tight = np.concatenate([x[:1], near[:1], x[:1] + 1.0])
    assert pair_sums(tight, **options).distance_sum == pytest.approx(pdist(tight).sum(), rel=1e-6)
    many = np.concatenate([x, near])
    assert pair_sums(many, **options).distance_sum == pytest.approx(pdist(many).sum(), rel=1e-6)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_distances_far_beyond_the_edges_are_counted_above(backend, precision):
    x = np.array([[0.0], [1e6], [3e6], [3e6 + 0.25]])
    found = pair_sums(
        x, measure="distance", bins=4, limits=(0.0, 1.0), normalize=None, precision=precision, backend=backend
    )
    assert (found.histogram.tolist(), found.below, found.above) == ([0, 1, 0, 0], 0, 5)


@pytest.mark.parametrize("isa", _native.ISAS)
def test_a_rounding_wider_than_a_bin_is_resolved_beyond_the_last_edge_too(monkeypatch, rng, isa):
    if _native.missing():
        pytest.skip(str(_native.missing()))
    if _native.ISAS.index(isa) > _native.module().best_isa():
        pytest.skip(f"this machine has no {isa}")
    monkeypatch.setenv(_native.ISA_VARIABLE, isa)
    x = 1.0 + np.concatenate([np.zeros((1, 8)), rng.normal(size=(300, 8))])
    near = x[:1] + 1e-6 * rng.normal(size=(300, 8))
    limits = (0.0, 2e-6)
    found = pair_sums(x, near, measure="distance", bins=50, limits=limits, normalize=None, rates=[])
    truth = np.histogram(cdist(x, near), bins=50, range=limits)[0]
    assert found.histogram.tolist() == truth.tolist()


@pytest.mark.parametrize("consecutive", [True, False])
def test_pairs_by_blocks(backend, rng, consecutive):
    """Blocks of one row and of 60; the whole is the same with blocks or without."""
    x = rng.normal(size=(141, 9))
    blocks = np.repeat([0, 1, 2, 3], [60, 1, 37, 43])
    if not consecutive:
        rng.shuffle(blocks)
    options = {"rates": [0.3, 2.0], "measure": "cosine", "bins": 8, "threshold": 0.8, "examples": 7, "distances": True}
    got, plain = (pair_sums(x, backend=backend, blocks=b, **options) for b in (blocks, None))
    assert plain.by_block is None
    assert got.by_block.exp_sums.shape == (4, 4, 2)
    u = x / np.linalg.norm(x, axis=1, keepdims=True)
    squares, above = cdist(u, u) ** 2, np.triu(np.ones((141, 141), bool), 1)
    for a in range(4):
        for b in range(4):
            between = np.logical_and.outer(blocks == a, blocks == b)
            between = (between & above) if a == b else (between if a < b else np.zeros_like(between))
            assert got.by_block.pairs[a, b] == between.sum()
            sums = [np.exp(-t * squares[between]).sum() for t in (0.3, 2.0)]
            assert got.by_block.exp_sums[a, b] == pytest.approx(sums, rel=1e-5)
            assert got.by_block.distance_sums[a, b] == pytest.approx(np.sqrt(squares[between]).sum(), rel=1e-5)
            counts = np.histogram((u @ u.T)[between], bins=8, range=(-1, 1))[0]
            assert got.by_block.histogram[a, b].tolist() == counts.tolist()
    assert got.exp_sums == pytest.approx(plain.exp_sums, rel=1e-6)
    assert got.distance_sum == pytest.approx(plain.distance_sum, rel=1e-6)
    assert (got.pairs, got.close, got.nearest[:2]) == (plain.pairs, plain.close, plain.nearest[:2])
    assert got.histogram.tolist() == plain.histogram.tolist()
    assert got.close_pairs.tolist() == plain.close_pairs.tolist()


def test_blocks_that_will_not_do(rng):
    x = rng.normal(size=(4, 2))
    with pytest.raises(InputError, match="blocks: expected None for pairs across two sets"):
        pair_sums(x, x, blocks=[0, 0, 1, 1])
    for wrong in ([0, 0, 1], [0.0, 0.0, 1.0, 1.0], [0, 0, -1, 1], [[0, 0, 1, 1]]):
        with pytest.raises(InputError, match="blocks: expected one block number"):
            pair_sums(x, blocks=wrong)
    with pytest.raises(InputError, match="no row is of block 1"):
        pair_sums(x, blocks=[0, 0, 2, 2])


def test_squares_that_overflow_are_an_error():
    for backend in ("native", "torch"):
        with pytest.raises(InputError, match="multiply all rows by a constant"):
            pair_sums(np.array([[1e200], [-1e200]]), normalize=None, measure="distance", backend=backend)


def test_no_pairs(backend):
    for rows, other in ((np.zeros((0, 3)), None), (np.ones((1, 3)), None), (np.ones((2, 3)), np.ones((0, 3)))):
        got = pair_sums(rows, other, measure="cosine", bins=3, threshold=0.1, examples=2, backend=backend)
        assert got.pairs == 0
        assert got.exp_sums.tolist() == [0.0]
        assert got.histogram.tolist() == [0, 0, 0]
        assert got.close == 0
        assert got.close_pairs.shape == (0, 2)
        assert got.nearest is None


def test_bad_rows_are_placed(backend, rng):
    good = rng.normal(size=(80, 5))
    bad = good.copy()
    bad[[60, 71], 2] = np.nan
    with pytest.raises(NonFiniteError, match=r"pair_sums: x: .*2 NaN or infinite entries, the first in row 60"):
        pair_sums(bad, backend=backend)
    with pytest.raises(NonFiniteError, match=r"pair_sums: other: .*row 60"):
        pair_sums(good, bad, normalize=None, backend=backend)
    bad[[60, 71]] = 0.0
    with pytest.raises(ZeroNormError, match=r"pair_sums: other: .*2 zero rows, the first is row 60") as error:
        pair_sums(good, bad, backend=backend)
    assert (error.value.count, error.value.first_row) == (2, 60)


def test_strided_rows(backend, rng):
    base = rng.normal(size=(120, 30)).astype(np.float32)
    truth = pair_sums(base[::2, ::3].copy(), backend="reference").exp_sums[0]
    for view in (base[::2, ::3], np.asfortranarray(base[::2, ::3]), torch.from_numpy(base)[::2, ::3]):
        assert pair_sums(view, backend=backend).exp_sums[0] == pytest.approx(truth, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rates": [0.0]}, "rates: expected positive"),
        ({"rates": [math.nan]}, "rates: expected positive"),
        ({"measure": "angle"}, "measure: expected None, 'cosine' or 'distance'; got 'angle'"),
        ({"normalize": "l1"}, "normalize: expected None or 'l2'"),
        ({"measure": "cosine", "normalize": None}, "needs normalize='l2'"),
        ({"bins": 3}, "bins and threshold need measure"),
        ({"measure": "cosine", "bins": -1}, "0 <= bins"),
        ({"measure": "distance", "bins": 3, "normalize": None}, "limits: .*give them"),
        ({"measure": "cosine", "bins": 3, "limits": (1.0, 1.0)}, "limits: expected finite low < high"),
        ({"precision": "tf32"}, "precision: expected one of"),
    ],
)
def test_arguments_are_checked(options, words):
    with pytest.raises(InputError, match=words):
        pair_sums(np.ones((3, 2)), **options)


def test_the_two_sets_must_match():
    with pytest.raises(InputError, match=r"other: expected float64 rows of 2 features.*got float32 rows of 2"):
        pair_sums(np.ones((3, 2)), np.ones((3, 2), dtype=np.float32))
    with pytest.raises(InputError, match=r"x: expected shape \(n, d\)"):
        pair_sums(np.ones(3))


def test_a_wrong_kernel_is_caught(monkeypatch):
    true = native_.pair_sums

    def counting_rows_with_themselves(x, other, task):
        result = true(x, other, task)
        result.exp_sums[:] += len(x)
        return result

    if _native.missing():
        pytest.skip(str(_native.missing()))
    monkeypatch.setattr(native_, "pair_sums", counting_rows_with_themselves)
    with pytest.raises(AssertionError):
        test_points_on_a_circle_have_a_closed_form("native")


def test_many_equal_bins_and_single_bins_agree(backend):
    """Histograms of a few bins and of very many are counted in different ways."""
    rows = np.random.default_rng(10).normal(size=(150, 6)).astype(np.float32)
    coarse = pair_sums(rows, measure="cosine", bins=8, backend=backend)
    fine = pair_sums(rows, measure="cosine", bins=8 * 1024, backend=backend)
    assert fine.histogram.reshape(8, 1024).sum(axis=1).tolist() == coarse.histogram.tolist()
