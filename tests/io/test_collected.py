from __future__ import annotations

import numpy as np
import pytest
import torch

import featdiv
from featdiv.io.collected import collected

X = np.arange(60.0).reshape(20, 3)


def test_rows_and_all_that_belongs_to_them_are_kept():
    ids, groups = np.arange(20) + 5, np.arange(20) // 4
    pairs = ((X[start : start + 6], np.full(min(6, 20 - start), start)) for start in range(0, 20, 6))
    found = collected(featdiv.open(pairs, ids=ids, groups=groups))
    assert (found.n, found.one_pass) == (20, False)
    for _ in range(2):
        np.testing.assert_array_equal(next(found.chunks()).rows, X)
    np.testing.assert_array_equal(found.labels, np.arange(20) // 6 * 6)
    np.testing.assert_array_equal(found.ids, ids)
    np.testing.assert_array_equal(found.groups, groups)


def test_types_that_numpy_lacks_stay_as_they_are():
    rows = torch.from_numpy(X).bfloat16()
    found = collected(featdiv.open(rows[start : start + 6] for start in range(0, 20, 6)))
    assert found.dtype == "bfloat16"
    assert torch.equal(found.take([3, 19]), rows[[3, 19]])


def test_the_check_sees_what_is_held_so_far():
    seen = []
    collected(featdiv.open(X[start : start + 10] for start in (0, 10)), check=seen.append)
    assert seen[-1] == X.nbytes

    def refuse(size):
        raise MemoryError(size)

    with pytest.raises(MemoryError, match="480"):
        collected(featdiv.open(X[start : start + 20] for start in (0,)), check=refuse)
