"""topk: every backend against a full sort in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featdiv.errors import InputError, NonFiniteError
from featdiv.ops import _dispatch
from featdiv.ops.topk import topk


@pytest.fixture(params=["native", "numpy", "torch", "triton", "reference"])
def backend(request):
    reason = _dispatch.unsupported_reason(_dispatch.Request(op="topk", d=8), request.param)
    if reason is not None:
        pytest.skip(reason)
    return request.param


def sorted_in_full(queries, gallery, k, measure):
    """Values of float64 arithmetic and their order, ties by index."""
    q, g = np.asarray(queries, float), np.asarray(gallery, float)
    values = q @ g.T if measure == "inner" else ((q[:, None] - g) ** 2).sum(axis=2)
    order = np.argsort(-values if measure == "inner" else values, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(values, order, axis=1), order


@pytest.mark.parametrize("measure", ["inner", "l2"])
@pytest.mark.parametrize(
    ("m", "n", "d", "k"),
    [(1, 1, 1, 1), (3, 2, 1, 2), (47, 49, 16, 49), (100, 7, 33, 3), (130, 1000, 17, 130), (2, 9000, 3, 600)],
)
def test_small_integers_are_exact_to_the_last_tie(backend, measure, m, n, d, k):
    """Products of small integers are exact in float32, so values and the order of ties must be those of float64."""
    rng = np.random.default_rng(m + n)
    x, g = rng.integers(-3, 4, size=(m, d)), rng.integers(-3, 4, size=(n, d))
    values, order = sorted_in_full(x, g, k, measure)
    for dtype in ("float32", "int8", "float64"):
        found = topk(x.astype(dtype), g.astype(dtype), k=k, measure=measure, backend=backend)
        assert found.backend == backend
        assert (found.values.dtype, found.indices.dtype) == (np.float32, np.int64)
        np.testing.assert_array_equal(found.values, values)
        np.testing.assert_array_equal(found.indices, order)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_shape_stride_and_type(backend, data):
    m, n = data.draw(st.integers(1, 70)), data.draw(st.integers(1, 200))
    d, k = data.draw(st.integers(1, 70)), data.draw(st.integers(1, n))
    dtype = data.draw(st.sampled_from(["float32", "float64", "float16", "int16", "uint8", "bool", "int64"]))
    measure = data.draw(st.sampled_from(["inner", "l2"]))
    step, skip = data.draw(st.sampled_from([(1, 1), (2, 1), (1, 2), (-1, 1), (1, -1)]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))

    def rows(count):
        whole = (rng.normal(size=(2 * count, 2 * d)) * 3).astype(dtype)
        return whole[::step][:count, ::skip][:, :d]

    x, g = rows(m), rows(n)
    values, _ = sorted_in_full(x, g, k, measure)
    found = topk(x, g, k=k, measure=measure, backend=backend)
    scale = max(1.0, float(np.abs(np.asarray(x, float)).max() * np.abs(np.asarray(g, float)).max()) * d)
    np.testing.assert_allclose(found.values, values, atol=1e-6 * scale)
    assert all(len(set(row)) == k for row in found.indices.tolist())
    true = np.einsum("ijk,ik->ij", np.asarray(g, float)[found.indices], np.asarray(x, float))
    if measure == "l2":
        true = ((np.asarray(g, float)[found.indices] - np.asarray(x, float)[:, None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(found.values, true, atol=1e-6 * scale)


def test_bfloat16_tensors(backend):
    rows = torch.arange(-8, 8).reshape(8, 2).to(torch.bfloat16)
    if backend == "numpy":
        pytest.skip("NumPy has no bfloat16")
    values, order = sorted_in_full(rows.double().numpy(), rows.double().numpy(), 3, "l2")
    found = topk(rows, rows, k=3, measure="l2", backend=backend)
    np.testing.assert_array_equal(found.indices, order)
    np.testing.assert_array_equal(found.values, values)


@pytest.mark.parametrize("measure", ["inner", "l2"])
def test_equal_rows_have_equal_values_wherever_they_stand(backend, measure):
    """Copies at any place of a block or of its edge come in the order of their index."""
    rng = np.random.default_rng(5)
    row, x = rng.normal(size=37), rng.normal(size=(20, 37))
    gallery = rng.normal(size=(2000, 37)) * 0.01
    copies = np.sort(rng.choice(2000, 40, replace=False))
    gallery[copies] = row
    x += 3.0 * row
    if backend in ("numpy", "torch"):
        pytest.skip("the products of a BLAS may depend on the place of a row")
    found = topk(x.astype(np.float32), gallery.astype(np.float32), k=25, measure=measure, backend=backend)
    if measure == "inner":
        np.testing.assert_array_equal(found.indices, np.tile(copies[:25], (20, 1)))
    else:
        again = topk(row[None].astype(np.float32), gallery.astype(np.float32), k=25, measure="l2", backend=backend)
        np.testing.assert_array_equal(again.indices, copies[None, :25])


def test_signed_zeros_are_equal(backend):
    gallery = np.array([[-0.0], [0.0], [-0.0]], dtype=np.float32)
    assert topk(np.ones((1, 1), np.float32), gallery, k=3, backend=backend).indices.tolist() == [[0, 1, 2]]
    assert topk(-np.ones((1, 1), np.float32), gallery, k=3, backend=backend).indices.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite(backend, bad):
    x, g = np.ones((5, 3)), np.ones((90, 3))
    g[77, 1] = bad
    with pytest.raises(NonFiniteError, match=r"topk: gallery: .*got 1 NaN or infinite.*row 77") as caught:
        topk(x, g, k=1, backend=backend)
    assert (caught.value.count, caught.value.first_row) == (1, 77)
    with pytest.raises(NonFiniteError, match="topk: queries: "):
        topk(g, x, k=1, backend=backend)


def test_arguments(backend):
    x = np.ones((4, 3))
    with pytest.raises(InputError, match="k: expected 1 to 4"):
        topk(x, x, k=5, backend=backend)
    with pytest.raises(InputError, match="measure: expected 'inner' or 'l2'"):
        topk(x, x, k=1, measure="cosine", backend=backend)
    with pytest.raises(InputError, match="queries: expected float64 rows of 3 features"):
        topk(x.astype(np.float32), x, k=1, backend=backend)
    with pytest.raises(InputError, match="gallery: expected shape"):
        topk(x, x[0], k=1, backend=backend)
    with pytest.raises(InputError, match=r"expected entries up to .* float32"):
        topk(x * 1e30, x, k=1, backend=backend)
    with pytest.raises(InputError, match=r"expected rows with entries of at least 2\.78e-17, .* float32 can hold"):
        topk(x * 1e-20, x * 1e-20, k=1, backend=backend)
    with pytest.raises(InputError, match=r"gallery: expected entries up to 1\.8e\+16, whose products float32 can hold"):
        topk(np.zeros((1, 1 << 17), np.float32), np.full((1, 1 << 17), 2.0**55, np.float32), k=1, backend=backend)
    assert topk(x[:0], x, k=2, backend=backend).indices.shape == (0, 2)
