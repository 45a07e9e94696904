from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv import CrossMoments, InputError
from featdiv.stats import cross_moments_align, cross_moments_read
from featdiv.testing.compare import assert_close_statistic

N = 40
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(N, 3)), RNG.normal(size=(N, 2))
NAMES = np.array([f"img{i:03d}" for i in range(N)])
ORDER = RNG.permutation(N)


def of(a, b):
    return CrossMoments.of({"a": a, "b": b}, precision="float64")


@pytest.mark.parametrize("ids", [np.arange(N) * 7, NAMES], ids=["numbers", "text"])
def test_ids_bring_rows_together(ids):
    shuffled = featdiv.open(Y[ORDER], ids=ids[ORDER])
    assert_close_statistic(of(featdiv.open(X, ids=ids), shuffled), of(X, Y), 1e-12)
    # The contrast: without ids the position counts, and the rows do not belong together.
    assert not np.allclose(of(X, Y[ORDER]).cross("a", "b"), of(X, Y).cross("a", "b"))


def test_both_sides_may_be_out_of_order():
    again = RNG.permutation(N)
    shuffled = of(featdiv.open(X[again], ids=NAMES[again]), featdiv.open(Y[ORDER], ids=NAMES[ORDER]))
    assert_close_statistic(shuffled, of(X, Y), 1e-12)


def test_a_stream_in_the_same_order_needs_no_random_access():
    # A list is a set of shards; its ids are known, and in order.
    stream = featdiv.open([*np.array_split(Y, 5)], ids=NAMES)
    assert_close_statistic(of(featdiv.open(X, ids=NAMES), stream), of(X, Y), 1e-12)


def test_a_stream_in_another_order_is_refused():
    stream = featdiv.open(iter(np.array_split(Y[ORDER], 5)), ids=NAMES[ORDER])
    with pytest.raises(InputError, match="b: its ids are in another order than those of a, and it can be read only"):
        of(featdiv.open(X, ids=NAMES), stream)


def test_ids_that_do_not_fit_are_refused():
    a = featdiv.open(X, ids=NAMES)
    twice = NAMES.copy()
    twice[3] = twice[4]
    with pytest.raises(InputError, match=r"ids: expected a different id for every row of b; img004.*\(1 rows repeat"):
        of(a, featdiv.open(Y, ids=twice))
    others = NAMES.copy()
    others[0] = "img999"
    with pytest.raises(InputError, match=r"1 of a are missing in b and 1 are new .img000 is missing"):
        of(a, featdiv.open(Y, ids=others))
    with pytest.raises(InputError, match="ids: expected those of b to be text, as those of a are; got numbers"):
        of(a, featdiv.open(Y, ids=np.arange(N)))


def test_numbers_of_rows_that_differ_are_refused():
    with pytest.raises(InputError, match=r"from_sources: b: expected 40 rows, as a has; got 39\. Both must hold"):
        of(X, Y[:-1])
    with pytest.raises(InputError, match="b: expected as many rows as a has; it ended after 39"):
        of(X, iter([Y[:-1]]))
    with pytest.raises(InputError, match="a: expected as many rows as b has; it ended after 39"):
        of(iter([X[:-1]]), iter([Y]))


def sources(**groups):
    return {
        "a": featdiv.open(X, groups=groups.get("a")),
        "b": featdiv.open(Y, groups=groups.get("b")),
    }


def test_groups_stay_whole_in_the_parts():
    groups = np.arange(N) % 5
    opened = sources(a=groups)
    order = cross_moments_align.orders(opened, function="f")
    read = cross_moments_read.read(opened, order, function="f", buckets=5, groups=groups, precision="float64")
    assert [part.n for part in read.parts] == [8] * 5
    assert_close_statistic(read.parts[2], of(X[groups == 2], Y[groups == 2]), 1e-12)
    assert_close_statistic(read.total, of(X, Y), 1e-12)


def test_groups_stay_whole_over_chunks(monkeypatch):
    monkeypatch.setattr(cross_moments_read, "CHUNK_BYTES", 1)
    x, y = RNG.normal(size=(400, 3)), RNG.normal(size=(400, 2))
    groups = np.repeat([f"video {i}" for i in range(10)], 40)
    opened = {"a": featdiv.open(x), "b": featdiv.open(y)}
    order = cross_moments_align.orders(opened, function="f")
    # Chunks of 64 rows: most groups lie in two of them.
    read = cross_moments_read.read(opened, order, function="f", buckets=5, groups=groups, precision="float64")
    for bucket, part in enumerate(read.parts):
        kept = np.isin(groups, [f"video {bucket}", f"video {bucket + 5}"])
        assert_close_statistic(part, of(x[kept], y[kept]), 1e-12)


@pytest.mark.parametrize("chunk_bytes", [1, 1 << 20])
def test_groups_are_dealt_in_the_order_in_which_they_appear_whatever_the_chunks(monkeypatch, chunk_bytes):
    monkeypatch.setattr(cross_moments_read, "CHUNK_BYTES", chunk_bytes)
    x, y = RNG.normal(size=(400, 3)), RNG.normal(size=(400, 2))
    groups = np.repeat([7, 3, 9, 1, 5, 0, 8, 2, 6, 4], 40)
    opened = {"a": featdiv.open(x), "b": featdiv.open(y)}
    order = cross_moments_align.orders(opened, function="f")
    read = cross_moments_read.read(opened, order, function="f", buckets=5, groups=groups, precision="float64")
    for part, pair in zip(read.parts, [(7, 0), (3, 8), (9, 2), (1, 6), (5, 4)], strict=True):
        kept = np.isin(groups, pair)
        assert_close_statistic(part, of(x[kept], y[kept]), 1e-12)


def test_slabs_are_dealt_round_robin():
    opened = sources()
    order = cross_moments_align.orders(opened, function="f")
    read = cross_moments_read.read(opened, order, function="f", buckets=2, slab=10, precision="float64")
    first = np.r_[0:10, 20:30]
    assert_close_statistic(read.parts[0], of(X[first], Y[first]), 1e-12)


def test_groups_that_differ_are_refused():
    opened = sources(a=np.arange(N) % 5, b=np.arange(N) % 4)
    with pytest.raises(InputError, match="f: groups: expected them with a, whose order of rows counts"):
        cross_moments_align.groups_of(opened, function="f")
    assert cross_moments_align.groups_of(sources(), function="f") is None
