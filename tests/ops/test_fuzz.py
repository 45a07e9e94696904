"""Whatever rows come from Python: the right value, or an error of featdiv; never a crash, a hang or a quiet NaN."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featdiv.errors import FeatdivError
from featdiv.ops.class_scatter import class_scatter
from featdiv.ops.cross_gram import CrossSums, cross_gram
from featdiv.ops.nearest_centroid import nearest_centroid
from featdiv.ops.pair_sums import pair_sums
from featdiv.ops.scatter import Sums, scatter
from featdiv.ops.topk import topk
from featdiv.stats import Moments

many = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)

FLOATS = ("float64", "float32", "float16")
INTEGERS = ("int8", "uint8", "int16", "int32", "int64", "bool")
SPECIAL = {"float64": 1e-310, "float32": 1e-42, "float16": 6e-8}
"""A denormal number of each type."""


def rearranged(rows: np.ndarray, layout: str) -> np.ndarray:
    """The same numbers, elsewhere in memory."""
    n, d = rows.shape
    if layout == "transposed":
        return np.asfortranarray(rows)
    if layout == "strided":
        wide = np.full((2 * n + 1, 3 * d + 2), 7, dtype=rows.dtype)
        wide[1 : 2 * n + 1 : 2, 2 : 3 * d + 2 : 3] = rows
        return wide[1 : 2 * n + 1 : 2, 2 : 3 * d + 2 : 3]
    if layout == "reversed":
        return rows[::-1, ::-1].copy()[::-1, ::-1]
    if layout == "misaligned":
        raw = np.zeros(rows.nbytes + 1, dtype=np.uint8)
        raw[1:] = np.frombuffer(rows.tobytes(), dtype=np.uint8)
        return raw[1:].view(rows.dtype).reshape(n, d)
    if layout == "broadcast":
        return np.broadcast_to(rows[:1], rows.shape)
    if layout == "read-only":
        rows = rows.copy()
        rows.flags.writeable = False
    return rows


@st.composite
def arrays(draw: st.DrawFn, *, d: int | None = None, finite: bool = False) -> np.ndarray:
    n = draw(st.integers(0, 70), label="n")
    d = draw(st.integers(1, 70), label="d") if d is None else d
    dtype = draw(st.sampled_from(FLOATS + INTEGERS), label="dtype")
    random = np.random.default_rng(draw(st.integers(0, 2**32), label="seed"))
    if dtype in INTEGERS:
        info = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        top = draw(st.sampled_from([3, info[1]]))
        rows = random.integers(max(info[0], -top), top, endpoint=True, size=(n, d), dtype=np.int64).astype(dtype)
    else:
        scale = draw(st.sampled_from([1.0, 1e-30, 1e30, 1e-4, 1e3, 1e200, 1e-200]), label="scale")
        with np.errstate(over="ignore"):
            rows = (random.normal(size=(n, d)) * scale).astype(dtype)
        if n:
            unusual = [] if finite else [np.nan, np.inf, -np.inf]
            entry = draw(st.sampled_from([None, None, 0.0, SPECIAL[dtype], *unusual]), label="one entry")
            if entry is not None:
                rows[random.integers(n), random.integers(d)] = entry
            if draw(st.booleans(), label="a zero row"):
                rows[random.integers(n)] = 0
        if finite:
            rows = np.nan_to_num(rows, posinf=0.0, neginf=0.0)
    return rearranged(rows, draw(st.sampled_from(LAYOUTS), label="layout"))


LAYOUTS = ("plain", "transposed", "strided", "reversed", "misaligned", "broadcast", "read-only")


def good(rows: np.ndarray) -> bool:
    return bool(np.isfinite(rows.astype(np.float64)).all())


def beyond_products(rows: np.ndarray) -> bool:
    """Whether float32 may not hold products of the rows."""
    largest = np.abs(rows.astype(np.float64)).max(initial=0.0)
    return bool(largest > 1e15 or largest < 1e-15)


def unit(x: np.ndarray) -> np.ndarray:
    """Rows of length one, by way of their largest entry, whose square may overflow."""
    x = x / np.abs(x).max(axis=1, keepdims=True)
    return x / np.sqrt((x * x).sum(axis=1, keepdims=True))


def close(got: np.ndarray, truth: np.ndarray, scale: np.ndarray | float, relative: float) -> bool:
    return bool((np.abs(got - truth) <= relative * scale + 1e-300).all())


@many
@given(arrays(), st.sampled_from(["float32", "float64", "mixed"]), st.sampled_from([None, "l2"]))
def test_moments(rows: np.ndarray, precision: str, normalize: str | None) -> None:
    x = rows.astype(np.float64)
    try:
        moments = Moments.of(rows, precision=precision, normalize=normalize)
    except FeatdivError:
        zero_row = normalize == "l2" and bool((x == 0).all(axis=1).any())
        huge = bool((np.abs(x) > 1e17).any()) or bool((np.abs(x)[x != 0] < 1e-17).any())
        assert not good(rows) or zero_row or huge or len(rows) == 0
        return
    assert good(rows)
    if normalize == "l2":
        x = unit(x)
    elif np.abs(x).max(initial=0.0) > 1e150:
        return  # The scatter itself exceeds float64.
    mean = x.mean(axis=0) if len(x) else np.zeros(x.shape[1])
    centred = x - mean
    truth = centred.T @ centred
    # The size of what is added up: products of centred and, where nothing is subtracted first, of raw entries.
    size = np.sqrt(np.diagonal(truth)) + np.sqrt(len(x)) * np.abs(mean) + np.abs(x).max(initial=0.0) * 2.0**-50
    assert moments.n == len(x)
    assert close(moments.mean, mean, np.abs(x).max(initial=0.0), 1e-5 if normalize else 1e-6)
    relative = {"float64": 1e-12, "float32": 2e-6, "mixed": 2e-4}[precision]
    assert close(moments.scatter, truth, np.outer(size, size), relative)


@many
@given(arrays(), st.integers(1, 9), st.integers(0, 2**32))
def test_class_scatter(rows: np.ndarray, classes: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(classes, size=len(rows))
    try:
        sums = class_scatter(rows, labels, classes=classes)
    except FeatdivError:
        extreme = np.abs(rows.astype(np.float64))
        assert not good(rows) or (extreme > 1e17).any() or (extreme[extreme > 0] < 1e-17).any()
        return
    assert good(rows)
    x = rows.astype(np.float64)
    for c in range(classes):
        part = x[labels == c]
        if len(part) == 0:
            assert sums.counts[c] == 0
            continue
        mean = part.mean(axis=0)
        size = np.sqrt((part**2).sum(axis=0)) + np.abs(part).max() * 2.0**-20
        assert close(sums.means[c], mean, np.abs(part).max(), 1e-6)
        assert close(sums.scatters[c], (part - mean).T @ (part - mean), np.outer(size, size), 2e-6)


@pytest.mark.parametrize("backend", ["native", "torch"])
@many
@given(arrays(), st.sampled_from(["float32", "float64"]), st.sampled_from([None, "l2"]), st.booleans())
def test_pair_sums(backend: str, rows: np.ndarray, precision: str, normalize: str | None, distances: bool) -> None:
    measure = "distance" if distances or normalize is None else "cosine"
    x = rows.astype(np.float64)
    limits = (0.0, 1.0) if measure == "distance" else None
    wanted = {"measure": measure, "bins": 5, "limits": limits, "normalize": normalize, "precision": precision}
    try:
        sums = pair_sums(rows, backend=backend, **wanted)
    except FeatdivError:
        zero_row = normalize == "l2" and bool((x == 0).all(axis=1).any())
        extreme = np.abs(x)
        assert not good(rows) or zero_row or (extreme > 1e15).any() or (extreme[extreme > 0] < 1e-15).any()
        return
    assert good(rows)
    assert sums.histogram is not None
    assert int(sums.histogram.sum()) + sums.below + sums.above == len(x) * (len(x) - 1) // 2
    assert np.isfinite(sums.exp_sums).all()
    if normalize == "l2" and len(x) > 1:
        x = unit(x)
        square = ((x[:, None] - x[None]) ** 2).sum(axis=2)[np.triu_indices(len(x), 1)]
        truth = np.exp(-2.0 * square).sum()
        assert abs(sums.exp_sums[0] - truth) <= 2e-4 * truth


@many
@given(st.data(), st.integers(1, 40), st.sampled_from(["inner", "l2"]))
def test_topk(data: st.DataObject, d: int, measure: str) -> None:
    gallery = data.draw(arrays(d=d))
    queries = gallery[data.draw(st.integers(0, 3)) :: data.draw(st.sampled_from([1, 2, -1]))]
    k = data.draw(st.integers(-1, len(gallery) + 1))
    try:
        nearest = topk(queries, gallery, k=k, measure=measure)
    except FeatdivError:
        assert not 1 <= k <= len(gallery) or not good(gallery) or beyond_products(gallery)
        return
    assert good(gallery)
    assert 1 <= k <= len(gallery)
    assert nearest.indices.shape == nearest.values.shape == (len(queries), k)
    if not len(queries):
        return
    assert nearest.indices.min() >= 0
    assert nearest.indices.max() < len(gallery)
    assert all(len(set(row)) == k for row in nearest.indices.tolist())
    a, b = queries.astype(np.float64), gallery.astype(np.float64)
    truth = a @ b.T if measure == "inner" else -((a[:, None] - b[None]) ** 2).sum(axis=2)
    found = np.take_along_axis(truth, nearest.indices, axis=1)
    best = -np.sort(-truth, axis=1)[:, :k]
    scale = np.abs(a).max() * np.abs(b).max() * d
    assert close(found, best, scale, 4e-6)


@pytest.mark.parametrize("backend", ["native", "numpy", "torch"])
@many
@given(rows=arrays(), data=st.data())
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_nearest_centroid(backend: str, rows: np.ndarray, data: st.DataObject) -> None:
    shape = (3, data.draw(st.integers(0, 10)), data.draw(st.integers(0, 9)))
    shots = data.draw(st.integers(0, 9))
    top = len(rows) - 1 + data.draw(st.sampled_from([0, 0, 0, 1]))
    index = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, max(top, 0), endpoint=True, size=shape)
    try:
        found = nearest_centroid(rows, index, shots=shots, backend=backend)
    except FeatdivError:
        wrong = not 1 <= shots < shape[2] or shape[1] < 1 or index.max(initial=0) >= len(rows)
        assert wrong or not good(rows) or beyond_products(rows) or np.ptp(rows.astype(np.float64), axis=0).max() < 1e-15
        return
    assert found.nearest.shape == (3, shape[1], shape[2] - shots)
    assert 0 <= found.nearest.min() <= found.nearest.max() < shape[1]
    x = rows.astype(np.float64)[index]
    if not np.isfinite(x).all():
        return  # Then float32 would have overflowed, or the backend would have refused.
    centroids = x[:, :, :shots].mean(axis=2)
    distances = ((x[:, :, shots:, None] - centroids[:, None, None]) ** 2).sum(axis=4)
    chosen = np.take_along_axis(distances, found.nearest[..., None], axis=3)[..., 0]
    assert close(chosen, distances.min(axis=3), rows.shape[1] * np.abs(x).max() ** 2, 1e-5)


@pytest.mark.parametrize("backend", ["native", "numpy", "torch"])
@many
@given(rows=arrays(), shifted=st.booleans())
@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered")
def test_scatter_reads_rows_and_leaves_them_alone(backend: str, rows: np.ndarray, shifted: bool) -> None:
    before = rows.tobytes()
    d = rows.shape[1]
    with contextlib.suppress(FeatdivError):
        scatter(rows, Sums.zeros(d, norm_sums=True), shift=np.full(d, 0.5) if shifted else None, backend=backend)
    assert rows.tobytes() == before


@pytest.mark.parametrize("backend", ["native", "numpy", "torch"])
@many
@given(arrays(), st.integers(1, 40), st.sampled_from([None, "l2"]), st.booleans())
@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered")
def test_cross_gram(backend: str, rows: np.ndarray, q: int, normalize: str | None, shifted: bool) -> None:
    # Columns of the same rows, in another order: views that share memory.
    other = rows[:, ::-1][:, :q]
    p, q = rows.shape[1], other.shape[1]
    before = rows.tobytes()
    sums = CrossSums.zeros(p, q, norm_sums=True)
    shift = np.full(p, 0.5) if shifted else None
    x, y = rows.astype(np.float64), other.astype(np.float64)
    try:
        cross_gram(rows, other, sums, shift=shift, normalize=normalize, backend=backend)
    except FeatdivError:
        assert not good(rows) or (normalize == "l2" and not (x.any(axis=1).all() and y.any(axis=1).all()))
        return
    assert good(rows)
    assert rows.tobytes() == before
    assert sums.n == len(rows)
    if np.abs(x).max(initial=0.0) > 1e150 and not normalize:
        return  # The products exceed float64.
    if normalize:
        x, y = unit(x), unit(y)
    z = x if shift is None else x - shift
    scale = np.outer(*(np.abs(rows).max(axis=0, initial=0.0) * np.sqrt(len(rows)) for rows in (z, y)))
    assert close(sums.gram, z.T @ y, scale, 1e-6)
    assert close(sums.other_total, y.sum(axis=0), np.abs(y).sum(axis=0), 1e-6)
