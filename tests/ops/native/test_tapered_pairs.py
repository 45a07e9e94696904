"""Products of tapered rows: blocks of them in software, and the op within what a sample of rows predicts."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from featdiv.errors import InputError
from featdiv.ops import _native
from featdiv.ops.pair_sums import pair_sums, tapered

WIDTHS = {"wide": 48, "narrow": 24}
UNITS = {"wide": 0, "narrow": 2}


def pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


def aligned(size, dtype):
    room = np.zeros(size + 16, dtype)
    start = -room.ctypes.data % 64 // room.itemsize
    return room[start : start + size]


class Side:
    """One panel of rows, tapered; `kept` is what its integers stand for."""

    def __init__(self, library, width, rows, lead, *, first_row=0):
        self.n, self.d = rows.shape
        self.width, self.lead, self.unit = WIDTHS[width], lead, UNITS[width]
        by_row = np.zeros((-(-self.d // self.width), self.width, self.width), np.float32)
        for feature in range(self.d):
            by_row[feature // self.width, : self.n, feature % self.width] = rows[:, feature]
        self.words = aligned(library.tapered_words_of(self.unit, *self.sizes()), np.int32)
        self.units, self.offsets = aligned(self.width, np.float32), aligned(self.width, np.int32)
        self.squares = aligned(self.width, np.float32)
        self.squares[: self.n] = (rows.astype(np.float64) ** 2).sum(1)
        arrays = (self.words, self.units, self.offsets)
        numbers = (ctypes.c_int64(self.n), *self.sizes(), ctypes.c_int64(first_row))
        library.taper_rows(self.unit, pointer(by_row), *numbers, *map(pointer, arrays))
        words = self.words.reshape(-1, self.width).T[: self.n].copy()
        count = -(-(self.d - lead) // 4)
        leading, rest, unsigned = np.split(words, [lead // 2, lead // 2 + count], axis=1)
        self.integers = leading.copy().view(np.int16).reshape(self.n, lead).astype(np.int64)
        self.bytes = rest.copy().view(np.int8).astype(np.int64)
        self.unsigned = unsigned.copy().view(np.uint8).astype(np.int64)
        self.scale = self.units[: self.n, None].astype(np.float64)
        self.kept = np.c_[self.integers / 16, self.bytes[:, : self.d - lead]] * self.scale

    def sizes(self):
        return ctypes.c_int64(self.d), ctypes.c_int64(self.lead)


def block_sum(library, left, right, rate, *, triangle=False):
    arrays = (left.words, right.words, left.units, right.units, right.offsets, left.squares, right.squares)
    last = (left.n, right.n, int(triangle), ctypes.c_double(rate))
    return library.sum_of_tapered_pairs(left.unit, *map(pointer, arrays), *left.sizes(), *last)


def sum_of(left, right, rate, *, triangle=False):
    """The same from the integers, in float64; norms are those of the rows before rounding."""
    leading, others = left.integers @ right.integers.T, left.bytes @ right.bytes.T
    products = ((leading + 128 >> 8) + others) * left.scale * right.scale.T
    squares = left.squares[: left.n, None].astype(np.float64) + right.squares[None, : right.n]
    terms = np.exp(-rate * (squares - 2 * products))
    return float(terms[np.triu_indices(left.n, 1)].sum() if triangle else terms.sum())


def falling(n, d, rng):
    """Rows of about unit length whose features fall in size."""
    return (rng.normal(size=(n, d)) * np.arange(1, d + 1) ** -0.5 / np.sqrt(np.log(d + 1))).astype(np.float32)


SHAPES = [(48, 48, 144, 32), (17, 48, 145, 16), (48, 1, 67, 0), (5, 33, 600, 160), (48, 48, 390, 96), (7, 9, 18, 16)]


@pytest.mark.parametrize("width", ["wide", "narrow"])
@pytest.mark.parametrize(("m", "n", "d", "lead"), SHAPES)
def test_a_block_multiplies_the_integers_that_it_holds(pair_blocks, width, m, n, d, lead):
    rng = np.random.default_rng(d)
    x, y = (falling(min(rows, WIDTHS[width]), d, rng) for rows in (m, n))
    left, right = (Side(pair_blocks, width, rows, lead, first_row=48 * at) for at, rows in enumerate((x, y)))
    assert block_sum(pair_blocks, left, right, 2.0) == pytest.approx(sum_of(left, right, 2.0), rel=5e-7)
    if m > 1:
        alone = block_sum(pair_blocks, left, left, 2.0, triangle=True)
        assert alone == pytest.approx(sum_of(left, left, 2.0, triangle=True), rel=5e-7)


@pytest.mark.parametrize("width", ["wide", "narrow"])
@pytest.mark.parametrize(("m", "n", "d", "lead"), SHAPES)
def test_rounding_takes_away_less_than_a_unit(pair_blocks, width, m, n, d, lead):
    x = falling(min(m, WIDTHS[width]), d, np.random.default_rng(d))
    side = Side(pair_blocks, width, x, lead)
    off = (side.kept - x) / side.scale
    assert (np.abs(off[:, :lead]) < 1 / 16 + 1e-4).all()
    assert (np.abs(off[:, lead:]) < 1 + 1e-4).all()
    # Every byte counts: nowhere could the unit be half as large.
    used = np.maximum(np.abs(side.bytes).max(1), np.sqrt((side.integers**2).sum(1)) / 400)
    assert (used >= 63).all()
    assert (side.unsigned[:, : d - lead] == side.bytes[:, : d - lead] + 128).all()
    assert (side.offsets[: side.n] == -128 * side.bytes.sum(1)).all()
    assert not side.offsets[side.n :].any()


FILLED = [(64, 32, 0, 1), (64, 32, 0, 32), (64, 32, 40, 41), (9000, 16, 16, 9000), (20, 0, 0, 20)]


@pytest.mark.parametrize("width", ["wide", "narrow"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_largest_products_that_the_integers_hold(pair_blocks, width, sign):
    """All of the norm in one leading feature, in all of them, in one byte, or in thousands of bytes."""
    for d, lead, first, last in FILLED:
        x = np.zeros((4, d), np.float32)
        x[:, first:last] = 1 / np.sqrt(last - first)
        left, right = (
            Side(pair_blocks, width, rows, lead, first_row=48 * at) for at, rows in enumerate((x, np.float32(sign) * x))
        )
        got, want = block_sum(pair_blocks, left, right, 0.25), sum_of(left, right, 0.25)
        assert got == pytest.approx(want, rel=1e-5)
        assert want == pytest.approx(16 * np.exp(-0.25 * (2 - 2 * sign)), rel=0.02)


@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_rounding_has_mean_zero(pair_blocks, width):
    rng = np.random.default_rng(2)
    x = np.tile(falling(1, 80, rng), (WIDTHS[width], 1))
    found = np.concatenate([Side(pair_blocks, width, x, 16, first_row=48 * at).kept for at in range(60)])
    error = found.std(axis=0) / np.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - x[0]) < 5 * error + 1e-7).all()


@pytest.mark.parametrize("width", ["wide", "narrow"])
@pytest.mark.parametrize("d", [24, 50, 145])
def test_rows_turn_into_a_basis(pair_blocks, width, d):
    rng = np.random.default_rng(d)
    w = WIDTHS[width]
    panels = -(-d // w)
    rows, basis = rng.normal(size=(w, d)).astype(np.float32), np.linalg.qr(rng.normal(size=(d, d)))[0]
    padded = np.zeros((d, panels * w), np.float32)
    padded[:, :d] = basis
    packed = np.ascontiguousarray(padded.reshape(d, panels, w).transpose(1, 0, 2))
    columns, out = np.ascontiguousarray(rows.T), np.full((panels, w, w), np.nan, np.float32)
    pair_blocks.turn_into_basis(UNITS[width], pointer(columns), pointer(packed), ctypes.c_int64(d), pointer(out))
    turned = out.transpose(1, 0, 2).reshape(w, panels * w)
    np.testing.assert_allclose(turned[:, :d], rows @ basis, atol=2e-6)
    assert not turned[:, d:].any()


def test_a_sample_predicts_what_rounding_does():
    """Against 40 roundings of all rows, in NumPy."""
    rng = np.random.default_rng(4)
    x = falling(1500, 96, rng).astype(np.float64)
    x -= x.mean(axis=0)
    rate = 2.0
    rows = x.astype(np.float32)
    weighted = tapered._Weighted(rows[::2], rate)
    variances = tapered._variances(rows[::2], 0)
    units = np.abs(x).max(axis=1, keepdims=True) / 126.0
    squares = (x * x).sum(axis=1)

    def total(rounded):
        terms = np.exp(-rate * (squares[:, None] + squares - 2 * rounded @ rounded.T))
        return (terms.sum() - np.trace(terms)) / 2

    want = total(x)
    off = np.array([total(np.floor(x / units + rng.random(x.shape)) * units) / want - 1 for _ in range(40)])
    deviation, bias = weighted.deviation(variances, len(x)), weighted.bias(variances)
    assert off.std() == pytest.approx(deviation, rel=0.4)
    assert off.mean() == pytest.approx(bias, abs=4 * deviation / np.sqrt(40))
    assert bias > 4 * deviation / np.sqrt(40)


def test_the_rows_that_made_the_basis_do_not_judge_it(monkeypatch, rng):
    """Of 333 rows with 240 features, their own small components look half as large as those of others."""
    x = rng.normal(size=(24_000, 240)) * np.arange(1, 241) ** -0.3
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x -= x.mean(axis=0)
    monkeypatch.setattr(tapered, "DEVIATION", 1.0)
    monkeypatch.setattr(tapered, "BIAS", 2e-6)
    taper = tapered.choose(x[::48], 24_000, (2.0,))
    others = x[5::12].astype(np.float32) @ taper.basis
    variances = tapered._variances(others, taper.lead)
    assert taper.bias[0] == pytest.approx(tapered._Weighted(others, 2.0).bias(variances), rel=0.1)


@pytest.mark.parametrize(
    ("rows", "n", "why"),
    [
        (lambda rng: falling(4096, 128, rng), 16_000, "few rows"),
        (lambda rng: falling(4096, 32, rng), 1_000_000, "few features"),
        (lambda rng: falling(4096, 600, rng), 19_000, "few rows for its features"),
        (lambda rng: np.repeat(falling(8, 128, rng), 512, axis=0), 30_000, "groups of copies"),
    ],
)
def test_rows_keep_16_bits(rows, n, why, rng):
    x = rows(rng).astype(np.float64)
    assert tapered.choose(x - x.mean(axis=0), n, (2.0,)) is None, why


def test_more_rows_need_fewer_integers(rng):
    x = falling(2048, 256, rng).astype(np.float64)
    leads = [tapered.choose(x - x.mean(axis=0), n, (2.0,)).lead for n in (100_000, 10_000_000)]
    assert leads[1] < leads[0]


@pytest.fixture
def chosen(monkeypatch):
    """What was chosen, call by call."""
    if not _native.module().tapers_pairs(_native.isa()):
        pytest.skip("this machine has no unit for bytes")
    found, choose = [], tapered.choose

    def record(*arguments):
        found.append(choose(*arguments))
        return found[-1]

    monkeypatch.setattr(tapered, "choose", record)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("normalize", ["l2", None])
def test_the_op_is_as_near_as_predicted(normalize, chosen, rng):
    x = falling(24_000, 200, rng)
    blocks, rates = np.arange(len(x)) // 9_000, [0.5, 1.0]
    want = pair_sums(x, rates=rates, normalize=normalize, backend="native")
    got = pair_sums(x, rates=rates, normalize=normalize, precision="mixed", backend="native", blocks=blocks)
    assert (chosen[0].lead < 128, got.precision) == (True, "mixed")
    off = np.log(got.exp_sums / want.exp_sums)
    # Float32 products are some 1e-8 off.
    assert (np.abs(off) < 4 * chosen[0].deviation + 5e-8).all()
    np.testing.assert_allclose(got.by_block.exp_sums.sum(axis=(0, 1)), got.exp_sums, rtol=1e-12)


def test_the_bias_of_bytes_is_taken_off(chosen, monkeypatch, rng):
    """All features in bytes, whatever the sample says."""
    monkeypatch.setattr(tapered, "DEVIATION", 1.0)
    monkeypatch.setattr(tapered, "BIAS", 1.0)
    x = rng.normal(size=(20_000, 200)).astype(np.float32)
    want, got = (pair_sums(x, precision=name, backend="native").exp_sums[0] for name in ("float32", "mixed"))
    taper = chosen[0]
    assert taper.lead == 0
    assert taper.bias[0] > 4 * taper.deviation
    assert abs(np.log(got / want)) < 4 * taper.deviation


def test_threads_change_nothing(chosen, threads, rng):
    x = falling(17_000, 96, rng) * np.float32(0.5)
    sums = []
    for count in (1, 3):
        threads(count)
        sums.append(pair_sums(x, normalize=None, rates=[0.5], precision="mixed", backend="native").exp_sums.tolist())
    assert chosen[0] is not None
    assert sums[0] == sums[1]


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e200])
def test_rows_of_any_scale(chosen, scale, monkeypatch, rng):
    """Those that floats do not hold end as without bytes."""
    monkeypatch.setattr(tapered, "LEAST_ROWS", 1)
    x = rng.normal(size=(2_100, 64)) * scale
    rate = {1e-30: 1e37, 1e-200: 1e37, 1e30: 2e-62, 1e200: 1e-300}[scale]
    found = []
    for precision in ("mixed", "float32"):
        try:
            found.append(pair_sums(x, normalize=None, rates=[rate], precision=precision, backend="native").exp_sums[0])
        except InputError as error:
            found.append(str(error))
    assert found[0] == (pytest.approx(found[1], rel=1e-5) if isinstance(found[1], float) else found[1])
    assert len(chosen) == 1


def test_one_long_row_that_no_sample_has_met(chosen, monkeypatch, rng):
    """All rows keep 16 bits then."""
    x = falling(17_000, 96, rng) * np.float32(0.5)
    x[1] *= 6 / np.linalg.norm(x[1])
    got = pair_sums(x, normalize=None, rates=[0.5], precision="mixed", backend="native")
    assert chosen[0] is not None
    monkeypatch.setattr(tapered, "choose", lambda *arguments: None)
    want = pair_sums(x, normalize=None, rates=[0.5], precision="mixed", backend="native")
    assert got.exp_sums.tolist() == want.exp_sums.tolist()
    assert got.precision == want.precision == "mixed"
