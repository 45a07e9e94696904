"""class_scatter on a software tile unit: which classes go through the tiles, and what certifies them."""

from __future__ import annotations

import numpy as np
import pytest

from featdiv.ops.class_scatter import class_scatter

CLASS_SIZES = (40, 0, 1, 31, 32, 33, 64, 65, 400, 700)


def classes_in_no_order(rng, d, dtype="float32"):
    """Rows and labels of classes around means of their own, each with as many rows as `CLASS_SIZES` says."""
    labels = np.repeat(np.arange(len(CLASS_SIZES)), CLASS_SIZES)
    rng.shuffle(labels)
    return (rng.normal(size=(len(labels), d)) + 10 * labels[:, None]).astype(dtype), labels


def worst_of_classes(got, want) -> list[float]:
    """The largest entrywise error of each class's scatter, with room for what rounding leaves of a single row."""
    errors = []
    for own, truth in zip(got.scatters, want.scatters, strict=True):
        spread = np.sqrt(np.diag(truth)) + 1e-8
        errors.append(float((np.abs(own - truth) / np.outer(spread, spread)).max()))
    return errors


@pytest.mark.parametrize(("d", "dtype"), [(64, "float16"), (97, "float32"), (70, "float64"), (63, "float32")])
@pytest.mark.usefixtures("emulated")
def test_classes_of_every_size_any_threads(rng, threads, d, dtype):
    rows, labels = classes_in_no_order(rng, d, dtype)
    options = {"classes": len(CLASS_SIZES), "normalize": "l2" if dtype == "float64" else None}
    want = class_scatter(rows, labels, backend="reference", **options)
    results = []
    for count in (1, 3):
        threads(count)
        results.append(class_scatter(rows, labels, backend="native", **options))
    one, many = results
    assert one.scatters.tobytes() == many.scatters.tobytes()
    assert one.counts.tolist() == list(CLASS_SIZES)
    assert np.abs(one.means - want.means).max() <= 1e-7 * np.abs(want.means).max()
    errors = worst_of_classes(one, want)
    assert max(errors) <= 1e-6
    narrow = class_scatter(rows, labels, backend="native", dtype="float32", **options)
    assert (narrow.scatters == one.scatters.astype(np.float32)).all()


@pytest.mark.usefixtures("emulated")
def test_classes_go_through_the_tiles_where_they_have_rows_and_features_enough(rng):
    """The terms of `bfloat16` are off by 1e-5 and more, which tells tiles from vectors."""
    for d in (63, 64):
        rows, labels = classes_in_no_order(rng, d)
        of = {"classes": len(CLASS_SIZES)}
        want = class_scatter(rows, labels, backend="reference", **of)
        errors = worst_of_classes(class_scatter(rows, labels, backend="native", precision="bfloat16", **of), want)
        on_tiles = [d == 64 and size >= 32 for size in CLASS_SIZES]
        assert [error > 1e-5 for error in errors] == on_tiles
        assert max(errors) <= 5e-3


@pytest.mark.usefixtures("emulated")
def test_a_class_that_all_threads_share_goes_through_the_tiles(rng, threads):
    threads(2)
    labels = (rng.random(16800) < 0.01).astype(np.uint8)
    rows = rng.normal(size=(16800, 64)).astype(np.float32)
    want = class_scatter(rows, labels, classes=2, backend="reference")
    got = class_scatter(rows, labels, classes=2, backend="native", precision="bfloat16")
    assert all(1e-5 < error <= 5e-3 for error in worst_of_classes(got, want))


def test_a_class_that_goes_wrong_is_done_again_in_float64(late, use, rng):
    use(late)
    rows, labels = classes_in_no_order(rng, 64)
    sums = {backend: class_scatter(rows, labels, classes=10, backend=backend) for backend in ("native", "reference")}
    errors = worst_of_classes(sums["native"], sums["reference"])
    assert (CLASS_SIZES[-2] - 1) // 32 == 12
    assert CLASS_SIZES[-1] > 20 * 32
    assert max(errors[-2:]) <= 1e-12
    assert max(errors) <= 1e-6
