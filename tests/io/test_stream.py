from __future__ import annotations

import numpy as np
import pytest
import torch

import featdiv


def _pieces(x, step):
    return (x[start : start + step] for start in range(0, len(x), step))


@pytest.mark.parametrize("step", [1, 3, 50, 101])
@pytest.mark.parametrize("rows", [1, 4, 100, None])
def test_chunks_give_all_rows_in_order(x, step, rows, all_rows):
    source = featdiv.open(_pieces(x, step))
    assert (source.n, source.d, source.dtype, source.one_pass, source.fingerprint) == (None, 7, "float32", True, None)
    assert source.description == "iterable (generator) of chunks x 7 float32"
    np.testing.assert_array_equal(all_rows(source, rows), x)


def test_small_batches_are_gathered_and_large_ones_are_views(x):
    assert [len(chunk.rows) for chunk in featdiv.open(_pieces(x, 5)).chunks(40)] == [40, 40, 21]
    (chunk,) = featdiv.open(iter([x])).chunks(101)
    assert np.shares_memory(chunk.rows, x)
    sizes = [len(chunk.rows) for chunk in featdiv.open(iter([x[:5], x[5:95], x[95:]])).chunks(40)]
    assert sizes == [5, 40, 40, 10, 6]


def test_nothing_is_read_ahead(x):
    seen = []

    def generate():
        for start in range(0, 100, 50):
            seen.append(start)
            yield x[start : start + 50]

    source = featdiv.open(generate())
    assert seen == [0]
    chunks = source.chunks(50)
    next(chunks)
    assert seen == [0]


def test_it_can_be_read_once(x):
    source = featdiv.open(_pieces(x, 10))
    list(source.chunks())
    with pytest.raises(featdiv.InputError, match="this source is an iterable and was read already"):
        source.chunks()
    with pytest.raises(featdiv.InputError, match="a one-pass source has no random access"):
        source.take([0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
def test_torch_batches(x, dtype):
    tensor = torch.from_numpy(x * 10).to(dtype)
    for rows in (8, 60):
        parts = [torch.as_tensor(chunk.rows).clone() for chunk in featdiv.open(iter(tensor.split(9))).chunks(rows)]
        assert torch.equal(torch.cat(parts), tensor)


def test_data_loader_gives_labels(x, all_rows):
    data = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.arange(101))
    source = featdiv.open(torch.utils.data.DataLoader(data, batch_size=8))
    assert source.one_pass
    labels = np.concatenate([chunk.labels for chunk in source.chunks(30)])
    np.testing.assert_array_equal(labels, np.arange(101))
    np.testing.assert_array_equal(all_rows(featdiv.open(torch.utils.data.DataLoader(data, batch_size=8))), x)


def test_a_list_of_pairs(x):
    source = featdiv.open([(x[:50], np.zeros(50)), (x[50:], np.ones(51))])
    labels = np.concatenate([chunk.labels for chunk in source.chunks()])
    np.testing.assert_array_equal(labels, [0.0] * 50 + [1.0] * 51)


def test_mappings(x, all_rows):
    def batches():
        for start in range(0, 101, 20):
            part = slice(start, start + 20)
            yield {"z": x[part], "h": x[part] * 2, "y": np.arange(101)[part], "domain": np.ones(len(x[part]), int)}

    np.testing.assert_array_equal(all_rows(featdiv.open(batches(), key="h")), x * 2)
    source = featdiv.open(batches(), key="z", labels="y", groups="domain")
    chunks = list(source.chunks(33))
    np.testing.assert_array_equal(np.concatenate([chunk.labels for chunk in chunks]), np.arange(101))
    np.testing.assert_array_equal(np.concatenate([chunk.groups for chunk in chunks]), np.ones(101))
    with pytest.raises(featdiv.InputError, match="chunk 0: it holds 2 2-D arrays; say which to read with key="):
        featdiv.open(batches())
    with pytest.raises(featdiv.InputError, match="chunk 0: labels: no entry 'nope'; it holds 'z', 'h', 'y', 'domain'"):
        featdiv.open(batches(), key="z", labels="nope")
    with pytest.raises(featdiv.InputError, match="ids: a one-pass source cannot keep the column 'y'"):
        featdiv.open(batches(), key="z", ids="y")


def test_labels_of_a_known_length(x):
    labels = np.arange(101)
    chunks = featdiv.open(_pieces(x, 10), labels=labels).chunks(25)
    np.testing.assert_array_equal(np.concatenate([chunk.labels for chunk in chunks]), labels)
    with pytest.raises(featdiv.InputError, match="labels: expected 101 entries, one for each row; got 120"):
        list(featdiv.open(_pieces(x, 10), labels=np.arange(120)).chunks())
    with pytest.raises(featdiv.InputError, match="labels: expected at least 101 entries, one for each row; got 90"):
        list(featdiv.open(_pieces(x, 10), labels=np.arange(90)).chunks())


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([], "the iterable gave no rows"),
        ([np.zeros((0, 3))], "the iterable gave no rows"),
        ([np.zeros(3)], r"chunk 0: expected 2-D rows \(n, d\), got 1-D shape \(3,\)"),
        ([np.zeros((2, 3, 4))], r"chunk 0: expected 2-D rows \(n, d\), got 3-D.*pool="),
        ([np.zeros((2, 0))], "expected at least one feature"),
        ([1.5], r"chunk 0: .* got the number 1\.5; wrap a list of numbers in np\.asarray"),
        (["abc"], "chunk 0: .* got str"),
        ([None], "chunk 0: .* got NoneType"),
        ([[1.0, 2.0]], "chunk 0: expected a 2-D array, a pair .* got a list of 2"),
        ([(np.zeros((2, 3)), np.zeros(2), np.zeros(2))], "got a tuple of 3"),
        (
            [(np.zeros((2, 3)), np.zeros(5))],
            r"chunk 0: labels: expected shape \(2,\), one for each row; got shape \(5,\)",
        ),
        ([np.array([["a"]])], "chunk 0: expected numbers, got strings"),
        ([np.zeros((2, 2), object)], "chunk 0: expected numbers, got Python objects"),
    ],
)
def test_bad_first_chunks(chunks, message):
    with pytest.raises(featdiv.InputError, match=r"featdiv\.open: source: .*" + message):
        featdiv.open(iter(chunks))


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (np.zeros((2, 4), np.float32), "chunk 1 has 4 features of float32 on cpu, but the first chunk has 3 features"),
        (np.zeros((2, 3)), "chunk 1 has 3 features of float64 on cpu, but the first chunk has 3 features of float32"),
        (np.zeros(3, np.float32), "chunk 1: expected 2-D rows"),
        ([[1, 2], [3]], "chunk 1: expected a 2-D array"),
    ],
)
def test_chunks_that_disagree(second, message):
    source = featdiv.open(iter([np.zeros((2, 3), np.float32), second]))
    with pytest.raises(featdiv.InputError, match=r"featdiv\.open: source: " + message):
        list(source.chunks())


def test_labels_given_twice_must_agree(x):
    pairs = [(x[:50], np.zeros(50)), (x[50:], np.ones(51))]
    same = np.repeat([0, 1], [50, 51])
    np.testing.assert_array_equal(
        np.concatenate([chunk.labels for chunk in featdiv.open(iter(pairs), labels=same).chunks()]), same
    )
    with pytest.raises(featdiv.InputError, match="labels: the chunks of the iterable carry other labels already"):
        list(featdiv.open(iter(pairs), labels=same[::-1]).chunks())


def test_batches_of_one_tensor(x, all_rows):
    data = torch.utils.data.TensorDataset(torch.from_numpy(x))
    np.testing.assert_array_equal(all_rows(featdiv.open(torch.utils.data.DataLoader(data, batch_size=8))), x)


def test_empty_chunks_between_are_skipped(x, all_rows):
    parts = [x[:0], x[:40], x[:0], x[40:], x[:0]]
    np.testing.assert_array_equal(all_rows(featdiv.open(iter(parts))), x)


def test_an_error_of_the_iterable_is_not_hidden(x):
    def broken():
        yield x
        raise RuntimeError("the loader failed")

    with pytest.raises(RuntimeError, match="the loader failed"):
        list(featdiv.open(broken()).chunks())
