"""class_scatter through Triton, in its interpreter, against the float64 oracle."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from featdiv.errors import NonFiniteError, ZeroNormError
from featdiv.ops.class_scatter import class_scatter, class_scatter_dense, tensor_cores


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def assert_agree(got, want, bound=1e-6, floor=0.0):
    assert (got.counts == want.counts).all()
    np.testing.assert_allclose(got.means, want.means, rtol=0, atol=1e-7 * np.abs(want.means).max())
    for mine, truth in zip(got.scatters, want.scatters, strict=True):
        spread = np.sqrt(np.diag(truth)) + floor
        assert (np.abs(mine - truth) <= bound * np.outer(spread, spread)).all()
        assert (mine == mine.T).all()


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int8"])
@pytest.mark.parametrize("normalize", [None, "l2"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_every_element_type(rng, dtype, normalize, precision):
    values = np.abs(rng.normal(5.0, 3.0, size=(80, 11))) + 1
    rows = torch.from_numpy(values).to(torch.bfloat16) if dtype == "bfloat16" else values.astype(dtype)
    labels = rng.integers(0, 5, size=80)
    arguments = {"classes": 6, "normalize": normalize, "precision": precision}
    want = class_scatter(rows, labels, backend="reference", **arguments)
    got = class_scatter(rows, labels, backend="triton", **arguments)
    assert got.backend == "triton"
    assert_agree(got, want, 1e-6 if precision == "float32" else 1e-12)
    assert not got.scatters[5].any()


@pytest.mark.parametrize("d", [1, 65])
def test_classes_of_every_size(rng, d):
    sizes = np.array([0, 1, 2, 63, 64, 65, 130, 0])
    labels = np.repeat(np.arange(8), sizes)
    rng.shuffle(labels)
    rows = (rng.normal(size=(len(labels), d)) + 100 * labels[:, None]).astype(np.float32)
    want = class_scatter(rows, labels, classes=8, backend="reference")
    assert_agree(class_scatter(rows, labels, classes=8, backend="triton"), want)


def test_collapsed_classes_keep_their_small_scatter(rng):
    labels = np.repeat(np.arange(3), 50)
    rows = 1e4 * rng.normal(size=(3, 8))[labels] + 1e-3 * rng.normal(size=(150, 8))
    want = class_scatter(rows, labels, classes=3, backend="reference")
    assert_agree(class_scatter(rows, labels, classes=3, backend="triton"), want)


def test_more_classes_and_rows_than_fit_at_a_time(rng, monkeypatch):
    from featdiv.ops import _device_moments

    monkeypatch.setattr(tensor_cores, "RESULT_BYTES", 3 * 8 * 5 * 5)
    monkeypatch.setattr(_device_moments, "PACKED_BYTES", 1 << 15)
    monkeypatch.setattr(_device_moments, "PROGRAMS", 1)
    labels = rng.permutation(np.repeat(np.arange(7), [3, 200, 1, 64, 10, 129, 5]))
    rows = rng.normal(size=(len(labels), 5)).astype(np.float32)
    want = class_scatter(rows, labels, classes=7, backend="reference")
    assert_agree(class_scatter(rows, labels, classes=7, backend="triton"), want)


def test_only_the_class_out_of_range_is_worked_on_again(rng):
    rows = rng.normal(size=(60, 4)).astype(np.float32)
    labels = np.arange(60) % 3
    rows[labels == 1] *= np.float32(1e25)
    want = class_scatter(rows, labels, classes=3, backend="reference")
    assert_agree(class_scatter(rows, labels, classes=3, backend="triton"), want)


def test_dense_problems(rng):
    x = rng.normal(size=(4, 30, 6)).astype(np.float32)
    assert_agree(class_scatter_dense(x, backend="triton"), class_scatter_dense(x, backend="reference"))


def test_bad_rows_are_placed_among_all_rows(rng):
    rows = rng.normal(size=(80, 3)).astype(np.float32)
    labels = np.arange(80) % 4
    rows[33] = 0
    with pytest.raises(ZeroNormError, match="the first is row 33"):
        class_scatter(rows, labels, classes=4, normalize="l2", backend="triton")
    rows[71, 1] = np.nan
    with pytest.raises(NonFiniteError, match="got 1 NaN or infinite entries, the first in row 71"):
        class_scatter(rows, labels, classes=4, backend="triton")
