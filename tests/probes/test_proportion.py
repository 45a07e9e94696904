from __future__ import annotations

import pytest
from scipy.stats import binomtest

from featdiv.probes.proportion import wilson


@pytest.mark.parametrize(("correct", "n"), [(0, 7), (7, 7), (3, 10), (912, 1000)])
def test_it_is_scipys(correct, n):
    interval = wilson(correct, n)
    expected = binomtest(correct, n).proportion_ci(method="wilson")
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert interval.method == "Wilson"
