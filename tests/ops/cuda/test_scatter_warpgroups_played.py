"""scatter and class_scatter by products of warpgroups (csrc/cuda/gram_sm90.cuh), played on the host."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from featdiv.errors import InputError
from featdiv.ops import _cuda, _cuda_moments, _cuda_sm90, _cupy, _device_moments
from featdiv.ops.class_scatter import class_scatter
from featdiv.ops.class_scatter import cuda_ as class_cuda
from featdiv.ops.scatter import Sums, cuda_
from featdiv.testing.compare import assert_scatter_backend

CPU = torch.device("cpu")


@pytest.fixture
def warpgroups(played, monkeypatch):
    """The emulator as a device that passed the check."""
    monkeypatch.setattr(_cuda_sm90, "problem", lambda device: None)
    return played


def rows_of(dtype: str, n: int, d: int):
    random = np.random.default_rng(0)
    if dtype == "int8":
        return random.integers(-128, 128, size=(n, d)).astype(dtype)
    rows = torch.from_numpy(random.standard_normal((n, d)))
    return rows.to(getattr(torch, dtype))


@pytest.mark.parametrize("order", [(False, False), (True, True)])
def test_the_check_at_first_use_passes(played, order):
    played.backwards, played.eager = order
    assert _cuda_sm90.products_agree(CPU)
    assert {name for name in played.launched if "sm90" in name} == set(_cuda_sm90.GRAM_KERNELS)


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
    assert [name for name in warpgroups.launched if name.startswith("gram")] == [kernel]


@pytest.mark.parametrize(("n", "d"), [(1, 65), (63, 128), (65, 129)])
def test_odd_shapes(warpgroups, n, d):
    rows = rows_of("float32", n, d)
    assert_scatter_backend(cuda_.scatter, rows)
    assert_scatter_backend(cuda_.scatter, rows.T.contiguous().T[:, ::1], shift=np.full(d, 0.5), normalize="l2")


def test_few_features_are_left_to_warps(warpgroups):
    assert_scatter_backend(cuda_.scatter, rows_of("float32", 70, 64))
    assert "gram_bfloat16_6_64" in warpgroups.launched


def test_longer_segments_than_the_ring_holds_in_any_order(warpgroups, monkeypatch):
    """Neither the order of threads, nor the moment of copies and products may change a bit."""
    monkeypatch.setattr(_device_moments, "PROGRAMS", 1)
    for rows in (rows_of("float32", 270, 70), rows_of("bfloat16", 520, 70)):
        found = []
        for warpgroups.backwards, warpgroups.eager in ((False, False), (True, False), (False, True), (True, True)):
            sums = Sums.zeros(70)
            cuda_.scatter(rows, sums)
            found.append(sums.gram)
        for other in found[1:]:
            np.testing.assert_array_equal(other, found[0])
        assert_scatter_backend(cuda_.scatter, rows)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_sums_of_constant_magnitude_do_not_drift(warpgroups, monkeypatch, dtype):
    """Every product has the same magnitude, so that each rounding of a plain float32 sum goes the same way."""
    monkeypatch.setattr(_device_moments, "PROGRAMS", 1)
    rows = torch.full((1000, 65), 1 / 3).to(getattr(torch, dtype))
    assert_scatter_backend(cuda_.scatter, rows)
    sums = Sums.zeros(65)
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
    ("line", "fault"),
    [
        ("if (turn > 0) barrier_wait", "if (turn > count) barrier_wait"),
        ("multiplying * warpgroup_threads / 32);", "1);"),
    ],
    ids=["a stage filled too soon", "one warp frees a stage"],
)
def test_a_wrong_kernel_fails_the_check(played, monkeypatch, tmp_path, line, fault):
    folder = _cupy.sources() / "cuda"
    source = (folder / "gram_sm90.cuh").read_text()
    assert source.count(line) == 1
    source = source.replace(line, fault)
    # Kernels that are not launched here would only take time to compile.
    source = re.sub(r"\nFEATDIV_GRAM_SM90\(gram_sm90_(?!bfloat16_6).*", "", source)
    wrong = tmp_path / "gram_sm90.cuh"
    wrong.write_text(re.sub(r'"(\w+\.cuh)"', rf'"{folder}/\1"', source))
    launch = played.launch

    def launch_wrong(source, *arguments, **more):
        launch(wrong if source == wrong.name else source, *arguments, **more)

    monkeypatch.setattr(_cupy, "launch", launch_wrong)
    monkeypatch.setattr(_cuda_sm90, "CHECKS", _cuda_sm90.CHECKS[-1:])
    played.eager = True
    try:
        agreed = _cuda_sm90.products_agree(CPU)
    except RuntimeError as error:  # a device would hang, until the kernel gives up
        agreed = "for threads that never come" not in str(error)
    assert not agreed


def test_tiles_threads_and_stages_are_those_of_the_kernels():
    """The table of launches against the template arguments in the source, and the limit of the device."""
    source = (_cupy.sources() / "cuda" / "gram_sm90.cuh").read_text()
    found = {}
    for name, unit, *numbers in re.findall(r"FEATDIV_GRAM_SM90\((\w+), featdiv::(\w+)Warpgroup, (.*)\)", source):
        products, depth, stages = map(int, numbers[0].split(", "))
        assert name == f"gram_sm90_{unit.lower()}_{products}"
        stage = 2 * {6: 3, 3: 2, 1: 1}[products] * depth * 128 * 2
        found[name] = (384, 1024 + stages * (stage + 16) + 32)
    assert found == _cuda_sm90.GRAM_KERNELS
    assert all(shared <= 227 << 10 for _, shared in found.values())


def test_where_warpgroups_multiply(monkeypatch):
    _cuda_sm90.problem.cache_clear()
    capability, agree, built = [(8, 0)], [True], [["80", "90a"]]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability[0])
    monkeypatch.setattr(_cuda_sm90, "products_agree", lambda device: agree[0])
    monkeypatch.setattr(_cuda, "missing", lambda: None)
    monkeypatch.setattr(_cupy, "unsupported_reason", lambda device: None)
    monkeypatch.setattr(_cuda, "architectures", lambda: built[0])
    monkeypatch.delenv(_cuda_sm90.VARIABLE, raising=False)
    device = torch.device("cuda", 0)

    def chosen(setting=""):
        _cuda_sm90.problem.cache_clear()
        monkeypatch.setenv(_cuda_sm90.VARIABLE, setting)
        return type(_cuda_sm90.kernels(device))

    warps, warpgroups = _cuda_moments.CudaMoments, _cuda_sm90.WarpgroupMoments
    assert chosen() is warps
    with pytest.raises(InputError, match=r"got 'wgmma', .* has compute capability 8\.0, and wgmma belongs to 9\.0"):
        chosen("wgmma")
    capability[0] = (9, 0)
    assert chosen() is chosen("wgmma") is warpgroups
    assert chosen("mma") is warps
    with pytest.raises(InputError, match=r"FEATDIV_CUDA_PRODUCTS: expected mma or wgmma, .*; got 'tf32'"):
        chosen("tf32")
    built[0] = ["80", "90+PTX"]
    assert chosen() is warps
    with pytest.raises(InputError, match="built without code for compute capability 90a"):
        chosen("wgmma")
    built[0], agree[0] = ["90a"], False
    assert chosen() is warps
    with pytest.raises(InputError, match="its products failed the check at first use, so it is left alone"):
        chosen("wgmma")
    _cuda_sm90.problem.cache_clear()


def test_doctor_says_which_products_are_used(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert _cuda_sm90.describe() == "mma or wgmma, by the device; there is none"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(_cuda_sm90, "problem", lambda device: "it is old" if device.index else None)
    monkeypatch.delenv(_cuda_sm90.VARIABLE, raising=False)
    assert _cuda_sm90.describe() == "cuda:0: wgmma, which passed its check; cuda:1: mma, because it is old"
    monkeypatch.setenv(_cuda_sm90.VARIABLE, "mma")
    assert _cuda_sm90.describe() == "mma, because FEATDIV_CUDA_PRODUCTS=mma"
