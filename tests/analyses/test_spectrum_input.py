"""What `featdiv.spectrum` does with rows and arguments that it cannot use, or not as they are."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import featdiv
from featdiv.errors import (
    BudgetExceeded,
    InputError,
    NonFiniteError,
    NotEnoughData,
    SmallSampleWarning,
    ZeroNormError,
)


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SmallSampleWarning)
        yield


def singular_values(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    return np.linalg.svd(x - x.mean(axis=0), compute_uv=False)


def test_dropping_rows_is_asked_for_and_told():
    x = np.random.default_rng(16).standard_normal((2000, 6))
    clean = x.copy()
    x[[3, 1500]] = np.nan
    keep = np.delete(clean, [3, 1500], axis=0)
    for method in ("gram", "svd", "tsqr"):
        found = featdiv.spectrum(x, method=method, nonfinite="drop", precision="float64")
        np.testing.assert_allclose(found.singular_values, singular_values(keep), rtol=1e-9)
        assert found.n == 1998
        assert "2 rows with NaN or infinity were left out" in found.provenance.notes


BAD_CALLS = [
    ({"x": np.ones((5, 3))}, NotEnoughData, "featdiv.spectrum: x: the features are constant"),
    ({"x": np.zeros((5, 3)), "center": False}, NotEnoughData, "every entry of the rows is zero"),
    ({"x": np.ones((1, 3))}, NotEnoughData, "expected at least 2 rows; got 1"),
    ({"method": "pca"}, InputError, "method: expected one of 'auto', 'gram'.*got 'pca'"),
    ({"precision": "tf32"}, InputError, "precision: expected one of 'float64'.*got 'tf32'"),
    ({"normalize": "l1"}, InputError, "normalize: expected one of None, 'l2'; got 'l1'"),
    ({"interval": "bootstrap"}, InputError, "interval: expected one of 'auto', 'jackknife', None"),
    ({"nonfinite": "ignore"}, InputError, "nonfinite: expected one of 'raise', 'drop'"),
    ({"device": "cuda:99"}, InputError, "device: expected a device of this machine.*'cuda:99'"),
    ({"device": "gpu"}, InputError, "device: expected a device of this machine.*'gpu'"),
    ({"backend": "blas"}, InputError, "backend: expected 'auto' or one of"),
    ({"memory": "lots"}, InputError, "memory: expected bytes or text such as '2GB'; got 'lots'"),
    ({"memory": 1000, "method": "gram"}, BudgetExceeded, "40 x 40 second moments.*method='randomized'"),
    ({"memory": 1000, "method": "svd"}, BudgetExceeded, "method='svd' on 60 x 40 rows"),
    ({"labels": [0, 1]}, InputError, "labels: expected 60 entries"),
    ({"interval": "jackknife"}, InputError, "'jackknife' cannot be had here.*at least 5 slabs"),
]


@pytest.mark.parametrize(("arguments", "error", "text"), BAD_CALLS)
def test_bad_calls(arguments, error, text):
    call = {"x": np.random.default_rng(17).standard_normal((60, 40)), **arguments}
    with pytest.raises(error, match=text):
        featdiv.spectrum(call.pop("x"), **call)


@pytest.mark.parametrize("method", ["gram", "svd", "tsqr", "dual"])
def test_nonfinite_rows_are_placed_in_the_source(method):
    x = np.random.default_rng(18).standard_normal((900, 4))
    x[700, 1] = np.inf
    with pytest.raises(NonFiniteError, match="nonfinite='drop'") as caught:
        featdiv.spectrum(featdiv.open(x, chunk_rows=200), method=method)
    assert caught.value.first_row == 700


def test_zero_rows_are_placed_in_the_source():
    x = np.random.default_rng(19).standard_normal((900, 4))
    x[650] = 0
    with pytest.raises(ZeroNormError, match="first is row 650"):
        featdiv.spectrum(featdiv.open(x, chunk_rows=200), normalize="l2", method="gram")


@pytest.mark.parametrize("method", ["svd", "dual", "randomized"])
def test_methods_that_read_twice_refuse_a_generator(method):
    with pytest.raises(InputError, match="read more than once"):
        featdiv.spectrum(iter([np.ones((3, 2))]), method=method)


def test_classes_need_a_source_that_can_be_read_again():
    chunks = iter([np.random.default_rng(0).standard_normal((30, 2))])
    with pytest.raises(InputError, match="more than once"):
        featdiv.spectrum(chunks, labels=np.arange(30) % 2)


def test_moments_in_place_of_rows():
    x = np.random.default_rng(20).standard_normal((200, 5)).astype(np.float32)
    moments = featdiv.Moments.of(x, precision="float64")
    found = featdiv.spectrum(moments)
    np.testing.assert_allclose(found.singular_values, singular_values(x), rtol=1e-10)
    with pytest.raises(InputError, match="labels and groups go with rows"):
        featdiv.spectrum(moments, labels=[1])
    with pytest.raises(InputError, match="'jackknife' needs rows"):
        featdiv.spectrum(moments, interval="jackknife")
    with pytest.raises(InputError, match="normalize: expected None with Moments"):
        featdiv.spectrum(moments, normalize="l2")


def test_read_only_rows_are_worked_on_quietly():
    x = np.random.default_rng(22).standard_normal((3000, 8))
    x.setflags(write=False)
    for arguments in ({"backend": "torch"}, {"device": "cpu"}):
        found = featdiv.spectrum(x, method="gram", precision="float64", **arguments)
        np.testing.assert_allclose(found.singular_values, singular_values(x), rtol=1e-9)
