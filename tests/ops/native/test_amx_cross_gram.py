"""cross_gram on a software tile unit, and what certifies a product that has no diagonal."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from featdiv.errors import NonFiniteError
from featdiv.ops.cross_gram import CrossSums, cross_gram
from featdiv.ops.scatter import PRECISIONS, Sums, scatter

ON_TILES = ("float32", "mixed", "bfloat16")


def crossed(x, other, backend="native", **options):
    sums = CrossSums.zeros(x.shape[1], other.shape[1], norm_sums=options.pop("norm_sums", False))
    cross_gram(x, other, sums, backend=backend, **options)
    return sums


def sizes(rows, **transform) -> np.ndarray:
    """The norm of each column."""
    sums = Sums.zeros(int(rows.shape[1]))
    scatter(rows, sums, backend="reference", **transform)
    return np.sqrt(np.diag(sums.gram))


def worst_of_cross(got, want, x, other, *, normalize=None, **columns) -> float:
    """The largest error of the product, over the sizes of the columns that it multiplies."""
    left = {name: columns.get(name) for name in ("shift", "exponent")}
    right = {name: columns.get(f"other_{name}") for name in ("shift", "exponent")}
    size = np.outer(sizes(x, normalize=normalize, **left), sizes(other, normalize=normalize, **right))
    return float((np.abs(got.gram - want.gram) / size).max())


@pytest.mark.parametrize("precision", ON_TILES)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "uint8", "int16"])
@pytest.mark.usefixtures("emulated")
def test_two_sets_of_features_as_they_are_and_transformed(rng, dtype, precision):
    both = []
    for d in (67, 33):
        rows = rng.normal(3.0, 9.0, size=(203, d))
        both.append(torch.from_numpy(rows).to(torch.bfloat16) if dtype == "bfloat16" else np.abs(rows).astype(dtype))
    shift, other_exponent = rng.normal(9.0, 1.0, size=67), rng.integers(-3, 4, size=33).astype(np.int32)
    for options in ({}, {"shift": shift, "other_exponent": other_exponent}, {"normalize": "l2"}):
        got = crossed(*both, norm_sums=True, precision=precision, **options)
        want = crossed(*both, "reference", norm_sums=True, **options)
        assert got.tiles_in_float64 == 0 or precision == "bfloat16"
        assert worst_of_cross(got, want, *both, **options) <= PRECISIONS[precision]
        for name in ("total", "other_total", "weighted", "other_weighted", "fourth"):
            one, other = getattr(got, name), getattr(want, name)
            np.testing.assert_allclose(one, other, rtol=0, atol=4e-6 * np.abs(other).max())


@pytest.mark.parametrize(("n", "p", "q"), [(1, 1, 1), (33, 1, 70), (31, 16, 17), (65, 97, 32), (600, 33, 64)])
@pytest.mark.usefixtures("emulated")
def test_two_sets_of_odd_shapes(rng, n, p, q):
    x, other = (rng.normal(size=(n, d)).astype(np.float32) for d in (p, q))
    got, want = crossed(x, other), crossed(x, other, "reference")
    assert worst_of_cross(got, want, x, other) <= 1e-6
    assert got.tiles_in_float64 == 0


@pytest.mark.usefixtures("emulated")
def test_two_sets_in_each_precision(rng):
    """The errors are those of the terms that are left out, which tells tiles from vectors."""
    x, other = (rng.normal(size=(600, d)).astype(np.float32) for d in (40, 35))
    want = crossed(x, other, "reference")
    sums = {precision: crossed(x, other, precision=precision) for precision in ON_TILES}
    assert [each.tiles_in_float64 for each in sums.values()] == [0, 0, 0]
    errors = {precision: worst_of_cross(each, want, x, other) for precision, each in sums.items()}
    assert errors["float32"] <= 1e-7
    assert 3e-8 <= errors["mixed"] <= 1e-5
    assert 1e-5 <= errors["bfloat16"] <= 2e-3


@pytest.mark.usefixtures("emulated")
def test_two_sets_of_many_tiles_any_threads(rng, threads):
    x, other = (rng.normal(size=(4200, d)).astype(np.float32) for d in (40, 35))
    results = []
    for count in (1, 3):
        threads(count)
        results.append(crossed(x, other, precision="bfloat16"))
    assert results[0].gram.tobytes() == results[1].gram.tobytes()
    assert (results[0].tiles, results[0].tiles_in_float64) == (2, 0)
    assert worst_of_cross(results[0], crossed(x, other, "reference"), x, other) <= 5e-3


@pytest.mark.usefixtures("emulated")
def test_two_sets_of_which_one_would_flush(rng):
    x, other = (rng.normal(size=(100, d)).astype(np.float32) for d in (20, 40))
    x[:, 3] *= 1e-14
    got = crossed(x, other)
    assert got.tiles_in_float64 == got.tiles
    assert worst_of_cross(got, crossed(x, other, "reference"), x, other) <= 1e-12
    x[50, 2] = np.inf
    with pytest.raises(
        NonFiniteError, match="x: expected finite rows; got 1 NaN or infinite entries, the first in row 50"
    ):
        crossed(x, other)


def test_terms_that_go_wrong_are_found_before_they_are_multiplied(late, truncated, use, rng):
    x, other = (rng.normal(size=(1000, d)).astype(np.float32) for d in (33, 7))
    want = crossed(x, other, "reference")
    for library, precision in ((late, "float32"), (truncated, "bfloat16")):
        use(library)
        got = crossed(x, other, precision=precision)
        assert got.tiles_in_float64 == got.tiles == 1
        assert worst_of_cross(got, want, x, other) <= 1e-12
