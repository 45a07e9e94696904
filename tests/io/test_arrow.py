from __future__ import annotations

import os
import threading

import numpy as np
import pytest

import featdiv

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def _lists(x, kind="fixed"):
    values = pa.array(np.ascontiguousarray(x).reshape(-1))
    if kind == "fixed":
        return pa.FixedSizeListArray.from_arrays(values, x.shape[1])
    offsets = np.arange(0, x.size + 1, x.shape[1])
    if kind == "large":
        return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), values)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _table(x, kind="fixed", **columns):
    return pa.table({"embedding": _lists(x, kind), **columns})


def _write(table, path):
    if path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=30)
    elif path.suffix == ".arrow":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=30)
    elif path.suffix == ".ipc":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=30)
    else:
        pa.feather.write_feather(table, str(path), compression="lz4", chunksize=30)
    return path


SUFFIXES = [".parquet", ".arrow", ".ipc", ".feather"]


@pytest.fixture(autouse=True)
def _feather():
    pytest.importorskip("pyarrow.feather")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", ["fixed", "list", "large"])
def test_lists(tmp_path, x, suffix, kind, all_rows):
    source = featdiv.open(_write(_table(x, kind), tmp_path / f"x{suffix}"))
    assert (source.n, source.d, source.dtype, source.device) == (101, 7, "float32", "cpu")
    for rows in (None, 1, 8, 30, 64):
        np.testing.assert_array_equal(all_rows(source, rows), x)
    np.testing.assert_array_equal(source.take([100, 3, 59, 60, 3]), x[[100, 3, 59, 60, 3]])


@pytest.mark.parametrize("dtype", ["f2", "f8", "i1", "u1", "i8", "?"])
def test_types(tmp_path, x, dtype, all_rows):
    expected = (x * 20).astype(dtype)
    source = featdiv.open(_write(_table(expected), tmp_path / "x.parquet"))
    assert source.dtype == ("uint8" if dtype == "?" else np.dtype(dtype).name)
    np.testing.assert_array_equal(all_rows(source), expected)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_numeric_columns(tmp_path, x, suffix, all_rows):
    names = [f"f.{j}" for j in range(7)]
    table = pa.table({"label": np.arange(101), **{name: x[:, j] for j, name in enumerate(names)}})
    path = _write(table, tmp_path / f"x{suffix}")
    source = featdiv.open(path, key=names[::-1], labels="label")
    np.testing.assert_array_equal(all_rows(source, 40), x[:, ::-1])
    np.testing.assert_array_equal(source.labels, np.arange(101))
    np.testing.assert_array_equal(featdiv.open(path, key=["f.3"]).take([5]), x[[5], 3:4])
    with pytest.raises(featdiv.InputError, match="it holds no list column of numbers; say which to read with key="):
        featdiv.open(path)
    with pytest.raises(featdiv.InputError, match=r"'f\.1' is float; for a single feature write key=\['f\.1'\]"):
        featdiv.open(path, key="f.1")
    with pytest.raises(featdiv.InputError, match="expected columns of one type, got int64 and float32"):
        featdiv.open(path, key=["label", "f.0"])


def test_columns_beside_the_rows(tmp_path, x):
    table = _table(x, label=np.arange(101), name=[f"n{i}" for i in range(101)], split=pa.array(["a"] * 101))
    source = featdiv.open(_write(table, tmp_path / "x.parquet"), labels="label", ids="name", groups="split")
    np.testing.assert_array_equal(source.labels, np.arange(101))
    assert source.ids.tolist() == [f"n{i}" for i in range(101)]
    assert set(source.groups) == {"a"}


@pytest.mark.parametrize("kind", ["fixed", "list"])
def test_sliced_tables_are_not_misread(x, kind, all_rows):
    table = _table(x, kind, label=np.arange(101))[13:77]
    source = featdiv.open(table, labels="label")
    np.testing.assert_array_equal(all_rows(source, 10), x[13:77])
    np.testing.assert_array_equal(source.labels, np.arange(13, 77))
    (batch,) = table.to_batches()
    np.testing.assert_array_equal(all_rows(featdiv.open(batch.slice(5, 20))), x[18:38])


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", ["fixed", "list"])
def test_missing_rows_are_refused(tmp_path, x, suffix, kind):
    rows = [list(map(float, row)) for row in x]
    rows[44] = None
    element = pa.list_(pa.float32(), 7) if kind == "fixed" else pa.list_(pa.float32())
    path = _write(pa.table({"embedding": pa.array(rows, element)}), tmp_path / f"x{suffix}")
    with pytest.raises(
        featdiv.FormatError, match=r"column 'embedding': 1 rows are missing \(null\), the first is row 44"
    ):
        list(featdiv.open(path).chunks())
    with pytest.raises(featdiv.FormatError, match="the first is row 44"):
        featdiv.open(path).take([50])


def test_missing_values_are_refused(tmp_path, x):
    values = pa.array([None if index == 40 * 7 + 2 else 1.0 for index in range(101 * 7)], pa.float32())
    table = pa.table({"embedding": pa.FixedSizeListArray.from_arrays(values, 7), "a": values[:101]})
    with pytest.raises(featdiv.FormatError, match=r"1 values are missing \(null\), the first in row 40"):
        list(featdiv.open(_write(table, tmp_path / "x.parquet")).chunks())
    flat = pa.table({"a": pa.array([1.0] * 60 + [None] + [2.0] * 40)})
    with pytest.raises(featdiv.FormatError, match=r"column 'a': 1 rows are missing \(null\), the first is row 60"):
        list(featdiv.open(_write(flat, tmp_path / "y.parquet"), key=["a"]).chunks())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_ragged_lists_are_refused(tmp_path, suffix):
    rows = [[1.0, 2.0]] * 50 + [[1.0]] + [[1.0, 2.0]] * 50
    path = _write(pa.table({"embedding": pa.array(rows, pa.list_(pa.float32()))}), tmp_path / f"x{suffix}")
    with pytest.raises(featdiv.FormatError, match="row 50 has 1 values, but the first row has 2"):
        list(featdiv.open(path).chunks())


def test_columns_that_are_no_rows(tmp_path, x):
    table = pa.table(
        {"text": ["a"] * 3, "nested": pa.array([[[1.0]]] * 3), "a": pa.array([[1.0]] * 3), "b": pa.array([[1.0]] * 3)}
    )
    path = _write(table, tmp_path / "x.parquet")
    with pytest.raises(featdiv.InputError, match=r"it holds 2 list columns of numbers; .* It has 'text' string, "):
        featdiv.open(path)
    with pytest.raises(featdiv.InputError, match="key: expected a list column of numbers, 'text' is string"):
        featdiv.open(path, key="text")
    with pytest.raises(featdiv.InputError, match=r"'nested' is list<.*; flatten or pool nested lists first"):
        featdiv.open(path, key="nested")
    with pytest.raises(featdiv.InputError, match="key: no column 'embedding'; it has 'text' string"):
        featdiv.open(path, key="embedding")
    with pytest.raises(featdiv.InputError, match="key: expected numeric columns, 'text' is string"):
        featdiv.open(path, key=["text", "a"])
    with pytest.raises(featdiv.InputError, match="key: expected the name of a column or a list of names; got 3"):
        featdiv.open(path, key=3)
    with pytest.raises(featdiv.InputError, match="expected at least one row"):
        featdiv.open(_write(_table(x[:0]), tmp_path / "y.parquet"))


def test_many_shards(tmp_path, all_rows):
    resource = pytest.importorskip("resource")
    x = np.random.default_rng(0).normal(size=(1200, 4)).astype(np.float32)
    for index in range(400):
        rows = x[3 * index : 3 * index + 3]
        parquet.write_table(_table(rows, label=np.arange(3) + 3 * index), tmp_path / f"part-{index}.parquet")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 150), hard))
    try:
        source = featdiv.open(tmp_path, labels="label")
        assert (source.n, source.shards) == (1200, 400)
        np.testing.assert_array_equal(all_rows(source, 100), x)
        np.testing.assert_array_equal(source.labels, np.arange(1200))
        index = np.random.default_rng(1).integers(0, 1200, 50)
        np.testing.assert_array_equal(source.take(index), x[index])
        assert source.fingerprint == featdiv.open(tmp_path).fingerprint
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_shards_that_disagree(tmp_path, x):
    _write(_table(x), tmp_path / "0.parquet")
    _write(_table(x[:, :5]), tmp_path / "1.parquet")
    with pytest.raises(
        featdiv.InputError, match=r"1\.parquet: its rows are lists of 5 float32, but those of .*0\.parquet"
    ):
        featdiv.open(tmp_path)
    _write(_table(x, "list"), tmp_path / "0.parquet")
    _write(_table(x[:, :5], "list"), tmp_path / "1.parquet")
    with pytest.raises(featdiv.FormatError, match="row 101 has 5 values, but the first row has 7"):
        list(featdiv.open(tmp_path).chunks())


def test_an_empty_shard_is_fine_among_others(tmp_path, x, all_rows):
    for index, part in enumerate((x[:0], x[:60], x[:0], x[60:])):
        _write(_table(part, "list"), tmp_path / f"{index}.parquet")
    np.testing.assert_array_equal(all_rows(featdiv.open(tmp_path), 16), x)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("keep", [0, 3, 0.3, 0.95])
def test_truncated_files(tmp_path, x, suffix, keep):
    path = _write(_table(x), tmp_path / f"x{suffix}")
    size = os.path.getsize(path)
    os.truncate(path, keep if isinstance(keep, int) else int(size * keep))
    with pytest.raises(featdiv.FormatError, match=rf"x\{suffix}: .*it is truncated"):
        list(featdiv.open(path).chunks())


def test_a_stream_cut_between_batches(tmp_path, x):
    path = tmp_path / "x.arrow"
    table = _table(x)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table[:50])
        size = sink.tell()
        writer.write_table(table[50:])
    os.truncate(path, size)
    with pytest.raises(featdiv.FormatError, match="it has no end-of-stream marker; it is truncated"):
        featdiv.open(path)


def test_the_threads_end_with_the_reading(tmp_path, x):
    path = _write(_table(x), tmp_path / "x.parquet")
    before = threading.active_count()
    chunks = featdiv.open(path).chunks(8)
    next(chunks)
    chunks.close()
    assert threading.active_count() == before


def test_fingerprint_changes_with_content_and_columns(tmp_path, x):
    table = pa.table({"a": _lists(x), "b": _lists(x)})
    path = _write(table, tmp_path / "x.parquet")
    base = featdiv.open(path, key="a").fingerprint
    assert featdiv.open(path, key="a").fingerprint == base
    assert featdiv.open(path, key="b").fingerprint != base
    changed = x.copy()
    changed[70, 1] += 1
    _write(pa.table({"a": _lists(changed), "b": _lists(x)}), path)
    assert featdiv.open(path, key="a").fingerprint != base


def test_fixed_shape_tensors(x, all_rows):
    kind = pa.fixed_shape_tensor(pa.float32(), [7])
    column = pa.ExtensionArray.from_storage(kind, _lists(x))
    np.testing.assert_array_equal(all_rows(featdiv.open(pa.table({"z": column}))), x)


def test_hugging_face_datasets(x, all_rows):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"z": datasets.Sequence(datasets.Value("float32"), length=7), "label": datasets.Value("int64")}
    )
    data = datasets.Dataset.from_dict({"z": x.tolist(), "label": list(range(101))}, features=features)
    source = featdiv.open(data, labels="label")
    np.testing.assert_array_equal(all_rows(source), x)
    order = np.random.default_rng(0).permutation(101)[:40]
    chosen = featdiv.open(data.select(order), labels="label")
    assert chosen.n == 40
    np.testing.assert_array_equal(all_rows(chosen, 16), x[order])
    np.testing.assert_array_equal(chosen.take([7, 3]), x[order[[7, 3]]])
    np.testing.assert_array_equal(chosen.labels, order)
    assert chosen.fingerprint != source.fingerprint


def test_a_shuffled_dataset_is_read_in_its_own_order(x, all_rows):
    """The same, without the package: what a dataset with indices exposes."""

    class Column:
        def to_numpy(self):
            return np.array([5, 0, 100], dtype=np.uint64)

    class Indices:
        def column(self, index):
            assert index == 0
            return Column()

    class Data:
        table = _table(x)

    class Dataset:
        _indices = Indices()
        data = Data()

    Dataset.__module__ = "datasets.arrow_dataset"
    np.testing.assert_array_equal(all_rows(featdiv.open(Dataset())), x[[5, 0, 100]])


def test_other_objects_of_these_packages():
    with pytest.raises(featdiv.InputError, match=r"expected an Arrow table or a datasets\.Dataset; got pyarrow\.lib"):
        featdiv.open(pa.schema([]))


def test_real_parquet_metadata(all_rows):
    path = "../shared/data/mnist-test.parquet"
    if not os.path.exists(path):
        pytest.skip("../shared/data is not here")
    with pytest.raises(featdiv.InputError, match=r"it holds no list column of numbers.* It has 'image' struct"):
        featdiv.open(path)
    labels = featdiv.open(path, key=["label"])
    assert labels.n == 10_000
    assert set(np.unique(all_rows(labels))) == set(range(10))
