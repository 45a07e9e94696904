from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from featdiv.ops._dispatch import PRECISIONS
from featdiv.stats import ClassMoments, Moments
from featdiv.testing import cases
from featdiv.testing.compare import (
    Errors,
    assert_close_statistic,
    exact_second_moments,
    plain_second_moments,
    tolerance,
)


def test_errors_by_hand():
    exact = np.array([[4.0, 0.0], [0.0, 100.0]])
    off = np.array([[4.0, 0.2], [0.2, 101.0]])
    errors = Errors.of(off, exact)
    assert errors.entrywise == pytest.approx(0.01)
    assert errors.frobenius == pytest.approx(math.sqrt(1.08) / math.sqrt(10016.0))


def test_nan_and_wrong_zeros_are_infinitely_wrong():
    exact = np.diag([1.0, 0.0])
    assert Errors.of(np.diag([np.nan, 0.0]), exact) == Errors(frobenius=math.inf, entrywise=math.inf)
    assert Errors.of(np.diag([1.0, 1e-30]), exact).entrywise == math.inf
    assert Errors.of(exact, exact) == Errors(frobenius=0.0, entrywise=0.0)


@pytest.mark.parametrize("precision", list(PRECISIONS))
def test_tolerance_never_exceeds_the_promise(precision):
    assert tolerance(precision, terms=10**9, plain=1.0) == PRECISIONS[precision]
    floor = tolerance(precision, terms=1000, plain=0.0)
    assert 0.0 < floor <= PRECISIONS[precision]


def test_tolerance_grows_with_plain_torchs_error_and_with_the_length_of_the_sum():
    floor = tolerance("float32", terms=1000, plain=0.0)
    assert tolerance("float32", terms=1000, plain=1e-7) == pytest.approx(floor + 3e-7)
    assert tolerance("float32", terms=10, plain=0.0) < floor < 4e-7


def test_exact_second_moments_are_more_exact_than_float64():
    z = np.array([[1.0], [2.0**-40], [2.0**-40]])
    assert (
        float(exact_second_moments(z)[0, 0] - 1.0) == pytest.approx(2.0**-79, rel=1e-9)
        or np.finfo(np.longdouble).nmant == 52
    )


def test_plain_torch_is_as_bad_as_its_type():
    z = cases.make("gaussian", 500, 8, dtype="float64").rows
    errors = [
        Errors.of(plain_second_moments(z, dtype), exact_second_moments(z)).frobenius
        for dtype in ("float64", "float32", "bfloat16")
    ]
    assert errors[0] < 1e-15 < 1e-9 < errors[1] < 1e-6 < 1e-4 < errors[2] < 1e-1


def test_statistics_that_differ_are_described():
    a = Moments.of(cases.make("gaussian", 50, 3).rows)
    scatter = a.scatter.copy()
    scatter[0, 2] += 1e-3
    b = dataclasses.replace(a, scatter=scatter, n=51, normalize="l2")
    with pytest.raises(AssertionError) as caught:
        assert_close_statistic(a, b, 1e-9)
    text = str(caught.value)
    assert "Moments.n: 50 against 51" in text
    assert "Moments.normalize: None against 'l2'" in text
    assert "Moments.scatter[0, 2]: " in text
    assert "0.001 apart; allowed are 1e-09 x " in text
    with pytest.raises(AssertionError, match="expected Moments; got ClassMoments"):
        assert_close_statistic(a, ClassMoments.empty(3), 1e-9)


def test_a_small_column_is_not_hidden_by_a_large_one():
    rows = cases.make("gaussian", 50, 2, dtype="float64").rows * [1e6, 1e-6]
    a = Moments.of(rows, precision="float64")
    scatter, mean = a.scatter.copy(), a.mean.copy()
    scatter[1, 1] *= 1.0 + 1e-6
    mean[1] += 1e-8
    for changed in ({"scatter": scatter}, {"mean": mean}):
        with pytest.raises(AssertionError, match="apart"):
            assert_close_statistic(a, dataclasses.replace(a, **changed), 1e-9)


def test_nan_is_a_difference():
    a = Moments.of(cases.make("gaussian", 50, 2).rows)
    b = dataclasses.replace(a, mean=np.array([np.nan, a.mean[1]]))
    for rtol in (0.0, 1e-3):
        with pytest.raises(AssertionError, match="mean"):
            assert_close_statistic(a, b, rtol)


def test_with_zero_tolerance_the_last_bit_counts():
    a = Moments.of(cases.make("gaussian", 50, 2).rows)
    b = dataclasses.replace(a, mean=np.nextafter(a.mean, np.inf))
    assert_close_statistic(a, b, 1e-14)
    with pytest.raises(AssertionError, match="not equal"):
        assert_close_statistic(a, b, 0.0)
