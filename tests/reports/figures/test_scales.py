from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featdiv.reports.figures.scales import Linear, Log, domain, tick_step

finite = st.floats(min_value=-1e6, max_value=1e6, allow_nan=False)


def test_ends_of_the_domain_lie_at_the_ends_of_the_picture():
    assert [Linear(2.0, 6.0, 10.0, 50.0)(value) for value in (2.0, 3.0, 6.0)] == [10.0, 20.0, 50.0]
    assert [Log(1.0, 1e4, 400.0, 0.0)(value) for value in (1.0, 10.0, 1e4)] == pytest.approx([400.0, 300.0, 0.0])


@pytest.mark.parametrize(("width", "most", "step"), [(1.0, 6, 0.2), (10.0, 6, 2.0), (97.0, 5, 25.0), (0.03, 4, 0.01)])
def test_steps_are_round(width, most, step):
    assert tick_step(width, most) == pytest.approx(step)


def test_labels_have_the_decimals_of_their_step():
    assert [label for _, label in Linear(0.85, 1.0, 0.0, 1.0).ticks(4)] == ["0.85", "0.90", "0.95", "1.00"]
    assert [label for _, label in Linear(0.0, 1.0, 0.0, 1.0).ticks(5)] == ["0.00", "0.25", "0.50", "0.75", "1.00"]
    assert [label for _, label in Linear(-1000.0, 1000.0, 0.0, 1.0).ticks(3)] == ["−1,000", "0", "1,000"]


@settings(deadline=None)
@given(finite, finite, st.integers(2, 12))
def test_ticks_lie_in_the_domain_are_few_and_differ(a, b, most):
    low, high = min(a, b), max(a, b)
    if high - low <= 1e-6 * max(1.0, abs(low), abs(high)):
        return
    ticks = Linear(low, high, 0.0, 100.0).ticks(most)
    slack = 1e-6 * (high - low)
    assert len(ticks) <= most
    assert all(low - slack <= value <= high + slack for value, _ in ticks)
    assert len({label for _, label in ticks}) == len(ticks)


@settings(deadline=None)
@given(st.floats(-12, 12), st.floats(0.05, 20), st.integers(2, 10))
def test_logarithmic_ticks_lie_in_the_domain_are_few_and_differ(exponent, decades, most):
    low, high = 10.0**exponent, 10.0 ** (exponent + decades)
    ticks = Log(low, high, 0.0, 100.0).ticks(most)
    assert len(ticks) <= most
    assert all(low * 0.999 <= value <= high * 1.001 for value, _ in ticks)
    assert len({label for _, label in ticks}) == len(ticks)


def test_logarithmic_labels():
    assert [label for _, label in Log(1.0, 2000.0, 0.0, 1.0).ticks(8)] == ["1", "10", "100", "1,000"]
    assert [label for _, label in Log(1e-8, 1.0, 0.0, 1.0).ticks(5)] == ["10⁻⁸", "10⁻⁶", "10⁻⁴", "10⁻²", "1"]
    assert [label for _, label in Log(1.0, 50.0, 0.0, 1.0).ticks(8)] == ["1", "2", "5", "10", "20", "50"]


@settings(deadline=None)
@given(st.lists(finite, min_size=1, max_size=20), st.booleans())
def test_a_domain_is_never_empty_and_holds_everything(values, zero):
    low, high = domain(values, zero=zero)
    assert low < high
    assert low <= min(values)
    assert max(values) <= high
    if zero:
        assert low <= 0.0 <= high


def test_a_domain_of_one_value():
    assert domain([0.0]) == pytest.approx((-0.54, 0.54))
    assert math.isclose(sum(domain([1e-9])) / 2, 1e-9)
