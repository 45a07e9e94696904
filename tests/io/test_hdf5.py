from __future__ import annotations

import os

import numpy as np
import pytest

import featdiv

h5py = pytest.importorskip("h5py")


@pytest.fixture
def save(tmp_path):
    def write(name="x.h5", **arrays):
        with h5py.File(tmp_path / name, "w") as file:
            for key, (array, options) in arrays.items():
                file.create_dataset(key.replace("__", "/"), data=array, **options)
        return tmp_path / name

    return write


@pytest.mark.parametrize("options", [{}, {"chunks": (16, 7)}, {"chunks": (16, 7), "compression": "gzip"}])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "i1", "<i8", "?"])
def test_layouts_and_types(save, x, options, dtype, all_rows):
    expected = (x * 10).astype(dtype)
    path = save(train=(expected, options))
    source = featdiv.open(path)
    assert (source.n, source.d, source.format) == (101, 7, "hdf5")
    assert source.dtype == ("uint8" if dtype == "?" else np.dtype(dtype).name)
    assert next(source.chunks(20)).rows.dtype.isnative
    for rows in (None, 3, 20):
        np.testing.assert_array_equal(all_rows(source, rows), expected)
    np.testing.assert_array_equal(source.take([100, 0, 0]), expected[[100, 0, 0]])


def test_whole_storage_chunks_are_read(save, x):
    source = featdiv.open(save(train=(x, {"chunks": (16, 7)})))
    assert [len(chunk.rows) for chunk in source.chunks(40)] == [32, 32, 32, 5]


def test_groups_and_columns(save, x, all_rows):
    path = save(
        train__z=(x, {}),
        test__z=(x + 1, {}),
        test__y=(np.arange(101), {}),
        test__name=(np.array([f"n{i}" for i in range(101)], object), {"dtype": h5py.string_dtype()}),
    )
    with pytest.raises(featdiv.InputError, match=r"it holds 2 2-D arrays.*'train/z' 101x7 float32"):
        featdiv.open(path)
    source = featdiv.open(path, key="/test/z", labels="test/y", ids="test/name")
    np.testing.assert_array_equal(all_rows(source), x + 1)
    np.testing.assert_array_equal(source.labels, np.arange(101))
    assert source.ids[100] == "n100"
    with pytest.raises(featdiv.InputError, match="key: no entry 'val/z'"):
        featdiv.open(path, key="val/z")
    with pytest.raises(featdiv.InputError, match=r"\['test/y'\]: expected 2-D rows"):
        featdiv.open(path, key="test/y")


def test_an_open_dataset(save, x, all_rows):
    with h5py.File(save(train=(x, {})), "r") as file:
        source = featdiv.open(file["train"])
        np.testing.assert_array_equal(all_rows(source, 10), x)
        np.testing.assert_array_equal(source.take([5, 2]), x[[5, 2]])
        assert source.fingerprint == featdiv.open(x).fingerprint


def test_an_open_zarr_array(x, all_rows):
    zarr = pytest.importorskip("zarr")
    array = zarr.array(x, chunks=(16, 7))
    np.testing.assert_array_equal(all_rows(featdiv.open(array), 40), x)


def test_damaged_files(save, tmp_path, x):
    path = save(train=(x, {}))
    os.truncate(path, os.path.getsize(path) - 100)
    with pytest.raises(featdiv.FormatError, match=r"x\.h5: it cannot be opened as HDF5 .*; it is truncated"):
        featdiv.open(path)
    path.write_bytes(b"not HDF5")
    with pytest.raises(featdiv.FormatError, match=r"x\.h5: it cannot be opened as HDF5"):
        featdiv.open(path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), "got 1-D"),
        (np.zeros((2, 3, 4)), "got 3-D"),
        (np.zeros((0, 4)), "expected at least one row"),
        (np.zeros((2, 2), complex), "complex"),
    ],
)
def test_arrays_that_are_no_rows(save, array, message):
    with pytest.raises(featdiv.InputError, match=message):
        featdiv.open(save(train=(array, {})), key="train")


def test_damaged_content_is_found_while_reading(save):
    x = np.random.default_rng(0).normal(size=(500, 20))
    path = save(train=(x, {"chunks": (500, 20), "compression": "gzip", "fletcher32": True}))
    with h5py.File(path, "r") as file:
        offset = file["train"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[offset + 500] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(featdiv.FormatError, match="rows 0 to 500 cannot be read"):
        list(featdiv.open(path).chunks())
