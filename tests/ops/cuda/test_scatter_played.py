"""scatter through the CUDA kernels, played on the host, against the float64 sums of the harness."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from featdiv.errors import BudgetExceeded, NonFiniteError, ZeroNormError
from featdiv.ops import _cuda_moments, _cupy, _device_moments, _dispatch
from featdiv.ops._routes import route
from featdiv.ops.scatter import PRECISIONS, Sums, cuda_, tensor_cores
from featdiv.testing import cases
from featdiv.testing.compare import assert_scatter_backend

pytestmark = pytest.mark.usefixtures("played")

DTYPES = ["float64", "float32", "float16", "bfloat16", "int8", "uint8", "int16", "int32", "int64", "bool"]


@pytest.mark.parametrize(
    ("dtype", "precision"),
    [*((dtype, "float32") for dtype in DTYPES), *(("float32", precision) for precision in PRECISIONS)],
)
def test_every_type_and_precision(dtype, precision):
    assert_scatter_backend(cuda_.scatter, cases.of_type(dtype, 131, 19), precision=precision, context=dtype)


@pytest.mark.parametrize(("dtype", "precision"), [("float32", each) for each in PRECISIONS] + [("float16", "float32")])
def test_tiles_of_many_features(played, dtype, precision):
    assert_scatter_backend(cuda_.scatter, cases.of_type(dtype, 200, 141), precision=precision, context=dtype)
    terms = route(dtype, precision, transformed=False)
    side = 64 if precision == "float64" else 128
    assert f"gram_{terms.element}_{terms.products}_{side}" in played.launched


@pytest.mark.parametrize("name", list(cases.GENERATORS))
@pytest.mark.parametrize("precision", ["float32", "mixed"])
def test_every_distribution_without_falling_back_to_float64(name, precision):
    rows = cases.make(name, 400, 21).rows
    assert_scatter_backend(cuda_.scatter, rows, precision=precision, context=name)
    sums = Sums.zeros(21)
    cuda_.scatter(rows, sums, precision=precision)
    assert sums.tiles == 7
    assert sums.tiles_in_float64 == 0


def test_sums_of_constant_magnitude_do_not_drift(monkeypatch):
    """Every product has the same magnitude, so that each rounding of a plain float32 sum goes the same way."""
    monkeypatch.setattr(_device_moments, "PROGRAMS", 1)
    rows = np.full((2500, 3), np.float32(1 / 3))
    rows[:, 1] *= np.sign(np.random.default_rng(0).normal(size=2500))
    assert_scatter_backend(cuda_.scatter, rows)


def test_a_large_offset_is_taken_off_by_the_shift():
    rows = (1e4 + np.random.default_rng(0).normal(size=(300, 9))).astype(np.float32)
    assert_scatter_backend(cuda_.scatter, rows, shift=rows[:64].astype(float).mean(axis=0))


@pytest.mark.parametrize(
    ("n", "d"), [(1, 1), (1, 5), (2, 1), (63, 3), (64, 64), (65, 65), (130, 129), (300, 2), (200, 70), (3, 257)]
)
def test_odd_shapes(n, d):
    assert_scatter_backend(cuda_.scatter, cases.of_type("float32", n, d))


def test_shift_exponent_and_normalise():
    rows = cases.of_type("float32", 100, 6, seed=1) + np.float32(1000.0)
    shift = np.full(6, 1000.0)
    exponent = np.array([3, -2, 0, 1, 7, -5], np.int32)
    assert_scatter_backend(cuda_.scatter, rows, shift=shift)
    assert_scatter_backend(cuda_.scatter, rows, shift=shift, exponent=exponent)
    assert_scatter_backend(cuda_.scatter, rows, normalize="l2")
    assert_scatter_backend(cuda_.scatter, rows - 1000, normalize="l2", shift=np.full(6, 0.25), precision="float64")


@pytest.mark.parametrize("scale", [1e-300, 1e300, 5e-324])
def test_directions_of_rows_at_the_ends_of_float64(scale):
    rows = np.array([[3.0, -4.0], [1.0, 0.0], [2.0, 2.0]]) * scale
    sums = Sums.zeros(2)
    cuda_.scatter(rows, sums, normalize="l2")
    unit = (rows / np.abs(rows).max(axis=1)[:, None]).astype(np.longdouble)
    unit /= np.sqrt((unit**2).sum(axis=1))[:, None]
    np.testing.assert_allclose(sums.symmetric_gram(), (unit.T @ unit).astype(float), rtol=0, atol=1e-6)


def test_strided_rows_are_read_in_place():
    base = torch.from_numpy(cases.of_type("float32", 150, 24))
    for rows in (base[:, 3:17], base[::3, ::2], base.T.contiguous().T, base[5:]):
        assert_scatter_backend(cuda_.scatter, rows)


def test_more_rows_than_are_packed_at_a_time(monkeypatch):
    monkeypatch.setattr(_device_moments, "PACKED_BYTES", 1 << 17)
    monkeypatch.setattr(_device_moments, "PROGRAMS", 3)
    assert_scatter_backend(cuda_.scatter, cases.of_type("float32", 700, 30))


@pytest.mark.parametrize("precision", ["float32", "mixed", "float64"])
@pytest.mark.parametrize("d", [21, 70])
def test_neither_the_order_of_threads_nor_the_moment_of_a_copy_matters(played, precision, d):
    rows, found = cases.of_type("float32", 150, d), []
    for played.backwards, played.eager in ((False, False), (True, False), (False, True), (True, True)):
        sums = Sums.zeros(d, norm_sums=True)
        cuda_.scatter(rows, sums, precision=precision, normalize="l2")
        found.append(np.concatenate([sums.gram.ravel(), sums.total, sums.weighted, sums.fourth]))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize("scale", [1e-30, 1e25])
def test_rows_beyond_the_range_of_the_split_go_to_float64(scale):
    rows = cases.of_type("float32", 70, 5) * np.float32(scale)
    sums = Sums.zeros(5)
    cuda_.scatter(rows, sums)
    truth = rows.astype(float).T @ rows.astype(float)
    np.testing.assert_allclose(sums.symmetric_gram(), truth, rtol=0, atol=1e-14 * truth.max())
    assert sums.tiles_in_float64 == sums.tiles == 2


def test_bfloat16_asked_for_where_it_is_too_coarse_gets_more_terms():
    """1 + 2^-8 lies half way between two bfloat16 numbers: each square would be off by 0.8 %."""
    rows = np.full((300, 3), 1 + 2.0**-8, np.float32)
    sums = Sums.zeros(3)
    cuda_.scatter(rows, sums, precision="bfloat16")
    assert sums.symmetric_gram() == pytest.approx(300 * (1 + 2.0**-8) ** 2, rel=1e-6)
    assert sums.tiles_in_float64 == 0


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nonfinite_rows_are_counted_and_placed(bad, dtype):
    rows = cases.of_type(dtype, 200, 7)
    rows[150, 2] = rows[170, 0] = bad
    for arguments in ({}, {"normalize": "l2"}, {"precision": "float64"}):
        with pytest.raises(NonFiniteError, match="got 2 NaN or infinite entries, the first in row 150"):
            cuda_.scatter(rows, Sums.zeros(7), **arguments)


def test_zero_rows_have_no_direction():
    rows = cases.of_type("float32", 90, 4)
    rows[70:72] = 0
    with pytest.raises(ZeroNormError, match="got 2 zero rows, the first is row 70"):
        cuda_.scatter(rows, Sums.zeros(4), normalize="l2")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "fault"),
    [
        pytest.param("copy_wait<stages - 2>();", "", id="copies not waited for"),
        pytest.param("multiply(part, left, right + depth * side, at, j);", "", id="a product left out"),
        pytest.param("Unit::place(left_row, chunk)", "chunk", id="rows read as if they were not permuted"),
        pytest.param("rest = (larger - sum) - next;", "rest = larger - sum;", id="a wrong remainder"),
        pytest.param("k + lane / 8 % 2 * 8", "k + lane / 16 * 8", id="fragments mixed up"),
        pytest.param("if (link < count)", "if (link + 1 < count)", id="the last rows left out"),
    ],
)
def test_a_wrong_kernel_is_caught(played, monkeypatch, tmp_path, line, fault):
    folder = _cupy.sources() / "cuda"
    source = (folder / "gram.cuh").read_text()
    assert source.count(line) == 1
    # Kernels that are not launched here would only take time to compile.
    source = re.sub(r"FEATDIV_GRAM\((?!name|gram_bfloat16_6_64|gram_float64).*\n", "", source.replace(line, fault))
    wrong = tmp_path / "gram.cuh"
    wrong.write_text(source.replace('"units.cuh"', f'"{folder / "units.cuh"}"'))
    launch = played.launch

    def launch_wrong(source, *arguments, **more):
        launch(wrong if source == "gram.cuh" else source, *arguments, **more)

    monkeypatch.setattr(_cupy, "launch", launch_wrong)
    with pytest.raises(AssertionError, match=r"frobenius error|entrywise error|only float64 mended"):
        judge(np.abs(cases.of_type("float32", 150, 5)) + np.float32(0.3))


def judge(rows):
    """Requires the tolerance, and that the kernel's own products kept it."""
    assert_scatter_backend(cuda_.scatter, rows, context="planted")
    sums = Sums.zeros(rows.shape[1])
    cuda_.scatter(rows, sums)
    assert sums.tiles_in_float64 == 0, "its products broke the bound, which only float64 mended"


def test_tiles_threads_and_stages_are_those_of_the_kernels():
    """The table of launches against the template arguments in the source, and the limit of every device."""
    source = (_cupy.sources() / "cuda" / "gram.cuh").read_text()
    pattern = r"FEATDIV_GRAM\((\w+), featdiv::(\w+)Unit, (\d+), (\d+), (\d+), (\d+), (\d+), (\d+)\)"
    found = {}
    for name, unit, *numbers in re.findall(pattern, source):
        side, down, across, products, depth, stages = map(int, numbers)
        assert name == f"gram_{unit.lower()}_{products}_{side}"
        terms, size = {6: 3, 3: 2, 1: 1}[products], 8 if unit == "Float64" else 2
        found[name] = (32 * down * across, stages * 2 * terms * depth * side * size)
    assert found == _cuda_moments.GRAM_KERNELS
    assert all(shared <= 99 << 10 for _, shared in found.values())


@pytest.mark.parametrize("d", [5, 64, 65, 700])
@pytest.mark.parametrize("precision", ["float64", "float32", "mixed"])
def test_the_workspace_planned_is_what_a_step_needs(d, precision):
    terms = route("float32", precision, transformed=False)
    tiles = _cuda_moments.CudaMoments().tiles(torch.zeros(1, d), terms)
    sizes = _device_moments.workspace(40, 3, tiles, terms, norm_sums=True)
    assert sizes["planes"] == terms.terms * 40 * 64 * tiles.padded
    assert sizes["total"] == sizes["squares"] == sizes["weighted"] == 40 * tiles.padded
    programs = max(1, _device_moments.PROGRAMS // tiles.count)
    for blocks in ([40, 0, 0], [1, 38, 1], [13, 13, 14]):
        segments = _device_moments.Segments.of(np.array(blocks), longest=max(1, -(-40 // programs)))
        assert segments.count * tiles.count * tiles.height * tiles.width <= sizes["slab"]


def test_fewer_rows_at_a_time_where_memory_is_short(monkeypatch):
    """Buffers above a megabyte are refused: the pass is cut into steps; then even the smallest is refused."""
    empty, tried = torch.empty, []

    def short(size, *arguments, **more):
        if isinstance(size, int):
            tried.append(size)
            if size > limit:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return empty(size, *arguments, **more)

    limit = 64 * 64 * 3 * 3
    monkeypatch.setattr(torch, "empty", short)
    monkeypatch.setattr(_device_moments, "PROGRAMS", 1)
    assert_scatter_backend(cuda_.scatter, cases.of_type("float32", 700, 5))
    assert max(tried) == 11 * 64 * 64 * 3
    limit = 64
    with pytest.raises(BudgetExceeded, match=r"products of rows of 5 features need 1 MiB of free memory on cpu for 64"):
        cuda_.scatter(cases.of_type("float32", 700, 5), Sums.zeros(5))


def test_it_is_asked_for_by_name_and_wants_a_device():
    request = _dispatch.Request(op="scatter", device="cpu", dtype="float32", d=4)
    assert "works on CUDA arrays; these are on 'cpu'" in _dispatch.unsupported_reason(request, "cuda")
    request = _dispatch.Request(op="scatter", device="cuda", dtype="uint16", d=4)
    assert "cannot read rows of type uint16" in _dispatch.unsupported_reason(request, "cuda")
    order = _dispatch.ORDER["cuda"]
    assert order.index("torch") < order.index("triton") < order.index("cuda")
    assert set(tensor_cores.LADDER) == set(PRECISIONS)
