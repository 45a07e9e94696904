from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from featdiv.stats.ranks import of_products, tied_ranks


def test_without_rounding_they_are_those_of_scipy():
    values = np.random.default_rng(0).integers(0, 20, size=200).astype(float)
    assert np.array_equal(tied_ranks(values, 0.0), rankdata(values))


def test_numbers_within_rounding_share_a_rank_and_others_do_not():
    values = np.array([1.0, 1.0 + 1e-14, 2.0, 1.0 - 1e-14, 1.0 + 1e-6])
    assert tied_ranks(values, of_products(10)).tolist() == [2.0, 2.0, 5.0, 2.0, 4.0]
    assert tied_ranks(values, 0.0).tolist() == [2.0, 3.0, 5.0, 1.0, 4.0]
