from __future__ import annotations

import struct

import numpy as np
import pytest

import featdiv

BIN = {".fbin": "<f4", ".f16bin": "<f2", ".u8bin": "u1", ".i8bin": "i1", ".ibin": "<i4"}
VECS = {".fvecs": "<f4", ".bvecs": "u1", ".ivecs": "<i4"}


def _rows(dtype) -> np.ndarray:
    return (np.random.default_rng(2).normal(size=(40, 6)) * 40).astype(dtype)


def _vecs(x: np.ndarray) -> bytes:
    return b"".join(struct.pack("<i", len(row)) + row.tobytes() for row in x)


@pytest.mark.parametrize(("suffix", "dtype"), BIN.items())
def test_bin(tmp_path, suffix, dtype, all_rows):
    x = _rows(dtype)
    path = tmp_path / f"x{suffix}"
    path.write_bytes(struct.pack("<II", 40, 6) + x.tobytes())
    source = featdiv.open(path)
    assert (source.n, source.d, source.dtype, source.format) == (40, 6, np.dtype(dtype).name, suffix[1:])
    np.testing.assert_array_equal(all_rows(source, 7), x)
    np.testing.assert_array_equal(source.take([39, 0, 0]), x[[39, 0, 0]])
    assert source.fingerprint == featdiv.open(x).fingerprint


@pytest.mark.parametrize(("suffix", "dtype"), VECS.items())
def test_vecs(tmp_path, suffix, dtype, all_rows):
    x = _rows(dtype)
    path = tmp_path / f"x{suffix}"
    path.write_bytes(_vecs(x))
    source = featdiv.open(path)
    assert (source.n, source.d, source.dtype) == (40, 6, np.dtype(dtype).name)
    np.testing.assert_array_equal(all_rows(source, 7), x)
    np.testing.assert_array_equal(source.take([39, 0, 0]), x[[39, 0, 0]])
    assert source.fingerprint == featdiv.open(x).fingerprint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"expected a header of 8 bytes \(n, d\); the file has 0"),
        (b"\1\0\0\0", r"expected a header of 8 bytes \(n, d\); the file has 4"),
        (struct.pack("<II", 2, 3) + bytes(23), r"the header promises 2 x 3 float32 \(24 bytes\), but only 23 bytes"),
        (struct.pack("<II", 2, 3) + bytes(28), "4 bytes follow the 24 that the header promises"),
        (struct.pack("<II", 2**32 - 1, 2**32 - 1), "the header promises 4294967295 x 4294967295 float32"),
        (struct.pack("<II", 0, 3), "expected at least one row"),
        (struct.pack("<II", 3, 0), "expected at least one feature"),
    ],
)
def test_damaged_bin(tmp_path, content, message):
    (tmp_path / "x.fbin").write_bytes(content)
    with pytest.raises(featdiv.InputError, match=r"featdiv\.open: source: .*x\.fbin: " + message):
        featdiv.open(tmp_path / "x.fbin")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected at least one row, got an empty file"),
        (b"\1\0", "expected rows that begin with a length of 4 bytes; the file has 2 bytes"),
        (struct.pack("<i", -4) + bytes(12), "the first row says it has -4 values, which is impossible in 16 bytes"),
        (struct.pack("<i", 0) + bytes(12), "the first row says it has 0 values, which is impossible in 16 bytes"),
        (struct.pack("<i", 2**31 - 1) + bytes(12), "the first row says it has 2147483647 values"),
        (_vecs(np.ones((3, 2), "<f4"))[:-1], r".*35 bytes are not a whole number of them \(11 bytes are left over\)"),
    ],
)
def test_damaged_vecs(tmp_path, content, message):
    (tmp_path / "x.fvecs").write_bytes(content)
    with pytest.raises(featdiv.InputError, match=r"featdiv\.open: source: .*x\.fvecs: " + message):
        featdiv.open(tmp_path / "x.fvecs")


def test_rows_of_other_lengths_are_found_while_reading(tmp_path):
    x = np.ones((5, 3), "<f4")
    content = bytearray(_vecs(x))
    content[3 * 16 : 3 * 16 + 4] = struct.pack("<i", 7)
    (tmp_path / "x.fvecs").write_bytes(bytes(content))
    source = featdiv.open(tmp_path / "x.fvecs")
    message = "row 3 says it has 7 values, but the first row has 3"
    with pytest.raises(featdiv.FormatError, match=message):
        list(source.chunks(2))
    with pytest.raises(featdiv.FormatError, match=message):
        source.take([4, 2])
