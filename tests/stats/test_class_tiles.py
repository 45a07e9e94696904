from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from featdiv.errors import InputError, NonFiniteError, ZeroNormError
from featdiv.ops import _native
from featdiv.stats.class_tiles import Centring, class_sums, pilots_of
from featdiv.testing import cases

BUILT = pytest.mark.skipif(_native.missing() is not None, reason="the native module is not built")
BACKENDS = pytest.mark.parametrize("backend", [pytest.param("native", marks=BUILT), "numpy"])


def test_class_sums_by_hand():
    z = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert class_sums(z, np.array([2, 0, 2]), 3).tolist() == [[3.0, 4.0], [0.0, 0.0], [6.0, 8.0]]


def test_a_pilot_is_the_mean_of_the_first_eight_rows():
    rows, labels = cases.labelled(3000, 4, 700)
    wanted = np.arange(700) % 3 != 1
    pilots = pilots_of(rows, labels, wanted, normalize=None)
    truth = [rows[labels == label][:8].mean(axis=0) for label in np.flatnonzero(wanted)]
    assert np.allclose(pilots, truth, rtol=1e-13, atol=1e-13)


def test_the_pilot_of_equal_rows_is_that_row():
    rows = np.full((7, 3), 0.1)
    assert (pilots_of(rows, np.zeros(7, dtype=int), np.array([True]), normalize=None) == 0.1).all()


@pytest.mark.parametrize("normalize", [None, "l2"])
@pytest.mark.parametrize("scale", [1.0, 1e-60])
def test_rows_on_a_device_are_centred_as_on_the_host(normalize, scale):
    rows, labels = cases.labelled(500, 6, 40)
    rows *= scale
    pilots = pilots_of(rows, labels, np.ones(40, dtype=bool), normalize=normalize)
    centring = Centring.for_rows(rows, labels, pilots, normalize=normalize, precision="float32", backend="numpy")
    assert (centring.exponent is not None) == (scale != 1.0 and normalize is None)
    on_host, on_device = np.zeros((40, 6)), np.zeros((40, 6))
    z = centring.tile(rows, slice(0, 500), pilots, labels, on_host)
    # The route of CUDA tensors, which needs no CUDA to be right. It brings the rows in order of class.
    there = centring._on_device(torch.from_numpy(rows), pilots, labels, on_device)
    assert np.allclose(on_device, on_host, rtol=1e-12, atol=1e-12 * np.abs(on_host).max())
    assert np.allclose(there.numpy(), z[np.argsort(labels, kind="stable")], rtol=1e-6, atol=1e-12)


@BACKENDS
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int16"])
@pytest.mark.parametrize(("d", "normalize", "exponent"), [(1, None, 0), (71, None, 7), (200, "l2", 0)])
def test_centred_rows_and_their_sums(backend, dtype, d, normalize, exponent):
    random = np.random.default_rng(d)
    rows = (random.normal(size=(300, 2 * d)) * 20.0).astype(dtype)[:, :d]
    rows[:, 0] = 3
    index, codes = random.permutation(300)[:260], random.integers(0, 9, size=260)
    pilots, known = random.normal(size=(9, d)), random.normal(size=(9, d))
    x = rows[index].astype(np.float64)
    if normalize:
        x /= np.linalg.norm(x, axis=1)[:, None]
    truth = (x - pilots[codes]) * 2.0**exponent
    sums = known.copy()
    centring = Centring(
        normalize=normalize,
        exponent=np.full(d, exponent, dtype=np.int32) if exponent else None,
        dtype="float64",
        backend=backend,
    )
    z = centring.tile(rows, index, pilots, codes, sums)
    assert np.abs(z - truth).max() <= 4e-16 * np.abs(truth).max()
    for code in range(9):
        wanted = [math.fsum(column) for column in truth[codes == code].T]
        assert np.allclose(sums[code] - known[code], wanted, rtol=1e-13, atol=1e-13 * np.abs(truth).max())


@BUILT
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tiles_are_the_same_for_any_number_of_threads(monkeypatch, dtype):
    rows, labels = cases.labelled(700, 200, 11)
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(_native, "threads", lambda threads=threads: threads)
        sums = np.zeros((11, 200))
        centring = Centring(normalize="l2", exponent=None, dtype=dtype, backend="native")
        found.append((centring.tile(rows, slice(100, 700), rows[:11], labels[100:], sums), sums))
    assert found[0][0].dtype == dtype
    assert all((one == other).all() for one, other in zip(*found, strict=True))


@BACKENDS
def test_rows_whose_norms_float64_rounds_are_normalised(backend):
    rows = np.array([[3e-310, 4e-310], [1.5e308, 1.5e308], [3.0, 4.0]])
    centring = Centring(normalize="l2", exponent=None, dtype="float64", backend=backend)
    z = centring.tile(rows, slice(0, 3), np.zeros((1, 2)), np.zeros(3, dtype=int), np.zeros((1, 2)))
    assert np.allclose(z, [[0.6, 0.8], [0.5**0.5, 0.5**0.5], [0.6, 0.8]], rtol=1e-13)


@BACKENDS
@pytest.mark.parametrize("normalize", [None, "l2"])
def test_rows_on_the_host_that_are_of_no_use(backend, normalize):
    rows = np.ones((300, 2), dtype=np.float32)
    rows[270, 1] = np.inf
    centring = Centring(normalize=normalize, exponent=None, dtype="float64", backend=backend)
    with pytest.raises(NonFiniteError, match="the first in row 260"):
        centring.tile(rows, slice(10, 300), np.zeros((1, 2)), np.zeros(290, dtype=int), np.zeros((1, 2)))
    rows[270] = 0.0
    if normalize:
        with pytest.raises(ZeroNormError, match="the first is row"):
            centring.tile(rows, slice(10, 300), np.zeros((1, 2)), np.zeros(290, dtype=int), np.zeros((1, 2)))


def test_rows_on_a_device_that_are_not_finite():
    rows = torch.ones(4, 2, dtype=torch.float64)
    rows[2, 1] = torch.nan
    centring = Centring(normalize=None, exponent=None, dtype="float64")
    with pytest.raises(NonFiniteError, match="the first in row 2"):
        centring._on_device(rows, np.zeros((1, 2)), np.zeros(4, dtype=int), np.zeros((1, 2)))


@BACKENDS
def test_differences_beyond_float64_are_refused(backend):
    rows = np.array([[-1.7e308], [1.7e308]])
    centring = Centring(normalize=None, exponent=None, dtype="float64", backend=backend)
    with pytest.raises(InputError, match="differences float64 can hold"):
        centring.tile(rows, slice(0, 2), rows[1:], np.zeros(2, dtype=int), np.zeros((1, 1)))
