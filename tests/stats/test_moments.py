from __future__ import annotations

import dataclasses
import functools
import pickle

import numpy as np
import pytest

from featdiv.errors import InputError, NotEnoughData
from featdiv.stats import Moments, NormSums
from featdiv.testing import cases, laws
from featdiv.testing.compare import Errors

exact = functools.partial(Moments.of, precision="float64")


def brute_norm_sums(x: np.ndarray) -> tuple[np.ndarray, float]:
    z = np.asarray(x, dtype=np.longdouble)
    z = z - z.mean(axis=0)
    k = (z**2).sum(axis=1)
    return (k @ z).astype(np.float64), float((k**2).sum())


@pytest.mark.parametrize("case", ["gaussian", "relu", "constant_magnitude", "counts", "heavy_tailed"])
def test_laws(case):
    laws.check_laws(exact, cases.make(case, 120, 9, dtype="float64").rows, empty=Moments.empty(9))


def test_laws_with_norm_sums():
    rows = cases.make("gaussian", 120, 7, dtype="float64").rows
    laws.check_laws(functools.partial(exact, norm_sums=True), rows, empty=Moments.empty(7, norm_sums=True))


def test_laws_of_normalised_rows():
    rows = cases.make("gaussian", 120, 7, dtype="float64", offset=3.0).rows
    laws.check_laws(
        functools.partial(exact, normalize="l2"),
        rows,
        empty=Moments.empty(7, normalize="l2"),
        translates=False,
    )


def test_hand_table():
    moments = Moments.of(np.array([[1.0, 0.0], [3.0, 0.0], [5.0, 6.0]]), precision="float64", norm_sums=True)
    assert moments.n == 3
    assert moments.mean.tolist() == [3.0, 2.0]
    assert moments.scatter.tolist() == [[8.0, 12.0], [12.0, 24.0]]
    assert moments.covariance.tolist() == [[4.0, 6.0], [6.0, 12.0]]
    assert np.allclose(moments.gram, [[35.0, 30.0], [30.0, 36.0]], rtol=1e-15)
    # z = (-2, -2), (0, -2), (2, 4): squared norms 8, 4, 20.
    assert np.allclose(moments.norm_sums.weighted, [24.0, 56.0], rtol=1e-14)
    assert moments.norm_sums.fourth == pytest.approx(480.0, rel=1e-14)


@pytest.mark.parametrize("offset", [0.0, 1.0, 1e4])
def test_norm_sums_merge_to_the_brute_force_of_offset_rows(offset):
    rows = cases.make("heavy_tailed", 300, 6, dtype="float64", offset=offset).rows
    rows[150:] += 2.5
    weighted, fourth = brute_norm_sums(rows)
    parts = [exact(rows[start : start + 60], norm_sums=True) for start in range(0, 300, 60)]
    for moments in (exact(rows, norm_sums=True), functools.reduce(Moments.merge, parts)):
        assert np.abs(moments.norm_sums.weighted - weighted).max() <= 1e-10 * np.abs(weighted).max()
        assert moments.norm_sums.fourth == pytest.approx(fourth, rel=1e-10)


@pytest.mark.parametrize("case", list(cases.GENERATORS))
@pytest.mark.parametrize(("offset", "columns"), [(0.0, None), (1e4, None), (1e6, [0, 1, 2, 3])])
def test_float32_scatter_keeps_its_bound(case, offset, columns):
    rows = cases.make(case, 2000, 24, dtype="float64", offset=offset, columns=columns).rows
    rows = rows.astype(np.float32) if offset == 0.0 else rows
    z = np.asarray(rows, dtype=np.longdouble)
    z = (z - z.mean(axis=0)).astype(np.longdouble)
    error = Errors.of(Moments.of(rows).scatter, np.einsum("ni,nj->ij", z, z))
    assert error.frobenius <= 1e-6
    assert error.entrywise <= 1e-6


def test_constant_rows_have_no_scatter():
    moments = exact(np.full((50, 3), 7.25))
    assert moments.scatter.tolist() == np.zeros((3, 3)).tolist()
    assert moments.mean.tolist() == [7.25] * 3


def test_arrays_are_read_only_even_after_pickling():
    moments = exact(cases.make("gaussian", 50, 3).rows, norm_sums=True)
    for one in (moments, pickle.loads(pickle.dumps(moments))):
        for array in (one.mean, one.scatter, one.norm_sums.weighted):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1.0
        with pytest.raises(AttributeError, match="cannot assign"):
            one.n = 3


def test_merge_says_what_does_not_fit():
    a = exact(np.eye(4))
    with pytest.raises(InputError, match=r"Moments\.merge: other: expected d=4 features; got d=3"):
        a.merge(exact(np.eye(3)))
    with pytest.raises(InputError, match=r"expected normalize=None; got 'l2'.*do not mix"):
        a.merge(exact(np.eye(4), normalize="l2"))
    with pytest.raises(InputError, match=r"one side has norm sums and the other has not"):
        a.merge(exact(np.eye(4), norm_sums=True))
    with pytest.raises(InputError, match=r"expected Moments; got ndarray"):
        a.merge(np.eye(4))


@pytest.mark.parametrize("scale", [2.0**-300, 2.0**450])
def test_the_measured_error_does_not_depend_on_the_scale_of_the_rows(scale):
    x = np.random.default_rng(0).normal(size=(500, 20))
    expected = Moments.of(x, precision="float64", backend="numpy").measured_error
    measured = Moments.of(x * scale, precision="float64", backend="numpy").measured_error
    assert measured == pytest.approx(expected, rel=1e-6, abs=0.0)
    assert 0.0 < measured < 1e-14


def test_one_row_has_no_covariance():
    with pytest.raises(NotEnoughData, match="expected at least 2 rows; got 0"):
        _ = Moments.empty(3).covariance


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(
        InputError, match=r"mean of shape \(d,\) and scatter of shape \(d, d\); got \(3,\) and \(2, 2\)"
    ):
        Moments(n=1, mean=np.zeros(3), scatter=np.zeros((2, 2)))


def test_merge_keeps_the_worse_provenance():
    rows = cases.make("gaussian", 100, 4).rows
    merged = Moments.of(rows) + Moments.of(rows.astype(np.float64), precision="float64", backend="reference")
    assert merged.error_bound == 1e-6
    assert merged.dtype == "mixed"
    assert merged.backend.split(",") == sorted({Moments.of(rows).backend, "reference"})


def test_merge_keeps_of_an_extraction_what_all_parts_agree_on():
    facts = [{"model": "vit", "layer": "norm", "data": "a"}, {"model": "vit", "layer": "norm", "data": "b"}]
    facts.append({"model": "vit", "layer": "head", "data": "b"})
    one, other, third = (dataclasses.replace(Moments.of(np.eye(3)), extraction=given) for given in facts)
    assert (one + other).extraction == {"model": "vit", "layer": "norm"}
    assert ((one + other) + third).extraction == (one + (other + third)).extraction == {"model": "vit"}
    assert (Moments.empty(3) + one + Moments.empty(3)).extraction == facts[0]
    unknown = Moments.of(np.eye(3))
    assert (one + unknown).extraction is (unknown + one).extraction is None
    assert (one + dataclasses.replace(one, extraction={"model": "resnet"})).extraction is None


def test_moved_norm_sums_of_one_row():
    sums = NormSums(weighted=np.zeros(2), fourth=0.0).moved(np.array([3.0, 4.0]), 1, np.zeros((2, 2)))
    assert sums.weighted.tolist() == [75.0, 100.0]
    assert sums.fourth == 625.0
