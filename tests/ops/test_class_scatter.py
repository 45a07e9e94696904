"""class_scatter: every backend against the float64 oracle, hand tables, and classes that have collapsed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from featdiv.errors import BackendUnavailable, InputError, NonFiniteError, ZeroNormError
from featdiv.ops import _native
from featdiv.ops.class_scatter import class_scatter, class_scatter_dense, native_

BACKENDS = ("native", "numpy", "torch")


@pytest.fixture(params=BACKENDS)
def backend(request):
    if request.param == "native" and _native.missing():
        pytest.skip(str(_native.missing()))
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def assert_agree(got, want, rows, bound=1e-6):
    """The bound on each class's scatter, with room for rounding rows that hardly differ from their mean."""
    x = np.asarray(rows.to(torch.float64) if isinstance(rows, torch.Tensor) else rows, dtype=np.float64)
    assert (got.counts == want.counts).all()
    largest = np.abs(x).max(initial=0.0)
    assert np.abs(got.means - want.means).max(initial=0.0) <= 1e-7 * largest
    for got_k, want_k, n in zip(got.scatters, want.scatters, want.counts, strict=True):
        spread = np.sqrt(np.diag(want_k))
        floor = np.sqrt(n) * 2.0**-24 * largest * 1e-3
        assert (np.abs(got_k - want_k) <= bound * np.outer(spread + floor, spread + floor)).all()
        assert (got_k == got_k.T).all()


def test_a_table_made_by_hand(backend):
    rows = np.array([[1.0, 0.0], [10.0, 10.0], [3.0, 4.0], [10.0, 14.0], [10.0, 12.0]], dtype=np.float32)
    sums = class_scatter(rows, np.array([2, 0, 2, 0, 0]), classes=4, backend=backend)
    assert sums.backend == backend
    assert sums.counts.tolist() == [3, 0, 2, 0]
    assert sums.means.tolist() == [[10.0, 12.0], [0.0, 0.0], [2.0, 2.0], [0.0, 0.0]]
    assert sums.scatters[0].tolist() == [[0.0, 0.0], [0.0, 8.0]]
    assert sums.scatters[2].tolist() == [[2.0, 4.0], [4.0, 8.0]]
    assert not sums.scatters[[1, 3]].any()


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int8", "int64", "uint8"])
@pytest.mark.parametrize("normalize", [None, "l2"])
def test_every_element_type(backend, rng, dtype, normalize):
    values = np.abs(rng.normal(5.0, 3.0, size=(400, 33))) + 1
    rows = torch.from_numpy(values).to(torch.bfloat16) if dtype == "bfloat16" else values.astype(dtype)
    labels = rng.integers(0, 9, size=400)
    want = class_scatter(rows, labels, classes=9, normalize=normalize, backend="reference")
    scale = np.ones(1) if normalize else rows
    assert_agree(class_scatter(rows, labels, classes=9, normalize=normalize, backend=backend), want, scale)
    exact = class_scatter(rows, labels, classes=9, normalize=normalize, precision="float64", backend=backend)
    assert_agree(exact, want, scale, 1e-12)


@pytest.mark.parametrize("d", [1, 5, 48, 70])
def test_classes_of_every_size(backend, rng, d):
    labels = np.repeat(np.arange(40), np.arange(40))
    rng.shuffle(labels)
    rows = (rng.normal(size=(len(labels), d)) + 100 * labels[:, None]).astype(np.float32)
    want = class_scatter(rows, labels, classes=40, backend="reference")
    assert_agree(class_scatter(rows, labels, classes=40, backend=backend), want, rows)


def test_a_class_that_all_threads_share(backend, rng):
    labels = (rng.random(21000) < 0.1).astype(np.uint8)
    rows = rng.normal(size=(21000, 20)).astype(np.float32)
    want = class_scatter(rows, labels, classes=2, backend="reference")
    assert_agree(class_scatter(rows, labels, classes=2, backend=backend), want, rows)


def test_collapsed_classes_keep_their_digits(backend, rng):
    """Within-class spread 1e-5 of the means: total minus between would have no correct digit."""
    labels = rng.integers(0, 5, size=1000)
    centres = np.round(rng.normal(size=(5, 12)) * 8) * 16
    small = rng.integers(-128, 129, size=(1000, 12)) / 2.0**14
    rows = (centres[labels] + small).astype(np.float32)
    got = class_scatter(rows, labels, classes=5, backend=backend)
    for k in range(5):
        own = (rows[labels == k] - centres[k]).astype(np.float64)
        truth = (own - own.mean(axis=0)).T @ (own - own.mean(axis=0))
        spread = np.sqrt(np.diag(truth))
        assert (np.abs(got.scatters[k] - truth) <= 2e-6 * np.outer(spread, spread)).all()


def test_identical_rows_have_no_scatter(backend):
    rows = np.tile(np.float32([0.1, 1e3, -7.77]), (50, 1))
    got = class_scatter(rows, np.zeros(50, dtype=int), classes=1, backend=backend)
    assert np.abs(got.scatters).max() <= 1e-14 * 50 * 1e6
    assert (np.diag(got.scatters[0]) >= 0).all()


def test_scales_beyond_float32_products(backend, rng):
    labels = rng.integers(0, 3, size=300)
    for scale in (1e-30, 1e30):
        rows = (scale * rng.normal(size=(300, 8))).astype(np.float32)
        want = class_scatter(rows, labels, classes=3, backend="reference")
        assert_agree(class_scatter(rows, labels, classes=3, backend=backend), want, rows)


def test_bad_rows_are_placed_among_all_rows(backend, rng):
    rows = rng.normal(size=(100, 4)).astype(np.float32)
    labels = rng.integers(0, 3, size=100)
    rows[[70, 71]] = 0.0
    with pytest.raises(ZeroNormError, match="2 zero rows, the first is row 70"):
        class_scatter(rows, labels, classes=3, normalize="l2", backend=backend)
    rows[90, 1] = np.inf
    rows[31, 2] = np.nan
    with pytest.raises(NonFiniteError, match="2 NaN or infinite entries, the first in row 31"):
        class_scatter(rows, labels, classes=3, backend=backend)


@pytest.mark.parametrize("d", [1, 16, 33, 64])
def test_scatters_in_float32_are_rounded_once(backend, rng, d):
    labels = rng.integers(0, 7, size=500)
    rows = (rng.normal(size=(500, d)) + 9 * labels[:, None]).astype(np.float32)
    wide = class_scatter(rows, labels, classes=8, backend=backend)
    narrow = class_scatter(rows, labels, classes=8, dtype="float32", backend=backend)
    assert narrow.scatters.dtype == np.float32
    assert wide.scatters.dtype == narrow.means.dtype == np.float64
    assert (narrow.means == wide.means).all()
    assert (narrow.scatters == wide.scatters.astype(np.float32)).all()


def test_scatters_that_float32_cannot_hold(backend, rng):
    rows = rng.normal(size=(40, 3))
    rows[10:20] *= 1e30
    labels = np.repeat(np.arange(4), 10)
    assert np.isfinite(class_scatter(rows, labels, classes=4, backend=backend).scatters).all()
    with pytest.raises(InputError, match=r"float32 holds, below 3\.4e38; class 1 exceeds it"):
        class_scatter(rows, labels, classes=4, dtype="float32", backend=backend)


def test_a_class_whose_rows_come_in_a_trend(backend, rng):
    """The first rows say nothing of the mean."""
    rows = (np.arange(3000.0)[:, None] * [1.0, -2.0] + 5e4 + rng.normal(size=(3000, 2))).astype(np.float32)
    labels = np.zeros(3000, dtype=int)
    want = class_scatter(rows, labels, classes=1, backend="reference")
    assert_agree(class_scatter(rows, labels, classes=1, backend=backend), want, rows)


@pytest.mark.parametrize(("n", "d"), [(4200, 40), (1300, 256), (2100, 515)])
def test_classes_of_one_tile_of_rows_and_of_more(backend, rng, n, d):
    """Sums of a few rows stay in registers; those of many grow in scratch memory, or in place where they are large."""
    labels = (np.arange(n) % 23 > 0).astype(int)
    rows = rng.normal(size=(n, d)).astype(np.float32)
    want = class_scatter(rows, labels, classes=2, backend="reference")
    got = class_scatter(rows, labels, classes=2, backend=backend)
    assert_agree(got, want, rows)
    assert (got.scatters == got.scatters.transpose(0, 2, 1)).all()


def test_a_batch_of_problems(backend, rng):
    x = rng.normal(size=(6, 50, 7)).astype(np.float32)
    got = class_scatter_dense(x.transpose(1, 0, 2), backend=backend)
    assert got.scatters.shape == (50, 7, 7)
    for k in (0, 49):
        truth = np.cov(x[:, k].astype(np.float64), rowvar=False) * 5
        assert got.scatters[k] == pytest.approx(truth, rel=1e-5, abs=1e-6)


def test_no_rows_and_no_classes(backend):
    empty = class_scatter(np.zeros((0, 3)), np.zeros(0, dtype=int), classes=2, backend=backend)
    assert empty.counts.tolist() == [0, 0]
    assert not empty.scatters.any()
    none = class_scatter(np.zeros((0, 3)), np.zeros(0, dtype=int), classes=0, backend=backend)
    assert none.scatters.shape == (0, 3, 3)


def test_strided_rows_and_python_lists_of_labels(backend, rng):
    base = rng.normal(size=(60, 20)).astype(np.float32)
    labels = [i % 3 for i in range(30)]
    want = class_scatter(base[::2, ::3].copy(), np.array(labels), classes=3, backend="reference")
    for view in (base[::2, ::3], np.asfortranarray(base[::2, ::3]), torch.from_numpy(base)[::2, ::3]):
        assert_agree(class_scatter(view, labels, classes=3, backend=backend), want, base)


@pytest.mark.skipif(_native.missing() is not None, reason=str(_native.missing()))
@pytest.mark.parametrize("isa", _native.ISAS)
def test_threads_and_instruction_sets(monkeypatch, rng, isa):
    if _native.ISAS.index(isa) > _native.module().best_isa():
        pytest.skip(f"this machine has no {isa}")
    monkeypatch.setenv(_native.ISA_VARIABLE, isa)
    labels = rng.integers(0, 50, size=2000)
    for d in (37, 64):
        rows = rng.normal(size=(2000, d)).astype(np.float32)
        results = []
        for count in (1, 2, 5):
            monkeypatch.setattr(_native, "threads", lambda count=count: count)
            results.append(class_scatter(rows, labels, classes=50, backend="native"))
        assert len({(r.means.tobytes(), r.scatters.tobytes()) for r in results}) == 1
        assert_agree(results[0], class_scatter(rows, labels, classes=50, backend="reference"), rows)


@pytest.mark.parametrize(
    ("rows", "labels", "words"),
    [
        (np.zeros((3, 2, 1)), np.zeros(3, dtype=int), r"rows: expected shape \(n, d\)"),
        (np.zeros((3, 2)), np.zeros(2, dtype=int), "labels: expected 3 integers"),
        (np.zeros((3, 2)), np.zeros(3), "labels: expected 3 integers"),
        (np.zeros((3, 2)), np.array([0, 1, 2]), r"from 0 to classes - 1 = 1; got 0 to 2"),
        (np.zeros((3, 2)), np.array([0, 1, -1]), r"got -1 to 1"),
    ],
)
def test_arguments_are_checked(rows, labels, words):
    with pytest.raises(InputError, match=words):
        class_scatter(rows, labels, classes=2)


def test_the_type_of_the_scatters_is_checked():
    with pytest.raises(InputError, match="dtype: expected 'float64' or 'float32'; got 'float16'"):
        class_scatter(np.zeros((3, 2)), np.zeros(3, dtype=int), classes=1, dtype="float16")


def test_a_batch_has_three_axes():
    with pytest.raises(InputError, match=r"expected shape \(b, n, d\)"):
        class_scatter_dense(np.zeros((3, 2)))


def test_a_wrong_backend_is_caught(rng, monkeypatch):
    monkeypatch.setattr(_native, "missing", lambda: None)
    monkeypatch.setattr(
        native_, "class_scatter", lambda rows, order, counts, **_: (np.zeros((2, 3)), np.zeros((2, 3, 3)))
    )
    rows, labels = rng.normal(size=(20, 3)), rng.integers(0, 2, size=20)
    with pytest.raises(AssertionError):
        assert_agree(
            class_scatter(rows, labels, classes=2, backend="native"),
            class_scatter(rows, labels, classes=2, backend="reference"),
            rows,
        )


def test_an_explicit_backend_does_not_fall_back():
    with pytest.raises(BackendUnavailable, match="class_scatter: backend 'cuda' cannot run this"):
        class_scatter(np.zeros((3, 2)), np.zeros(3, dtype=int), classes=1, backend="cuda")
