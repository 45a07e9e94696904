from __future__ import annotations

import os
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import featdiv
from featdiv.io.npy import LONGEST_HEADER


def _npy(header: bytes, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    length = struct.pack("<H" if version == b"\x01\x00" else "<I", len(header))
    return b"\x93NUMPY" + version + length + header + data


def _described(descr="<f4", fortran=False, shape=(2, 3)) -> bytes:
    return f"{{'descr': {descr!r}, 'fortran_order': {fortran!r}, 'shape': {shape!r}}}\n".encode()


@pytest.mark.parametrize(
    "dtype",
    ["<f4", "<f8", "<f2", ">f4", ">f8", ">f2", "i1", "u1", "<i2", "<u2", "<i4", ">i4", "<u4", "<i8", "<u8", "?"],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_types_and_orders(tmp_path, dtype, order, all_rows):
    x = (np.random.default_rng(1).normal(size=(53, 5)) * 50).astype(dtype, order=order)
    np.save(tmp_path / "x.npy", x)
    source = featdiv.open(tmp_path / "x.npy")
    expected = np.load(tmp_path / "x.npy")
    assert source.dtype == ("uint8" if dtype == "?" else np.dtype(dtype).name)
    assert next(source.chunks(10)).rows.dtype.isnative
    for rows in (None, 1, 10, 53, 1000):
        np.testing.assert_array_equal(all_rows(source, rows), expected)
    np.testing.assert_array_equal(source.take([52, 0, 52, 7]), expected[[52, 0, 52, 7]])


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_versions(tmp_path, x, version, all_rows):
    with open(tmp_path / "x.npy", "wb") as handle:
        np.lib.format.write_array(handle, x, version=version)
    np.testing.assert_array_equal(all_rows(featdiv.open(tmp_path / "x.npy")), x)


def test_the_buffer_is_reused(tmp_path, x):
    np.save(tmp_path / "x.npy", x)
    first, second, *_ = (chunk.rows for chunk in featdiv.open(str(tmp_path / "x.npy")).chunks(10))
    assert np.shares_memory(first, second)


def test_two_readings_do_not_disturb_each_other(tmp_path, x):
    np.save(tmp_path / "x.npy", x)
    source = featdiv.open(tmp_path / "x.npy")
    for left, right in zip(source.chunks(10), source.chunks(10), strict=True):
        assert not np.shares_memory(left.rows, right.rows)
        np.testing.assert_array_equal(left.rows, right.rows)


def test_one_row_and_one_column(tmp_path, all_rows):
    for shape in ((1, 5), (5, 1), (1, 1)):
        x = np.ones(shape)
        np.save(tmp_path / "x.npy", x)
        np.testing.assert_array_equal(all_rows(featdiv.open(tmp_path / "x.npy")), x)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file ends within the .npy header"),
        (b"\x93NUM", "the file ends within the .npy header"),
        (b"hello world, this is text", "it does not begin with the .npy magic"),
        (b"\x93NUMPY\x09\x00" + bytes(100), r"\.npy version 9\.0 is unknown"),
        (_npy(_described())[:30], "the file ends within the .npy header"),
        (_npy(_described(), bytes(23)), r"the header promises 2 x 3 float32 \(24 bytes\), but only 23 bytes follow it"),
        (_npy(_described(), bytes(25)), "1 bytes follow the 24 that the header promises"),
        (
            _npy(_described(shape=(2**40, 2**40)), bytes(24)),
            "the header promises 1099511627776 x 1099511627776 float32",
        ),
        (_npy(_described(shape=(-2, -3)), bytes(24)), r"the header gives the impossible shape \(-2, -3\)"),
        (_npy(_described(shape=(2.0, 3)), bytes(24)), "the header gives the impossible shape"),
        (_npy(_described(shape=(True, 3)), bytes(24)), "the header gives the impossible shape"),
        (_npy(_described(shape=[2, 3]), bytes(24)), "the header gives the impossible shape"),
        (_npy(_described(descr="<f3"), bytes(24)), "the header gives the unknown type '<f3'"),
        (_npy(_described(descr=7), bytes(24)), "the header gives the unknown type 7"),
        (_npy(_described(descr=[("a", "<f4")]), bytes(24)), "expected numbers, got structured records"),
        (_npy(_described(fortran=1), bytes(24)), "fortran_order must be True or False"),
        (_npy(b"{'shape': (2, 3)}", bytes(24)), "the header must give exactly descr, fortran_order and shape"),
        (_npy(b"[1, 2]", bytes(24)), "the header must give exactly descr, fortran_order and shape"),
        (_npy(b"__import__('os').system('true')", bytes(24)), "the header is not a Python dictionary"),
        (_npy(b"(" * 5000, bytes(24)), "the header is not a Python dictionary"),
        (_npy(b"-" * 9000 + b"1", bytes(24)), "the header"),
        (_npy(b"{'shape': (" + b"9" * 6000 + b", 1)}", bytes(24)), "the header"),
        (_npy(b" " * (LONGEST_HEADER + 1), bytes(24)), "the header claims 10001 bytes"),
        (_npy(b" ", version=b"\x02\x00")[:8] + b"\xff\xff\xff\xff", "the header claims 4294967295 bytes"),
    ],
)
def test_damaged_files(tmp_path, content, message):
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    with pytest.raises(featdiv.InputError, match=r"featdiv\.open: source: .*x\.npy: " + message):
        featdiv.open(path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), r"expected 2-D rows \(n, d\), got 1-D shape \(3,\)"),
        (np.zeros((2, 3, 4)), r"got 3-D shape \(2, 3, 4\).*pool=.*featdiv\.spectra"),
        (np.zeros((0, 3)), "expected at least one row"),
        (np.zeros((3, 0)), "expected at least one feature"),
        (np.zeros((2, 2), complex), "got complex numbers"),
        (np.array([["a"]]), "got strings"),
    ],
)
def test_arrays_that_are_no_rows(tmp_path, array, message):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(featdiv.InputError, match=message):
        featdiv.open(tmp_path / "x.npy")


def test_a_pickle_is_refused_and_not_executed(tmp_path, canary):
    np.save(tmp_path / "x.npy", np.array([[canary, canary]], dtype=object), allow_pickle=True)
    with pytest.raises(featdiv.FormatError, match=r"it holds Python objects \(a pickle\), which featdiv never loads"):
        featdiv.open(tmp_path / "x.npy")
    assert not os.path.exists(canary.path)
    np.load(tmp_path / "x.npy", allow_pickle=True)
    assert os.path.exists(canary.path), "the canary must work, or the test above proves nothing"


def test_a_file_that_shrinks_while_it_is_read(tmp_path, x):
    np.save(tmp_path / "x.npy", x)
    chunks = featdiv.open(tmp_path / "x.npy").chunks(10)
    next(chunks)
    os.truncate(tmp_path / "x.npy", 128 + 15 * 7 * 4)
    with pytest.raises(featdiv.FormatError, match=r"the file ends 140 bytes too early; it is truncated"):
        next(chunks)


def test_a_key_makes_no_sense(tmp_path, x):
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(featdiv.InputError, match=r"key: a \.npy file holds one unnamed array; leave key= out, got 'a'"):
        featdiv.open(tmp_path / "x.npy", key="a")


_VALID = _npy(_described(), bytes(24))


@settings(max_examples=200, deadline=None)
@given(
    edits=st.lists(st.tuples(st.integers(0, len(_VALID) - 1), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, len(_VALID)),
    tail=st.binary(max_size=8),
)
def test_no_damage_crashes_the_reader(tmp_path_factory, edits, cut, tail):
    content = bytearray(_VALID)
    for position, value in edits:
        content[position] = value
    path = tmp_path_factory.getbasetemp() / "fuzz.npy"
    path.write_bytes(bytes(content[:cut]) + tail)
    try:
        source = featdiv.open(path)
    except featdiv.FeatdivError:
        return
    # What is accepted must be what NumPy reads.
    expected = np.load(path)
    found = np.concatenate([np.array(chunk.rows) for chunk in source.chunks()])
    np.testing.assert_array_equal(found.view(expected.dtype) if expected.dtype == bool else found, expected)


@settings(max_examples=200, deadline=None)
@given(header=st.text(alphabet="{}()[]'\",: <f4descrshapfotn_Tue0123456789-\n\\x", max_size=80))
def test_no_header_crashes_the_reader(tmp_path_factory, header):
    path = tmp_path_factory.getbasetemp() / "fuzz.npy"
    path.write_bytes(_npy(header.encode(), bytes(24)))
    with pytest.raises(featdiv.FeatdivError):
        featdiv.open(path)


def test_rows_as_they_lie_in_a_file_can_be_mapped(tmp_path):
    rows = np.arange(12.0, dtype=np.float32).reshape(4, 3)
    np.save(tmp_path / "x.npy", rows)
    mapped = featdiv.open(tmp_path / "x.npy").mapped()
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(mapped, rows)
    for name, other in (("columns", np.asfortranarray(rows)), ("swapped", rows.astype(">f4"))):
        np.save(tmp_path / f"{name}.npy", other)
        assert featdiv.open(tmp_path / f"{name}.npy").mapped() is None
    assert featdiv.open(rows).mapped() is None


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_file_that_shrank_or_went_since_it_was_opened_is_no_bare_error(tmp_path, order):
    path = tmp_path / "x.npy"
    np.save(path, np.asarray(np.arange(60.0).reshape(12, 5), order=order))
    source = featdiv.open(path)
    path.write_bytes(path.read_bytes()[:-80])
    with pytest.raises(featdiv.FormatError, match=r"x\.npy: it was changed since it was opened"):
        source.take([11, 0])
    with pytest.raises(featdiv.FormatError, match=r"x\.npy: .* was changed "):
        source.take([10, 11])
    path.unlink()
    with pytest.raises(featdiv.FormatError, match=r"x\.npy: it was changed since it was opened"):
        source.take([1, 0])
    with pytest.raises(featdiv.InputError, match=r"x\.npy: (cannot be opened|it was changed)"):
        source.take([0, 1])
