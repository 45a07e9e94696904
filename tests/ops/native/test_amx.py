"""The AMX kernels of scatter: compiled for real, and run on a software tile unit with the arithmetic of the manual.

Wrong kernels are built too, and must be found by the check at first use or by the certification.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from featdiv.errors import InputError, NonFiniteError, ZeroNormError
from featdiv.ops import _native
from featdiv.ops.scatter import Sums, native_, scatter
from featdiv.testing import cases
from featdiv.testing.compare import assert_scatter_backend

CSRC = Path(__file__).resolve().parents[3] / "csrc"
AMX = _native.ISAS.index("amx")
DTYPES = ("float64", "float32", "float16", "bfloat16", "int8", "uint8", "int16", "uint16", "int32")
PRECISIONS = ("float32", "mixed", "bfloat16")


def compilers():
    found = [name for name in ("g++", "clang++") if shutil.which(name)]
    return found or [pytest.param("", marks=pytest.mark.skip(reason="no C++ compiler is on PATH"))]


def summed(rows, backend="native", **options):
    sums = Sums.zeros(int(rows.shape[1]), norm_sums=options.pop("norm_sums", False))
    scatter(rows, sums, backend=backend, **options)
    return sums


def worst_error(got: Sums, want: Sums) -> float:
    spread = np.sqrt(np.diag(want.gram))
    return float(np.abs(np.triu(got.gram - want.gram) / np.outer(spread, spread)).max())


@pytest.mark.parametrize("compiler", compilers())
def test_the_real_kernels_hold_tile_instructions(build, tmp_path, compiler):
    if not build.knows(compiler, "isa_amx"):
        pytest.skip(f"{compiler} does not know AMX")
    output = tmp_path / "isa_amx.o"
    flags = [*build.FLAGS, *build.WARNINGS, "-Werror", "-fPIC", *build.ISA_FLAGS["isa_amx"], build.AMX_DEFINITION]
    subprocess.run([compiler, *flags, "-c", str(CSRC / "cpu" / "isa_amx.cpp"), "-o", str(output)], check=True)
    if shutil.which("objdump") is None:
        pytest.skip("it compiles, but objdump is not on PATH")
    text = subprocess.run(["objdump", "-d", str(output)], check=True, capture_output=True, text=True).stdout
    count = {name: text.count(name) for name in ("tdpbf16ps", "tileloadd", "tilestored", "ldtilecfg", "tilerelease")}
    # A step of three terms has 24 dot products of tiles, 18 on the diagonal; of two 16 and 12; of one 4 and 3.
    assert count["tdpbf16ps"] >= 77
    assert min(count.values()) > 0


def test_the_emulated_unit_passes_the_check_at_first_use(library):
    assert library.emulated_amx_problem() == b""


@pytest.mark.parametrize("terms", [1, 2, 3])
@pytest.mark.parametrize(("n", "d"), [(64, 48), (33, 20), (1, 1), (50, 40)])
def test_terms_are_the_nearest_bfloat16_in_the_layout_of_the_tiles(library, rng, terms, n, d):
    x = np.zeros((n, 48), dtype=np.float32)
    x[:, :d] = rng.normal(size=(n, d)) * 10.0 ** rng.uniform(-8, 8, size=(n, d))
    groups, steps = -(-d // 32) * 2, -(-n // 32)
    room = np.full((groups, steps + 1, terms, 16, 32), 0xFFFF, dtype=np.uint16)
    square = np.full(groups * 16, np.nan)
    sizes = (ctypes.c_int64(n), ctypes.c_int64(d), ctypes.c_int(terms), ctypes.c_int64(steps + 1))
    panel = np.ascontiguousarray(x)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (panel, room, square)]
    library.emulated_split(pointers[0], *sizes, *pointers[1:])
    padded = torch.zeros((steps * 32, groups * 16))
    padded[:n, :d] = torch.from_numpy(x[:, :d])
    np.testing.assert_allclose(square, padded.double().square().sum(dim=0).numpy(), rtol=1e-14)
    for t in range(terms):
        term = padded.to(torch.bfloat16)
        padded = padded - term.float()
        bits = term.view(torch.int16).numpy().view(np.uint16).reshape(steps, 16, 2, groups, 16)
        # A tile has a pair of rows in each of its own, feature after feature.
        tiles = bits.transpose(3, 0, 1, 4, 2).reshape(groups, steps, 16, 32)
        np.testing.assert_array_equal(room[:, :steps, t], tiles)
    assert (room[:, steps] == 0xFFFF).all()


@pytest.mark.parametrize("precision", ["float32", "mixed", "bfloat16", "float64"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.usefixtures("emulated")
def test_every_element_type_as_it_is_and_transformed(rng, dtype, precision):
    rows = cases.make("gaussian", 203, 67, dtype="float64", seed=3).rows * 9 + 3
    rows = torch.from_numpy(rows).to(torch.bfloat16) if dtype == "bfloat16" else np.abs(rows).astype(dtype)
    exponent = rng.integers(-3, 4, size=67).astype(np.int32)
    for options in ({}, {"shift": rng.normal(9.0, 1.0, size=67)}, {"exponent": exponent}, {"normalize": "l2"}):
        assert_scatter_backend(native_.scatter, rows, precision=precision, context=f"{dtype} {options}", **options)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", ["gaussian", "heavy_tailed", "near_rank_one", "relu", "constant_magnitude", "counts"])
@pytest.mark.usefixtures("emulated")
def test_the_bound_holds_on_every_distribution(case, precision):
    for dtype in ("float32", "float16", "bfloat16"):
        rows = cases.make(case, 1100, 33, dtype=dtype).rows
        assert_scatter_backend(native_.scatter, rows, precision=precision, context=f"{case} {dtype}")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.usefixtures("emulated")
def test_offsets_and_drift(dtype):
    offset = cases.make("gaussian", 1100, 33, dtype=dtype, offset=100.0).rows
    walk = np.cumsum(np.random.default_rng(0).normal(size=(1100, 33)), axis=0) / 10
    walk = torch.from_numpy(walk).to(torch.bfloat16) if dtype == "bfloat16" else walk.astype(dtype)
    for rows in (offset, walk):
        assert_scatter_backend(native_.scatter, rows, context="as they are")
        mean = np.asarray(rows.float() if dtype == "bfloat16" else rows, dtype=np.float64).mean(axis=0)
        assert_scatter_backend(native_.scatter, rows, shift=mean, context="shifted")


@pytest.mark.parametrize("low_bits", [0x555555, 0x3FFFFF, 0x7FFFFF, 0x2AAAAA, 0x124924])
@pytest.mark.usefixtures("emulated")
def test_constant_columns_have_a_closed_form(low_bits):
    """n times the square: every addition rounds the same way, and the last bits are unfavourable."""
    value = np.array([0x3F800000 + low_bits], dtype=np.uint32).view(np.float32)[0]
    sums = summed(np.full((2048, 5), value, dtype=np.float32))
    assert np.abs(sums.symmetric_gram() / (2048 * float(value) ** 2) - 1).max() <= 1e-6


@pytest.mark.parametrize("d", [1, 2, 15, 16, 17, 32, 33, 48, 49, 63, 64, 65, 96, 97, 129])
@pytest.mark.parametrize("n", [1, 2, 31, 33, 65])
@pytest.mark.usefixtures("emulated")
def test_odd_shapes(rng, n, d):
    rows = rng.normal(size=(n, d)).astype(np.float32)
    assert_scatter_backend(native_.scatter, rows, context=f"{n} x {d}")


@pytest.mark.usefixtures("emulated")
def test_what_the_types_hold_is_exact(rng):
    """Few enough rows that no float32 sum rounds: the fewest products give the very integers."""
    for dtype, most in (("int8", 127), ("uint8", 255), ("int16", 300), ("uint16", 300), ("float16", 300)):
        rows = rng.integers(0 if dtype.startswith("u") else -most, most, size=(130, 40)).astype(dtype)
        wide = rows.astype(np.int64)
        for precision in ("float32", "float64"):
            assert (summed(rows, precision=precision).symmetric_gram() == wide.T @ wide).all(), dtype


@pytest.mark.usefixtures("emulated")
def test_each_precision_takes_as_many_terms_as_it_says(rng):
    """The errors are those of the terms that are left out: neither far above nor, so much cheaper, far below."""
    rows = rng.normal(size=(1500, 40)).astype(np.float32)
    want = summed(rows, "reference")
    got = {precision: summed(rows, precision=precision) for precision in PRECISIONS}
    assert [sums.tiles_in_float64 for sums in got.values()] == [0, 0, 0]
    errors = {precision: worst_error(sums, want) for precision, sums in got.items()}
    assert errors["float32"] <= 1e-7
    assert 3e-8 <= errors["mixed"] <= 1e-5
    assert 1e-5 <= errors["bfloat16"] <= 2e-3


@pytest.mark.usefixtures("emulated")
def test_the_diagonal_of_mixed_is_that_of_float64(rng):
    rows = np.sign(rng.normal(size=(700, 20))).astype(np.float32) * np.float32(1.3579)
    got = summed(rows, precision="mixed")
    assert got.tiles_in_float64 == 0
    np.testing.assert_allclose(np.diag(got.gram), np.diag(summed(rows, "reference").gram), rtol=1e-13)


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e-12, 1e16, 1e30])
@pytest.mark.usefixtures("emulated")
def test_scales_at_which_tiles_flush_or_overflow(rng, scale):
    rows = (scale * rng.normal(size=(300, 30))).astype(np.float32)
    got, want = summed(rows), summed(rows, "reference")
    assert worst_error(got, want) <= 1e-6
    assert got.tiles_in_float64 == (got.tiles if scale not in (1e-12, 1e16) else 0)


@pytest.mark.usefixtures("emulated")
def test_small_entries_beside_large_ones_are_flushed_without_harm(rng):
    rows = (rng.normal(size=(300, 24)) * 10.0 ** rng.uniform(-37, 0, size=(300, 24))).astype(np.float32)
    assert_scatter_backend(native_.scatter, rows)


@pytest.mark.usefixtures("emulated")
def test_many_tiles_of_rows_any_threads(rng, threads):
    rows = rng.normal(size=(4500, 100)).astype(np.float32)
    results = []
    for count in (1, 3):
        threads(count)
        sums = summed(rows, norm_sums=True, precision="mixed")
        assert sums.tiles > 1
        results.append(b"".join(s.tobytes() for s in (sums.gram, sums.total, sums.weighted, sums.fourth)))
    assert len(set(results)) == 1


@pytest.mark.usefixtures("emulated")
def test_the_lower_triangle_is_left_alone_and_calls_add_up(rng):
    rows = rng.normal(size=(200, 70)).astype(np.float32)
    sums = Sums.zeros(70)
    sums.gram[np.tril_indices(70, -1)] = 123.0
    for part in (rows[:77], rows[77:]):
        scatter(part, sums, backend="native")
    assert (sums.gram[np.tril_indices(70, -1)] == 123.0).all()
    assert worst_error(sums, summed(rows, "reference")) <= 1e-6


@pytest.mark.usefixtures("emulated")
def test_bad_rows_are_found(rng):
    rows = rng.normal(size=(700, 33)).astype(np.float32)
    rows[690, 32] = np.nan
    with pytest.raises(NonFiniteError, match="the first in row 690"):
        summed(rows)
    rows[690] = 0.0
    with pytest.raises(ZeroNormError, match="the first is row 690"):
        summed(rows, normalize="l2")


WRONG = {
    "half of the pairs": ("tile_emulator.h", "flushed(even[n] + odd[n])", "flushed(even[n])"),
    "a term for another": ("amx.h", "    load_left(at, 2);\n", ""),
    "the smallest of four products": ("amx.h", "if (all) dot<Diagonal>();", ""),
    "a late flush": ("amx.h", "  FEATDIV_TILE_ZERO(3);\n", ""),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_unit_or_kernel_fails_the_check_at_first_use(emulation, name):
    broken = emulation.planted(name.replace(" ", "_"), *WRONG[name])
    assert b"failed the check at first use" in broken.emulated_amx_problem()


def test_a_product_that_goes_wrong_later_is_taken_back(late, use, rng):
    use(late)
    rows = rng.normal(size=(1000, 40)).astype(np.float32)
    got = summed(rows)
    assert got.tiles_in_float64 == got.tiles
    assert worst_error(got, summed(rows, "reference")) <= 1e-12
    assert summed(rows[:600]).tiles_in_float64 == 0


def test_truncated_terms_are_not_certified(truncated, use, rng):
    use(truncated)
    got = summed(rng.normal(size=(500, 33)).astype(np.float32), precision="bfloat16")
    assert got.tiles_in_float64 == got.tiles


def test_amx_that_is_missing_is_refused_in_words(monkeypatch):
    monkeypatch.setattr(_native, "threads", lambda: 1)
    refused = SimpleNamespace(best_isa=lambda: 2, amx_problem=lambda: "the processor has no amx_tile", COMPILER="x")
    monkeypatch.setattr(_native, "module", lambda: refused)
    monkeypatch.setenv("FEATDIV_ISA", "amx")
    with pytest.raises(InputError, match="got 'amx'; AMX is not used because the processor has no amx_tile"):
        _native.isa()
    assert "refuses to run: FEATDIV_ISA: expected one of baseline, avx2, avx512" in _native.describe()
    monkeypatch.delenv("FEATDIV_ISA")
    assert _native.describe().endswith("AMX is not used because the processor has no amx_tile")
    refused.amx_problem = lambda: ""
    assert _native.describe().endswith("kernels for avx512, 1 thread; AMX passed its check")


def test_the_module_says_whether_it_uses_amx():
    module = _native.module()
    assert (module.amx_problem() == "") == (module.best_isa() == AMX)
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    if "amx_bf16" not in flags:
        assert module.amx_problem()
