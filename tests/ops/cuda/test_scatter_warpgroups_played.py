"""scatter and class_scatter by products of warpgroups (gram_sm90.cuh and gram_rows_sm90.cuh), played on the host."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch

from featdiv.errors import InputError
from featdiv.ops import _cuda, _cuda_moments, _cuda_sm90, _cupy, _device_moments
from featdiv.ops._device_kernels import Transform
from featdiv.ops.class_scatter import class_scatter
from featdiv.ops.class_scatter import cuda_ as class_cuda
from featdiv.ops.scatter import Sums, cuda_
from featdiv.testing.compare import assert_scatter_backend

CPU = torch.device("cpu")


@pytest.fixture
def warpgroups(played, monkeypatch):
    """The emulator as a device that passed the check."""
    monkeypatch.setattr(_cuda_sm90, "problem", lambda device, kind="wgmma": None)
    return played


def products_of(played) -> list[str]:
    return [name for name in played.launched if name.startswith("gram")]


def rows_of(dtype: str, n: int, d: int):
    random = np.random.default_rng(0)
    if dtype == "int8":
        return random.integers(-128, 128, size=(n, d)).astype(dtype)
    rows = torch.from_numpy(random.standard_normal((n, d)))
    return rows.to(getattr(torch, dtype))


@pytest.mark.parametrize(("backwards", "eager", "of_rows"), [(True, False, False), (False, True, True)])
def test_the_check_at_first_use_passes(played, backwards, eager, of_rows):
    played.backwards, played.eager = backwards, eager
    assert _cuda_sm90.products_agree(CPU, of_rows=of_rows)
    table = _cuda_sm90.ROW_KERNELS if of_rows else _cuda_sm90.GRAM_KERNELS
    assert {name for name in played.launched if "sm90" in name} == set(table)


@pytest.mark.parametrize(
    ("dtype", "precision", "kernel"),
    [
        ("float32", "float32", "gram_sm90_bfloat16_6"),
        ("float32", "mixed", "gram_sm90_bfloat16_3"),
        ("float64", "float32", "gram_sm90_bfloat16_6"),
        ("bfloat16", "float32", "gram_sm90_bfloat16_1"),
        ("float16", "float32", "gram_sm90_float16_1"),
        ("int8", "mixed", "gram_sm90_bfloat16_1"),
        ("float32", "float64", "gram_float64_1_64"),
    ],
)
def test_every_kernel_on_odd_shapes(warpgroups, dtype, precision, kernel):
    assert_scatter_backend(cuda_.scatter, rows_of(dtype, 131, 141), precision=precision, context=dtype)
    assert products_of(warpgroups) == [kernel]


@pytest.mark.parametrize(
    ("dtype", "precision", "kernel"),
    [
        ("float32", "float32", "gram_rows_sm90_float32_6"),
        ("float32", "mixed", "gram_rows_sm90_float32_3"),
        ("float32", "bfloat16", "gram_rows_sm90_float32_1"),
        ("bfloat16", "float32", "gram_rows_sm90_bfloat16_1"),
        ("float16", "float32", "gram_rows_sm90_float16_1"),
    ],
)
def test_rows_where_they_lie_give_the_bits_of_packed_rows(warpgroups, monkeypatch, dtype, precision, kernel):
    """Whatever copies and products do early or late; the packed rows are held against float64 above."""
    rows, found = rows_of(dtype, 331, 140), {}
    for kind in ("wgmma-packed", "wgmma"):
        monkeypatch.setenv(_cuda_sm90.VARIABLE, kind)
        found[kind] = Sums.zeros(140)
        cuda_.scatter(rows, found[kind], precision=precision)
    packed, own = found.values()
    np.testing.assert_array_equal(np.triu(own.gram, 1), np.triu(packed.gram, 1))
    for name in ("total", "gram"):  # float64 sums in another order: those of columns, and of squares on the diagonal
        np.testing.assert_allclose(getattr(own, name), getattr(packed, name), rtol=1e-13, atol=1e-12)
    assert products_of(warpgroups)[-1] == kernel
    assert warpgroups.launched.count("pack_rows") == 1
    warpgroups.backwards = warpgroups.eager = True
    again = Sums.zeros(140)
    cuda_.scatter(rows, again, precision=precision)
    np.testing.assert_array_equal(again.gram, own.gram)
    np.testing.assert_array_equal(again.total, own.total)


def test_rows_that_are_read_where_they_lie(warpgroups):
    base = rows_of("float32", 150, 212)
    route = _cuda_sm90.CHECKS[-1].route
    reads = _cuda_sm90.RowMoments().multiplies_rows
    lie = {"columns": base[:, 4:204], "steps": base[::3], "one row again and again": base[:1].expand(70, 212)}
    for name, rows in lie.items():
        assert reads(rows, route), name
        assert_scatter_backend(cuda_.scatter, rows, context=name)
    assert set(products_of(warpgroups)) == {"gram_rows_sm90_float32_6"}
    wide = dataclasses.replace(route, wide=True)
    for rows, how in [
        (base[:, 1:205], route),  # begins between units
        (base[:, :141], route),  # ends between them
        (torch.zeros(9, 141)[:, :140], route),  # every row begins elsewhere
        (base.T.contiguous().T, route),
        (base[:, ::2], route),
        (base[:, :64], route),  # few features
        (base.double(), route),
        (base.to(torch.int8), route),
        (base, wide),
    ]:
        assert not reads(rows, how), (rows.shape, rows.stride(), rows.dtype)


@pytest.mark.parametrize(("n", "d"), [(1, 65), (63, 128), (65, 129)])
def test_odd_shapes(warpgroups, n, d):
    rows = rows_of("float32", n, d)
    assert_scatter_backend(cuda_.scatter, rows)
    assert_scatter_backend(cuda_.scatter, rows.T.contiguous().T[:, ::1], shift=np.full(d, 0.5), normalize="l2")


def test_few_features_are_left_to_warps(warpgroups):
    assert_scatter_backend(cuda_.scatter, rows_of("float32", 70, 64))
    assert "gram_bfloat16_6_64" in warpgroups.launched


@pytest.mark.parametrize(("dtype", "n", "d"), [("float32", 270, 70), ("float32", 270, 72), ("bfloat16", 520, 72)])
def test_longer_segments_than_the_ring_holds_in_any_order(warpgroups, monkeypatch, dtype, n, d):
    """Neither the order of threads, nor the moment of copies and products may change a bit."""
    monkeypatch.setattr(_device_moments, "PROGRAMS", 1)
    rows, found = rows_of(dtype, n, d), []
    for warpgroups.backwards, warpgroups.eager in ((False, False), (True, False), (False, True), (True, True)):
        sums = Sums.zeros(d)
        cuda_.scatter(rows, sums)
        found.append(sums.gram)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
    assert_scatter_backend(cuda_.scatter, rows)


def test_more_rows_than_are_read_at_a_time(warpgroups, monkeypatch):
    monkeypatch.setattr(_device_moments, "PROGRAMS", 1)
    monkeypatch.setattr(_device_moments, "LONGEST_SEGMENT", 2)
    assert_scatter_backend(cuda_.scatter, rows_of("bfloat16", 300, 72))
    # Once for its norm-weighted sums, and steps of 128 rows.
    assert products_of(warpgroups) == ["gram_rows_sm90_bfloat16_1"] * 3


def test_the_workspace_of_rows_is_what_a_step_needs(warpgroups):
    x = rows_of("float32", 70, 700)
    kernels, route = _cuda_sm90.RowMoments(), _cuda_sm90.CHECKS[-1].route
    run = _device_moments._RowsRun(kernels, x, np.array([2]), None, Transform(), route, False)
    sizes = run.workspace(40)
    programs = _device_moments.PROGRAMS // run.tiles.count
    segments = _device_moments.Segments.of(np.array([40]), longest=-(-40 // programs)).count
    assert sizes["planes"] == 0
    assert sizes["total"] == sizes["squares"] >= segments * 4 * run.tiles.padded
    assert sizes["slab"] >= segments * run.tiles.count * 128 * 128
    assert run.most_blocks() == programs * _device_moments.LONGEST_SEGMENT


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_sums_of_constant_magnitude_do_not_drift(warpgroups, monkeypatch, dtype):
    """Every product has the same magnitude, so that each rounding of a plain float32 sum goes the same way."""
    monkeypatch.setattr(_device_moments, "PROGRAMS", 1)
    rows = torch.full((1000, 68), 1 / 3).to(getattr(torch, dtype))
    assert_scatter_backend(cuda_.scatter, rows)
    sums = Sums.zeros(68)
    cuda_.scatter(rows, sums)
    assert sums.tiles_in_float64 == 0


def test_class_scatter(warpgroups):
    rows, labels = rows_of("float32", 200, 70).numpy(), np.repeat([0, 1, 3], [3, 130, 67])
    np.random.default_rng(1).shuffle(labels)
    order, counts = np.argsort(labels, kind="stable"), np.bincount(labels, minlength=4)
    means, scatters = class_cuda.class_scatter(rows, order, counts)
    want = class_scatter(rows, labels, classes=4, backend="reference")
    np.testing.assert_allclose(means, want.means, atol=1e-6)
    spread = np.sqrt(np.einsum("cii->ci", want.scatters))
    assert (np.abs(scatters - want.scatters) <= 1e-6 * spread[:, :, None] * spread[:, None]).all()
    assert "gram_sm90_bfloat16_6" in warpgroups.launched


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "line", "fault"),
    [
        ("warpgroups_sm90.cuh", "if (round > 0) barrier_wait", "if (round > stages) barrier_wait"),
        (
            "warpgroups_sm90.cuh",
            "barrier_prepare(ring->empty(stage), multiplying * warps);",
            "barrier_prepare(ring->empty(stage), 1);",
        ),
        ("gram_rows_sm90.cuh", "operands_stored();", ";"),
        ("gram_rows_sm90.cuh", "const int permuted = unit ^ (", "const int permuted = unit + 0 * ("),
    ],
    ids=["a stage filled too soon", "one warp frees a stage", "stores unseen", "units in order"],
)
def test_a_wrong_kernel_fails_the_check(played, monkeypatch, tmp_path, source, line, fault):
    folder = _cupy.sources() / "cuda"
    for path in folder.glob("*.cuh"):
        text = path.read_text()
        if path.name == source:
            assert text.count(line) == 1
            text = text.replace(line, fault)
        # Kernels that are not launched here would only take time to compile.
        text = re.sub(r"\nFEATDIV_GRAM_ROWS\(gram_rows_sm90_(?!float32_6).*", "", text)
        (tmp_path / path.name).write_text(text)
    launch = played.launch

    def launch_wrong(source, *arguments, **more):
        launch(tmp_path / source if source == "gram_rows_sm90.cuh" else source, *arguments, **more)

    monkeypatch.setattr(_cupy, "launch", launch_wrong)
    monkeypatch.setattr(_cuda_sm90, "CHECKS", _cuda_sm90.CHECKS[-1:])
    played.eager = True
    try:
        agreed = _cuda_sm90.products_agree(CPU, of_rows=True)
    except RuntimeError as error:  # a device would hang, until the kernel gives up
        agreed = "for threads that never come" not in str(error) and "without operands_stored()" not in str(error)
    assert not agreed


@pytest.mark.parametrize(
    ("source", "macro", "table"),
    [
        ("gram_sm90.cuh", r"FEATDIV_GRAM_SM90\((\w+), featdiv::()(\w+)Warpgroup, (.*)\)", "GRAM_KERNELS"),
        (
            "gram_rows_sm90.cuh",
            r"FEATDIV_GRAM_ROWS\((\w+), featdiv::(?:HalvesFour<featdiv::)?"
            r"(\w+?)(?:Four|>), featdiv::(\w+)Warpgroup, (.*)\)",
            "ROW_KERNELS",
        ),
    ],
)
def test_threads_and_shared_memory_are_those_of_the_kernels(source, macro, table):
    """The tables of launches against the template arguments in the sources, and the limit of the device."""
    elements = {"Float32": "float32", "BFloat": "bfloat16", "Half": "float16"}
    found = {}
    for name, element, unit, numbers in re.findall(macro, (_cupy.sources() / "cuda" / source).read_text()):
        products, depth, stages = map(int, numbers.split(", "))
        assert name.endswith(f"_{elements.get(element, unit.lower())}_{products}")
        stage = 2 * {6: 3, 3: 2, 1: 1}[products] * depth * 128 * 2
        found[name] = (384, 1024 + stages * (stage + 16) + 16 + 32)
    assert found == getattr(_cuda_sm90, table)
    assert all(shared <= 227 << 10 for _, shared in found.values())


def test_where_warpgroups_multiply(monkeypatch):
    _cuda_sm90.problem.cache_clear()
    capability, built, wrong = [(8, 0)], [["80", "90a"]], set()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability[0])
    monkeypatch.setattr(_cuda_sm90, "products_agree", lambda device, *, of_rows: of_rows not in wrong)
    monkeypatch.setattr(_cuda, "missing", lambda: None)
    monkeypatch.setattr(_cupy, "unsupported_reason", lambda device: None)
    monkeypatch.setattr(_cuda, "architectures", lambda: built[0])
    monkeypatch.delenv(_cuda_sm90.VARIABLE, raising=False)
    device = torch.device("cuda", 0)

    def chosen(setting=""):
        _cuda_sm90.problem.cache_clear()
        monkeypatch.setenv(_cuda_sm90.VARIABLE, setting)
        return type(_cuda_sm90.kernels(device))

    warps, packed, rows = _cuda_moments.CudaMoments, _cuda_sm90.WarpgroupMoments, _cuda_sm90.RowMoments
    assert chosen() is warps
    with pytest.raises(
        InputError, match=r"expected mma on cuda:0; got 'wgmma', .* capability 8\.0, and wgmma belongs to"
    ):
        chosen("wgmma")
    capability[0] = (9, 0)
    assert chosen() is chosen("wgmma") is rows
    assert chosen("wgmma-packed") is packed
    assert chosen("mma") is warps
    with pytest.raises(InputError, match=r"expected one of wgmma, wgmma-packed, mma, or nothing .*; got 'tf32'"):
        chosen("tf32")
    built[0] = ["80", "90+PTX"]
    assert chosen() is warps
    with pytest.raises(InputError, match="built without code for compute capability 90a"):
        chosen("wgmma-packed")
    built[0] = ["90a"]
    wrong.add(True)
    assert chosen() is packed
    with pytest.raises(InputError, match=r"expected wgmma-packed on .* its products of rows where they lie failed"):
        chosen("wgmma")
    wrong.add(False)
    assert chosen() is warps
    with pytest.raises(InputError, match="its products of packed rows failed the check at first use, so it is left"):
        chosen("wgmma-packed")
    _cuda_sm90.problem.cache_clear()


def test_doctor_says_which_products_are_used(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert _cuda_sm90.describe() == "mma or wgmma, by the device; there is none"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    reasons = {0: {}, 1: {"wgmma": "it is old", "wgmma-packed": "it is old"}, 2: {"wgmma": "it is odd"}}
    monkeypatch.setattr(_cuda_sm90, "problem", lambda device, kind="wgmma": reasons[device.index].get(kind))
    monkeypatch.delenv(_cuda_sm90.VARIABLE, raising=False)
    assert _cuda_sm90.describe() == (
        "cuda:0: wgmma, which passed its check; cuda:1: mma, because it is old; cuda:2: wgmma-packed, because it is odd"
    )
    monkeypatch.setenv(_cuda_sm90.VARIABLE, "mma")
    assert _cuda_sm90.describe() == "mma, because FEATDIV_CUDA_PRODUCTS=mma"
    monkeypatch.setenv(_cuda_sm90.VARIABLE, "tensor")
    assert _cuda_sm90.describe() == "none: FEATDIV_CUDA_PRODUCTS=tensor is none of wgmma, wgmma-packed, mma"
