"""Products of rounded rows: blocks of them with either unit, and the ops within their bounds.

The tile unit is a software one with the arithmetic of the manual; the integers need no VNNI here.
"""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from featdiv.ops import _native
from featdiv.ops.pair_sums import pair_sums

WIDTHS = (48, 48, 24)
"""Rows of a panel, by unit."""

INTEGERS, TILES, NARROW = 0, 1, 2


@pytest.fixture
def library(pair_blocks):
    return pair_blocks


def pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


class Side:
    """One panel of rows, rounded."""

    def __init__(self, library, unit, rows, *, stream=0, first_row=0):
        self.n, self.d = rows.shape
        width = WIDTHS[unit]
        by_row = np.zeros((-(-self.d // width), width, width), np.float32)
        for feature in range(self.d):
            by_row[feature // width, : self.n, feature % width] = rows[:, feature]
        self.squares = np.zeros(width, np.float32)
        self.squares[: self.n] = (rows.astype(np.float64) ** 2).sum(1)
        room = np.zeros(library.words_of(unit, ctypes.c_int64(self.d)) + 16, np.int32)
        start = -room.ctypes.data % 64 // 4
        self.words, self.units = room[start:], np.zeros(width, np.float32)
        sizes = (ctypes.c_int64(self.n), ctypes.c_int64(self.d), ctypes.c_uint32(stream), ctypes.c_int64(first_row))
        library.round_rows(unit, pointer(by_row), *sizes, pointer(self.words), pointer(self.units))


def block_sum(library, unit, left, right, rate, *, triangle=False):
    arrays = (left.words, right.words, left.units, right.units, left.squares, right.squares)
    sizes = (ctypes.c_int64(left.d), left.n, right.n, int(triangle), ctypes.c_double(rate))
    return library.sum_of_pairs(unit, *map(pointer, arrays), *sizes)


def truth(x, y, rate, *, triangle=False):
    x, y = x.astype(np.float64), y.astype(np.float64)
    terms = np.exp(-rate * ((x[:, None] - y[None]) ** 2).sum(-1))
    return float(terms[np.triu_indices(len(x), 1)].sum() if triangle else terms.sum())


def deviation(rows, rate, n):
    """The bound on the standard deviation of the logarithm of a sum."""
    return 6.2e-5 * rate * float((rows.astype(np.float64) ** 2).sum(1).max()) / np.sqrt(n)


@pytest.mark.parametrize("unit", [INTEGERS, TILES, NARROW])
@pytest.mark.parametrize(("m", "n", "d"), [(48, 48, 144), (17, 48, 145), (48, 1, 31), (5, 33, 600), (48, 48, 1)])
def test_a_block_against_float64(library, unit, m, n, d):
    rng = np.random.default_rng(d)
    m, n = min(m, WIDTHS[unit]), min(n, WIDTHS[unit])
    x, y = (rng.normal(size=(rows, d)).astype(np.float32) / np.float32(np.sqrt(d)) for rows in (m, n))
    left, right = Side(library, unit, x), Side(library, unit, y, stream=1, first_row=48)
    off = np.log(block_sum(library, unit, left, right, 2.0) / truth(x, y, 2.0))
    assert abs(off) < 5 * deviation(np.concatenate([x, y]), 2.0, min(m, n))


@pytest.mark.parametrize("unit", [INTEGERS, TILES, NARROW])
def test_a_block_on_the_diagonal_counts_each_pair_once(library, unit):
    rng = np.random.default_rng(1)
    n = WIDTHS[unit] - 11
    x = (rng.normal(size=(n, 50)) / 7).astype(np.float32)
    side = Side(library, unit, x)
    off = np.log(block_sum(library, unit, side, side, 1.0, triangle=True) / truth(x, x, 1.0, triangle=True))
    assert abs(off) < 5 * deviation(x, 1.0, n)


@pytest.mark.parametrize("unit", [INTEGERS, TILES, NARROW])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_largest_products_that_the_integers_hold(library, unit, sign):
    """All of the norm in many features, or in one: the sums of products end just below 2^31."""
    for d, filled in ((128, 128), (1000, 1000), (300, 2), (2, 2), (1, 1)):
        x = np.zeros((4, d), np.float32)
        x[:, :filled] = 1 / np.sqrt(filled)
        left, right = Side(library, unit, x), Side(library, unit, np.float32(sign) * x, stream=1)
        off = np.log(block_sum(library, unit, left, right, 0.25) / truth(x, sign * x, 0.25))
        assert abs(off) < 5 * deviation(x, 0.25, 4)


@pytest.mark.parametrize("unit", [INTEGERS, TILES, NARROW])
def test_rounding_has_mean_zero_whatever_the_rows_are(library, unit):
    """Entries of two sizes round to the nearest integer the same way in all rows; at random they do not."""
    rng = np.random.default_rng(3)
    x = np.where(rng.random((WIDTHS[unit], 96)) < 0.5, 0.137, 0.0411).astype(np.float32)
    streams, want = 400, np.log(truth(x, x, 2.0, triangle=True))
    off = []
    for stream in range(streams):
        side = Side(library, unit, x, first_row=48 * stream)
        off.append(np.log(block_sum(library, unit, side, side, 2.0, triangle=True)) - want)
    # Float32 arithmetic itself is some 1e-8 off.
    assert abs(np.mean(off)) < 4 * np.std(off) / np.sqrt(streams) + 2e-8
    assert np.std(off) < deviation(x, 2.0, len(x))


@pytest.mark.parametrize("unit", [INTEGERS, TILES, NARROW])
def test_exponentials_below_the_range_of_floats_are_zero(library, unit):
    n = WIDTHS[unit]
    x = np.diag(np.full(n, 4.0)).astype(np.float32)
    side = Side(library, unit, x)
    for rate in (2.0, 3.0, 1e6, 1e20):  # the second is 2^-138
        got = block_sum(library, unit, side, side, rate, triangle=True)
        assert np.isclose(got, n * (n - 1) / 2 * np.exp(-32 * rate), rtol=0.02, atol=1e-36)


@pytest.mark.parametrize("backend", ["native", "torch"])
@pytest.mark.parametrize("precision", ["mixed", "float32"])
def test_rates_that_leave_only_copies(backend, precision, rng):
    x = rng.normal(size=(100, 8)).astype(np.float32)
    x[1] = x[0]
    for rate in (1e30, 1e39, 1e300):
        assert pair_sums(x, rates=[rate], precision=precision, backend=backend).exp_sums[0] in (0.0, 1.0)


def rows_of(kind, n, rng):
    if kind == "isotropic":
        return rng.normal(size=(n, 61))
    if kind == "collapsed":
        return rng.normal(size=61) + 1e-3 * rng.normal(size=(n, 61))
    if kind == "equal":
        return np.tile(rng.normal(size=61), (n, 1))
    if kind == "antipodes":
        return rng.choice([-1.0, 1.0], size=(n, 1)) * rng.normal(size=61)
    if kind == "spiked":
        return np.c_[100 * rng.normal(size=n), rng.normal(size=(n, 60))]
    return 0.4 + (rng.random((n, 61)) < 0.3)


@pytest.mark.parametrize("kind", ["isotropic", "collapsed", "equal", "antipodes", "spiked", "two levels"])
def test_the_op_within_its_bound(kind, rng):
    if not _native.module().rounds_pairs(_native.isa()):
        pytest.skip("this machine has no unit for rounded rows")
    x = rows_of(kind, 1500, rng)
    want = pair_sums(x, precision="float64", backend="native").exp_sums[0]
    got = pair_sums(x.astype(np.float32), precision="mixed", backend="native")
    assert got.precision == "mixed"
    # Rows of unit length less their mean.
    assert abs(np.log(got.exp_sums[0] / want)) < 4 * 6.2e-5 * 2.0 / np.sqrt(1500)


def test_rounded_rows_of_two_sets_and_of_several_stretches(rng, threads):
    """45,000 features: a stretch holds four panels."""
    if not _native.module().rounds_pairs(_native.isa()):
        pytest.skip("this machine has no unit for rounded rows")
    x = rng.standard_normal((250, 45_000), dtype=np.float32)
    y = rng.standard_normal((60, 45_000), dtype=np.float32)
    for other in (None, y):
        want = pair_sums(x, other, rates=[0.5, 2.0], backend="torch")
        found = []
        for count in (1, 3):
            threads(count)
            found.append(pair_sums(x, other, rates=[0.5, 2.0], precision="mixed", backend="native"))
        assert found[0].exp_sums.tolist() == found[1].exp_sums.tolist()
        assert found[0].precision == "mixed"
        np.testing.assert_allclose(np.log(found[0].exp_sums), np.log(want.exp_sums), atol=4e-6)


@pytest.mark.parametrize("normalize", ["l2", None])
def test_rows_too_long_for_the_rate_are_not_rounded(normalize, rng):
    """The noise of an exponent goes with t |x|^2: the sum over pairs was larger than their number."""
    x = rng.normal(size=(300, 64)).astype(np.float32)
    x[1] = x[0]
    rate = 2e4 if normalize else 2e4 / 64
    got = pair_sums(x, rates=[rate], normalize=normalize, precision="mixed", backend="native")
    assert (got.precision, got.exp_sums[0]) == ("float32", pytest.approx(1.0, rel=1e-2))


def test_rows_are_rounded_only_for_exponentials(isa, rng):
    x = rng.normal(size=(300, 16)).astype(np.float32)
    for wanted in ({"distances": True}, {"measure": "cosine", "bins": 4}):
        mixed, plain = (pair_sums(x, precision=name, backend="native", **wanted) for name in ("mixed", "float32"))
        assert mixed.precision == plain.precision == "float32"
        assert mixed.exp_sums.tolist() == plain.exp_sums.tolist()
    rounds = _native.module().rounds_pairs(_native.isa())
    assert pair_sums(x, precision="mixed", backend="native").precision == ("mixed" if rounds else "float32")
    assert pair_sums(x, precision="mixed", backend="torch").precision == "float32"


class NearestSide:
    """One panel of rows, rounded to nearest."""

    def __init__(self, library, unit, rows):
        self.n, self.d = rows.shape
        width = WIDTHS[unit]
        by_row = np.zeros((-(-self.d // width), width, width), np.float32)
        for feature in range(self.d):
            by_row[feature // width, : self.n, feature % width] = rows[:, feature]
        room = np.zeros(library.words_of(unit, ctypes.c_int64(self.d)) + 16, np.int32)
        self.words = room[-room.ctypes.data % 64 // 4 :]
        self.units, self.errors = np.zeros(width, np.float32), np.zeros(width, np.float32)
        arrays = (self.words, self.units, self.errors)
        sizes = (ctypes.c_int64(self.n), ctypes.c_int64(self.d))
        library.round_to_nearest(unit, pointer(by_row), *sizes, *map(pointer, arrays))
        halves = self.words[: width * (-(-self.d // 2))].view(np.int16).reshape(-1, width, 2)
        integers = halves.transpose(1, 0, 2).reshape(width, -1)[: self.n, : self.d]
        self.kept = integers * self.units[: self.n, None].astype(np.float64)


@pytest.mark.parametrize("unit", [INTEGERS, NARROW])
@pytest.mark.parametrize("kind", ["plain", "offset", "spiked", "zeros", "too small"])
@pytest.mark.parametrize(("m", "n", "d"), [(48, 48, 130), (5, 21, 33), (1, 48, 400)])
def test_rows_rounded_to_nearest_are_as_near_as_they_say(library, unit, kind, m, n, d):
    rng = np.random.default_rng(d)
    width = WIDTHS[unit]
    m, n = min(m, width), min(n, width)
    x, y = (rng.normal(size=(rows, d)).astype(np.float32) for rows in (m, n))
    if kind == "offset":
        x, y = x + 100, y + 100
    elif kind == "spiked":
        x[:, 3], y[:, 3] = 1000, -1000
    elif kind == "zeros":
        x[0], y[0] = 0, 0
    elif kind == "too small":
        x[0], y[0] = x[0] * 1e-30, y[0] * 1e-30
    left, right = NearestSide(library, unit, x), NearestSide(library, unit, y)
    for side, rows in ((left, x), (right, y)):
        gone = np.linalg.norm(rows - side.kept, axis=1)
        assert (gone <= side.errors[: side.n] * (1 + 1e-6)).all()
        # What is said is near what is so, and small beside the row.
        lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
        assert (side.errors[: side.n] <= 4 * gone + 1e-6 * lengths).all()
        assert (gone[lengths > 1e-6] <= 1.6e-5 * np.sqrt(d) * lengths[lengths > 1e-6]).all()

    half_squares = np.zeros(width, np.float32)
    half_squares[:n] = 0.5 * (y.astype(np.float64) ** 2).sum(1)
    want = x.astype(np.float64) @ y.astype(np.float64).T - half_squares[:n].astype(np.float64)
    thresholds = np.zeros(width, np.float32)
    thresholds[:m] = np.median(want, axis=1)
    nearness, better = np.zeros((width, width), np.float32), np.zeros(width, np.uint64)
    inputs = (left.words, right.words, left.units, right.units, half_squares, thresholds)
    sizes = (ctypes.c_int64(d), m, n)
    library.nearest_pairs(unit, *map(pointer, inputs), *sizes, pointer(nearness), pointer(better))
    a, b = left.units[:m].astype(np.float64) * 46340, right.units[:n].astype(np.float64) * 46340
    bound = np.outer(left.errors[:m], b) + np.outer(a + left.errors[:m], right.errors[:n])
    bound += 2.0**-20 * (np.outer(a, b) + half_squares[:n])
    assert (np.abs(nearness[:m, :n] - want) <= bound).all()
    bits = (better[:m, None] >> np.arange(width, dtype=np.uint64)) & np.uint64(1)
    assert (bits[:, :n].astype(bool) == (nearness[:m, :n] > thresholds[:m, None])).all()
    assert not bits[:, n:].any()


@pytest.mark.parametrize("unit", [INTEGERS, NARROW])
@pytest.mark.parametrize("scale", [1.0, 1e-13])
def test_single_features_fit_16_bits(library, unit, scale):
    x = np.array([[scale], [-scale]], np.float32)
    np.testing.assert_allclose(NearestSide(library, unit, x).kept, x, rtol=1e-4)
