from __future__ import annotations

import math

import pytest

from featdiv.reports.numbers import duration, is_number, shown, span


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (3.0, "3"),
        (1797, "1,797"),
        (39.70687, "39.71"),
        (0.9999996, "1.000"),
        (-0.25, "−0.2500"),
        (1.5e-7, "1.5×10⁻⁷"),
        (2.0e12, "2×10¹²"),
        (math.nan, "undefined"),
    ],
)
def test_numbers_have_four_significant_digits(value, text):
    assert shown(value) == text


def test_both_ends_of_an_interval_have_the_same_decimals():
    assert span(9.5, 10.25) == "9.50 – 10.25"
    assert span(-0.01234, 0.5) == "−0.0123 – 0.5000"
    assert span(0.0, 2e-9, 2) == "0 – 2×10⁻⁹"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0042, "4 ms"), (3.14159, "3.14 s"), (59.99, "60 s"), (3599.6, "1 h 0 min"), (90061, "25 h 1 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_what_a_number_of_json_is():
    assert all(map(is_number, (0, -1.5)))
    assert not any(map(is_number, (None, True, "1", math.inf, math.nan)))
