from __future__ import annotations

import numpy as np
import pytest
import torch

import featdiv


@pytest.fixture
def rows() -> np.ndarray:
    return np.zeros((4, 2))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([3, -1, 0, 3], [3, -1, 0, 3]),
        (np.array([1, 2, 3, 4], np.int16), [1, 2, 3, 4]),
        (torch.tensor([1, 2, 3, 4]), [1, 2, 3, 4]),
        (["a", "bb", "c", "a"], ["a", "bb", "c", "a"]),
        (np.array(["a", "bb", "c", "a"], object), ["a", "bb", "c", "a"]),
        ((True, False, True, True), [True, False, True, True]),
        ([0.5, 1.5, 2.5, 3.5], [0.5, 1.5, 2.5, 3.5]),
    ],
)
def test_arrays_stay_as_given(rows, given, expected):
    source = featdiv.open(rows, labels=given, ids=given, groups=given)
    for found in (source.labels, source.ids, source.groups):
        assert found.tolist() == expected
        assert found.dtype.kind in "biufU"


def test_integer_labels_keep_their_type(rows):
    assert featdiv.open(rows, labels=np.zeros(4, np.int16)).labels.dtype == np.int16


def test_files(rows, tmp_path):
    np.save(tmp_path / "y.npy", np.array([3, 1, 2, 0], np.int16))
    np.save(tmp_path / "names.npy", np.array(["x", "y", "z", "w"]))
    (tmp_path / "y.txt").write_text("3\n1\n-1\n0\n")
    (tmp_path / "names.txt").write_text("red fox\nüber\n7\nlast")
    (tmp_path / "one.csv").write_text("species\ncat\ndog\ncat\ncow\n")
    (tmp_path / "bare.csv").write_text("3\n1\n2\n0\n")
    (tmp_path / "two.csv").write_text('id,label\n"a,1",5\nb,6\nc,7\nd,8\n')
    for name, expected in {
        "y.npy": [3, 1, 2, 0],
        "names.npy": ["x", "y", "z", "w"],
        "y.txt": [3, 1, -1, 0],
        "names.txt": ["red fox", "über", "7", "last"],
        "one.csv": ["cat", "dog", "cat", "cow"],
        "bare.csv": [3, 1, 2, 0],
        "two.csv": [5, 6, 7, 8],
        "two.csv::id": ["a,1", "b", "c", "d"],
    }.items():
        assert featdiv.open(rows, labels=str(tmp_path / name)).labels.tolist() == expected, name
    assert featdiv.open(rows, labels=tmp_path / "y.npy").labels.dtype == np.int16
    assert featdiv.open(rows, ids=tmp_path / "two.csv").ids.tolist() == ["a,1", "b", "c", "d"]


def test_a_pattern_is_read_shard_by_shard_in_natural_order(rows, tmp_path):
    for number, values in ((10, [8, 9]), (2, [5]), (1, [7])):
        np.save(tmp_path / f"y{number}.npy", np.array(values))
        (tmp_path / f"t{number}.csv").write_text("id,kind\n" + "".join(f"r{value},k{value}\n" for value in values))
    assert featdiv.open(rows, labels=f"{tmp_path}/y*.npy").labels.tolist() == [7, 5, 8, 9]
    assert featdiv.open(rows, ids=f"{tmp_path}/t*.csv::id").ids.tolist() == ["r7", "r5", "r8", "r9"]
    with pytest.raises(featdiv.SourceNotFound, match=r"featdiv\.open: labels: no file matches '.*z\*\.npy'"):
        featdiv.open(rows, labels=f"{tmp_path}/z*.npy")
    with pytest.raises(featdiv.InputError, match="labels: expected 4 entries, one for each row; got 2"):
        featdiv.open(rows, labels=f"{tmp_path}/y1?.npy")
    np.save(tmp_path / "y3.npy", np.array(["a"]))
    with pytest.raises(featdiv.InputError, match="expected numbers in all files, or text in all; got both"):
        featdiv.open(rows, labels=f"{tmp_path}/y*.npy")


@pytest.fixture
def sharded(tmp_path):
    """Twelve shards of one row each but the first two, of two, with labels in files of their own."""
    for number in range(12):
        count = 2 if number < 2 else 1
        np.save(tmp_path / f"x{number}.npy", np.full((count, 3), number, np.float32))
        np.save(tmp_path / f"y{number}.npy", np.full(count, number))
    return tmp_path


def test_labels_by_a_pattern_want_rows_in_natural_order(sharded):
    labels = f"{sharded}/y*.npy"
    names = [str(sharded / f"x{number}.npy") for number in range(12)]
    opened = featdiv.open(names, labels=labels)
    assert opened.labels.tolist() == np.asarray(opened)[:, 0].tolist()
    # What a shell makes of x*.npy without quotes.
    with pytest.raises(featdiv.InputError, match=r"labels: .*natural order.*x11\.npy before .*x2\.npy.*in quotes"):
        featdiv.open(sorted(names), labels=labels)
    assert featdiv.open(sorted(names), labels=np.arange(14)).labels.tolist() == list(range(14))


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_files_of_labels_fit_their_shards_one_by_one(sharded, suffix):
    if suffix == ".parquet":
        pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        for number in range(12):
            rows = np.load(sharded / f"x{number}.npy")
            parquet.write_table(pa.table({"rows": rows.tolist()}), sharded / f"x{number}.parquet")
    np.save(sharded / "y1.npy", np.array([1]))
    np.save(sharded / "y2.npy", np.array([2, 2]))
    expected = rf"y1\.npy: expected 2 entries, one for each row of .*x1\{suffix}; got 1"
    with pytest.raises(featdiv.InputError, match=expected):
        featdiv.open(f"{sharded}/x*{suffix}", labels=f"{sharded}/y*.npy")
    whole = np.concatenate([np.load(sharded / f"x{number}.npy") for number in range(12)])
    assert featdiv.open(whole, labels=f"{sharded}/y*.npy").labels.size == 14


def test_a_directory_of_rows_and_labels_is_told_apart(sharded):
    with pytest.raises(featdiv.InputError, match=r"y0\.npy.* 1-D .*All 24 files .* choose with a glob"):
        featdiv.open(sharded)


def test_parquet_columns(rows, tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pa.table({"label": [3, 1, 2, 0], "split": pa.array(["a", "b", "a", "b"]).dictionary_encode()})
    parquet.write_table(table, tmp_path / "y.parquet")
    source = featdiv.open(rows, labels=tmp_path / "y.parquet", groups=f"{tmp_path}/y.parquet::split")
    assert source.labels.tolist() == [3, 1, 2, 0]
    assert source.groups.tolist() == ["a", "b", "a", "b"]
    parquet.write_table(pa.table({"label": [3, None, 2, 0]}), tmp_path / "y.parquet")
    with pytest.raises(featdiv.FormatError, match=r"column 'label': 1 values are missing \(null\)"):
        featdiv.open(rows, labels=tmp_path / "y.parquet")


@pytest.mark.parametrize("what", ["labels", "ids", "groups"])
def test_wrong_length(what):
    with pytest.raises(
        featdiv.InputError, match=rf"featdiv\.open: {what}: expected 1000 entries, one for each row; got 990\. "
    ):
        featdiv.open(np.zeros((1000, 2)), **{what: np.zeros(990, int)})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            np.zeros((4, 1)),
            r"expected a 1-D array, .*; got shape \(4, 1\)\. Pass np\.ravel\(labels\)",
        ),
        (
            np.eye(4),
            r"expected .*; got shape \(4, 4\)\. Where .* one-hot code of its class, pass np\.argmax\(labels, axis=1\)",
        ),
        (3, r"expected a 1-D array, one value for each row; got shape \(\)"),
        ([1, None, 2, 3], "expected all strings or all integers, none missing; got values of type NoneType, int"),
        ([[1], [2, 3], [4], [5]], "expected one value for each row; got what is not an array|got values of type list"),
        (np.zeros(4, complex), "expected integers, floats or strings; got complex128"),
        (np.zeros(4, "M8[s]"), "expected integers, floats or strings; got datetime64"),
    ],
)
def test_values_that_are_no_labels(rows, given, message):
    with pytest.raises(featdiv.InputError, match=r"featdiv\.open: labels: " + message):
        featdiv.open(rows, labels=given)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("y.bin", b"", r"expected a file of type \.npy, \.txt, \.csv, \.parquet; got \.bin"),
        ("y.npy", b"junk", r"y\.npy: the file ends within the \.npy header"),
        ("y.txt", b"\xff\xfe", "expected UTF-8 text"),
        ("y.csv", b"", "the file is empty"),
        ("y.csv", b"label,b\n1,2\n3\n", "line 3 has 1 fields, but the header has 2"),
        ("y.csv", b"a,b\n1,2\n", r"it has the columns 'a', 'b'; say which, as in y\.csv::a"),
        ("y.txt", b"1\n2\n", "expected 4 entries, one for each row; got 2"),
    ],
)
def test_bad_files(rows, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(featdiv.InputError, match=r"featdiv\.open: labels: .*" + message):
        featdiv.open(rows, labels=tmp_path / name)


def test_missing_files_and_columns(rows, tmp_path):
    (tmp_path / "labels.csv").write_text("a,b\n1,2\n")
    with pytest.raises(
        featdiv.SourceNotFound, match=r"labels: no such file: .*lables\.csv; did you mean labels\.csv\?"
    ):
        featdiv.open(rows, labels=tmp_path / "lables.csv")
    (tmp_path / "names.npz").touch()
    with pytest.raises(featdiv.SourceNotFound, match=r"labels: no such file: .*names\.npy$"):
        featdiv.open(rows, labels=tmp_path / "names.npy")
    with pytest.raises(featdiv.InputError, match=r"labels\.csv: no column 'c'; it has 'a', 'b'"):
        featdiv.open(rows, labels=f"{tmp_path}/labels.csv::c")
    with pytest.raises(
        featdiv.SourceNotFound, match="labels: no such file, and array 4 x 2 float64 has no column 'species'"
    ):
        featdiv.open(rows, labels="species")


def test_a_pickle_in_a_file_of_labels_is_refused(rows, tmp_path, canary):
    import os

    np.save(tmp_path / "y.npy", np.array([canary] * 4, dtype=object), allow_pickle=True)
    with pytest.raises(featdiv.FormatError, match=r"labels: .*it holds Python objects \(a pickle\)"):
        featdiv.open(rows, labels=tmp_path / "y.npy")
    assert not os.path.exists(canary.path)
