from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

import featdiv
from featdiv.io.embeddings import CHUNK_BYTES, SAMPLE_BLOCK_BYTES, SAMPLE_BLOCKS, sample_blocks


def test_chunks_carry_their_labels_and_groups(x):
    labels = np.arange(101) % 3
    groups = np.arange(101) // 10
    source = featdiv.open(x, labels=labels, groups=groups)
    for chunk in source.chunks(8):
        stop = chunk.start + len(chunk.rows)
        np.testing.assert_array_equal(chunk.labels, labels[chunk.start : stop])
        np.testing.assert_array_equal(chunk.groups, groups[chunk.start : stop])


def test_default_chunk_has_64_mib():
    assert CHUNK_BYTES == 64 * 2**20
    source = featdiv.open(np.broadcast_to(np.float32(1.0), (10**6, 768)))
    assert source.chunk_rows() == 64 * 2**20 // (768 * 4)
    assert source.chunk_rows(10) == 10
    assert featdiv.open(np.ones((5, 2))).chunk_rows() == 5


def test_chunk_rows_is_kept_and_checked(x):
    assert [len(chunk.rows) for chunk in featdiv.open(x, chunk_rows=50).chunks()] == [50, 50, 1]
    for bad in (0, -1, 2.5, True, "8"):
        with pytest.raises(featdiv.InputError, match=r"featdiv\.open: chunk_rows: expected a positive integer, got"):
            featdiv.open(x, chunk_rows=bad)
        with pytest.raises(featdiv.InputError, match=r"chunks: rows: expected a positive integer"):
            featdiv.open(x).chunks(bad)


@pytest.mark.parametrize("index", [[5, 0, 100, 5], np.array([3], np.uint8), [], np.array([], dtype=np.int32)])
def test_take_keeps_the_order(x, index, tmp_path):
    np.save(tmp_path / "x.npy", x)
    expected = x[np.asarray(index, dtype=np.int64)]
    for source in (featdiv.open(x), featdiv.open(tmp_path / "x.npy"), featdiv.open([x[:40], x[40:]])):
        np.testing.assert_array_equal(source.take(index), expected)


def test_take_with_a_mask(x):
    mask = np.arange(101) % 4 == 0
    np.testing.assert_array_equal(featdiv.open(x).take(mask), x[mask])


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([0, 101], "expected indices from 0 to 100; got 101"),
        ([-1], "expected indices from 0 to 100; got -1"),
        ([0.5], "expected a 1-D array of integers; got 1-D float64"),
        ([[1]], "expected a 1-D array of integers; got 2-D int64"),
        (np.ones(3, bool), r"expected a mask of shape \(101,\); got shape \(3,\)"),
    ],
)
def test_take_refuses(x, index, message):
    with pytest.raises(featdiv.InputError, match=message):
        featdiv.open(x).take(index)


def test_summary_is_json(x, tmp_path):
    np.save(tmp_path / "x.npy", x)
    summary = json.loads(json.dumps(featdiv.open(tmp_path / "x.npy", labels=np.arange(101) % 2).summary()))
    assert summary["n"] == 101
    assert summary["d"] == 7
    assert summary["bytes"] == 101 * 7 * 4
    assert summary["format"] == "npy"
    assert summary["path"] == str(tmp_path / "x.npy")
    assert summary["labels"] == {"dtype": "int64", "distinct": 2}
    assert summary["ids"] is None
    assert summary["fingerprint"].startswith("sampled-blake2b:")


@pytest.mark.parametrize(("n", "row_bytes"), [(1, 4), (5, 10**6), (1000, 3072), (10**6, 3072), (33, 4096), (10**7, 1)])
def test_sample_blocks_are_in_range_and_reach_both_ends(n, row_bytes):
    blocks = sample_blocks(n, row_bytes)
    assert blocks[0][0] == 0
    assert blocks[-1][1] == n
    assert len(blocks) <= SAMPLE_BLOCKS
    assert all(0 <= start < stop <= n for start, stop in blocks)
    assert all(left[1] <= right[0] for left, right in itertools.pairwise(blocks))
    assert all((stop - start) * row_bytes <= max(row_bytes, SAMPLE_BLOCK_BYTES) for start, stop in blocks)


def test_fingerprint_depends_on_content_shape_and_type_alone(x, tmp_path):
    base = featdiv.open(x).fingerprint
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "big_endian.npy", x.astype(">f4"))
    np.save(tmp_path / "fortran.npy", np.asfortranarray(x))
    for name in ("x", "big_endian", "fortran"):
        assert featdiv.open(tmp_path / f"{name}.npy").fingerprint == base
    assert featdiv.open(x, labels=np.zeros(101, int)).fingerprint == base
    assert featdiv.open(x.astype(np.float64)).fingerprint != base
    assert featdiv.open(x.view(np.int32)).fingerprint != base
    assert featdiv.open(x[:-1]).fingerprint != base
    assert featdiv.open(x.reshape(7, 101)).fingerprint != base
    for row in (0, 50, 100):
        changed = x.copy()
        changed[row, 3] = np.nextafter(changed[row, 3], np.float32(9))
        assert featdiv.open(changed).fingerprint != base


def test_fingerprint_of_shards_depends_on_each(x):
    base = featdiv.open([x[:50], x[50:]]).fingerprint
    assert featdiv.open([x[50:], x[:50]]).fingerprint != base
    changed = x.copy()
    changed[77, 0] += 1
    assert featdiv.open([changed[:50], changed[50:]]).fingerprint != base
    assert featdiv.open([x[:50], x[50:]]).fingerprint == base


def test_an_opened_source_passes_through(x):
    source = featdiv.open(x)
    assert featdiv.open(source) is source
    labelled = featdiv.open(source, labels=np.arange(101))
    assert source.labels is None
    np.testing.assert_array_equal(labelled.labels, np.arange(101))
    assert featdiv.open(labelled, labels=np.arange(101)).labels.size == 101
    with pytest.raises(featdiv.InputError, match="labels: the source carries other labels already"):
        featdiv.open(labelled, labels=np.zeros(101, int))
    with pytest.raises(featdiv.InputError, match="key: an opened source holds one unnamed array"):
        featdiv.open(source, key="a")


def test_it_is_a_context_manager(x):
    with featdiv.open(x) as source:
        assert source.n == 101
    assert repr(source) == "<Embeddings 101 x 7 float32 from array 101 x 7 float32>"


def test_numpy_takes_a_source_for_its_rows(x, tmp_path):
    np.save(tmp_path / "x.npy", x)
    source = featdiv.open(tmp_path / "x.npy")
    np.testing.assert_array_equal(np.asarray(source), x)
    assert np.asarray(source, dtype=np.float64).dtype == np.float64
    copied = np.array(featdiv.open(x))
    copied[:] = 0
    assert x.any()
    torch = pytest.importorskip("torch")
    halves = np.asarray(featdiv.open(torch.tensor(x).bfloat16()))
    np.testing.assert_array_equal(halves, torch.tensor(x).bfloat16().float().numpy())


def test_numpy_takes_no_stream():
    with pytest.raises(featdiv.InputError, match="a one-pass source is no array"):
        np.asarray(featdiv.open(iter([np.ones((2, 3))])))
