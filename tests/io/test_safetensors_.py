from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import save_file as save_torch

import featdiv


def _file(header, data: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def _one(dtype="F32", shape=(2, 3), begin=0, end=24):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"])
def test_types(tmp_path, dtype, all_rows):
    x = (np.random.default_rng(3).normal(size=(50, 4)) * 30).astype(dtype)
    save_numpy({"x": x}, tmp_path / "x.safetensors")
    source = featdiv.open(tmp_path / "x.safetensors")
    assert source.dtype == ("uint8" if dtype == "bool" else dtype)
    np.testing.assert_array_equal(all_rows(source, 16), x)
    np.testing.assert_array_equal(source.take([49, 0]), x[[49, 0]])


def test_bfloat16_is_read_as_it_is(tmp_path):
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    save_torch({"x": x}, tmp_path / "x.safetensors")
    source = featdiv.open(tmp_path / "x.safetensors")
    assert source.dtype == "bfloat16"
    parts = [chunk.rows.clone() for chunk in source.chunks(16)]
    assert {part.dtype for part in parts} == {torch.bfloat16}
    assert torch.equal(torch.cat(parts), x)
    assert torch.equal(source.take([49, 3, 3]), x[[49, 3, 3]])
    assert source.fingerprint == featdiv.open(x).fingerprint


def test_the_last_chunk_is_clamped(tmp_path, all_rows):
    x = np.arange(2001.0).reshape(667, 3)
    save_numpy({"x": x}, tmp_path / "x.safetensors")
    np.testing.assert_array_equal(all_rows(featdiv.open(tmp_path / "x.safetensors"), 512), x)


def test_keys_and_columns(tmp_path, x, all_rows):
    arrays = {"a": x, "b": x + 1, "label": np.arange(101), "scalar": np.array(1, np.float32)}
    save_numpy(arrays, tmp_path / "x.safetensors", metadata={"model": "m"})
    with pytest.raises(
        featdiv.InputError, match=r"it holds 2 2-D arrays; say which to read with key=.*'a' 101x7 float32"
    ):
        featdiv.open(tmp_path / "x.safetensors")
    source = featdiv.open(tmp_path / "x.safetensors", key="b", labels="label")
    np.testing.assert_array_equal(all_rows(source), x + 1)
    np.testing.assert_array_equal(source.labels, np.arange(101))
    with pytest.raises(
        featdiv.InputError, match=r"key: no entry 'lable' \(did you mean 'label'\?\); it holds .*'b' 101x7"
    ):
        featdiv.open(tmp_path / "x.safetensors", key="lable")
    with pytest.raises(featdiv.InputError, match=r"\['label'\]: expected 2-D rows \(n, d\), got 1-D"):
        featdiv.open(tmp_path / "x.safetensors", key="label")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file ends within its first 8 bytes"),
        (b"\1\2\3", "the file ends within its first 8 bytes"),
        (struct.pack("<Q", 2**63) + b"{}", "the header claims 9223372036854775808 bytes, but 2 follow"),
        (struct.pack("<Q", 50) + b"{}", "the header claims 50 bytes, but 2 follow"),
        (
            _file({"x": _one()}, bytes(23)),
            "the header promises 24 bytes of data, but only 23 follow it; the file is trunc",
        ),
        (_file({"x": _one()}, bytes(25)), "1 bytes follow the last tensor"),
        (_file({"x": _one(shape=(2, 4))}, bytes(24)), "does not fill its data_offsets"),
        (_file({"x": _one(shape=(2**40, 2**40))}, bytes(24)), "does not fill its data_offsets"),
        (_file({"x": _one(shape=(-2, -3))}, bytes(24)), "two data_offsets, none negative"),
        (_file({"x": _one(shape=(2.0, 3))}, bytes(24)), "must have a dtype, a shape and two data_offsets"),
        (_file({"x": _one(begin=24, end=0)}, bytes(24)), "does not fill its data_offsets"),
        (_file({"x": _one(dtype="F8_E4M3", begin=24, end=0)}, bytes(24)), "run backwards"),
        (_file({"x": _one(begin=8, end=32)}, bytes(32)), "'x' leaves a gap before it"),
        (_file({"x": _one(), "y": _one(begin=12, end=36)}, bytes(36)), "'y' overlaps the one before it"),
        (_file({"x": {"dtype": "F32"}}, bytes(24)), "must have a dtype, a shape and two data_offsets"),
        (_file({"x": 3}, bytes(24)), "must have a dtype, a shape and two data_offsets"),
        (_file(b'{"x": 1, "x": 2}'), "not a JSON object with distinct names"),
        (_file(b"[1, 2]"), "not a JSON object with distinct names"),
        (_file(b"\xff\xfe{}"), "not a JSON object with distinct names"),
        (_file(b'{"x": ' + b"[" * 100_000), "not a JSON object with distinct names"),
        (_file(b'{"x": ' + b"9" * 10_000 + b"}"), "not a JSON object|must have a dtype"),
        (_file({}), "it holds no arrays"),
        (_file({"x": _one(shape=(2, 3, 1))}, bytes(24)), r"got 3-D shape \(2, 3, 1\)"),
        (_file({"x": _one(shape=(0, 3), end=0)}), "expected at least one row"),
    ],
)
def test_damaged_files(tmp_path, content, message):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(featdiv.InputError, match=r"featdiv\.open: source: .*x\.safetensors.*" + message):
        featdiv.open(tmp_path / "x.safetensors")


def test_types_that_are_not_read(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(_file({"x": _one("F8_E4M3", (2, 3), 0, 6)}, bytes(6)))
    with pytest.raises(featdiv.InputError, match=r"expected one of the types .* got F8_E4M3"):
        featdiv.open(tmp_path / "x.safetensors", key="x")


_VALID = _file({"x": _one(), "y": _one("I64", (2,), 24, 40)}, bytes(range(40)))


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
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    path.write_bytes(bytes(content[:cut]) + tail)
    try:
        source = featdiv.open(path)
    except featdiv.FeatdivError:
        return
    assert sum(chunk.rows.shape[0] for chunk in source.chunks()) == source.n


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5) | st.just("F32"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(header=_VALUES, size=st.integers(0, 64))
def test_no_header_crashes_the_reader(tmp_path_factory, header, size):
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    path.write_bytes(_file({"x": header}, bytes(size)))
    try:
        source = featdiv.open(path)
    except featdiv.FeatdivError:
        return
    assert source.bytes == size
