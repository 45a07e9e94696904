from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

import featdiv

NATIVE = {
    "npy": "float32",
    "safetensors": "float32",
    "fbin": "float32",
    "f16bin": "float16",
    "u8bin": "uint8",
    "i8bin": "int8",
    "ibin": "int32",
    "fvecs": "float32",
    "bvecs": "uint8",
    "ivecs": "int32",
}


@pytest.fixture
def whole() -> np.ndarray:
    """Whole numbers from 0 to 100, which every type holds."""
    return np.random.default_rng(0).integers(0, 101, size=(53, 6)).astype(np.float32)


@pytest.mark.parametrize(("suffix", "dtype"), NATIVE.items())
@pytest.mark.parametrize("known", [True, False])
def test_formats(tmp_path, whole, suffix, dtype, known, all_rows):
    source = whole if known else (whole[start : start + 10] for start in range(0, 53, 10))
    result = featdiv.convert(source, tmp_path / f"x.{suffix}", chunk_rows=16)
    assert (result.n, result.d, result.dtype, result.format) == (53, 6, dtype, suffix)
    np.testing.assert_array_equal(all_rows(result), whole)
    assert os.listdir(tmp_path) == [f"x.{suffix}"]


def test_other_programs_read_the_result(tmp_path, whole):
    safetensors = pytest.importorskip("safetensors.numpy")
    featdiv.convert(iter([whole]), tmp_path / "x.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), whole)
    featdiv.convert(iter([whole]), tmp_path / "x.safetensors")
    np.testing.assert_array_equal(safetensors.load_file(tmp_path / "x.safetensors")["embeddings"], whole)
    featdiv.convert(iter([whole]), tmp_path / "x.fbin")
    np.testing.assert_array_equal(np.fromfile(tmp_path / "x.fbin", "<u4", 2), [53, 6])
    np.testing.assert_array_equal(np.fromfile(tmp_path / "x.fbin", "<f4", offset=8).reshape(53, 6), whole)
    featdiv.convert(iter([whole]), tmp_path / "x.ivecs")
    raw = np.fromfile(tmp_path / "x.ivecs", "<i4").reshape(53, 7)
    assert set(raw[:, 0]) == {6}
    np.testing.assert_array_equal(raw[:, 1:], whole)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int64", "uint8", "uint16"])
def test_types(tmp_path, whole, dtype, all_rows):
    result = featdiv.convert(whole, tmp_path / "x.npy", dtype=dtype)
    assert result.dtype == dtype
    np.testing.assert_array_equal(all_rows(result), whole.astype(dtype))


@pytest.mark.parametrize("dtype", ["bf16", torch.bfloat16, "bfloat16"])
def test_bfloat16_rounds_to_nearest_even(tmp_path, dtype):
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    result = featdiv.convert(x, tmp_path / "x.safetensors", dtype=dtype)
    (chunk,) = result.chunks()
    assert torch.equal(chunk.rows, x.to(torch.bfloat16))
    back = featdiv.convert(result, tmp_path / "y.npy", dtype="float32")
    np.testing.assert_array_equal(back.take(range(50)), x.to(torch.bfloat16).float().numpy())


@pytest.mark.parametrize(("rows", "sizes"), [(20, [20, 20, 13]), (53, [53]), (7, [7] * 7 + [4]), (100, [53])])
def test_shards(tmp_path, whole, rows, sizes, all_rows):
    result = featdiv.convert(iter([whole[:30], whole[30:]]), tmp_path / "out", shard_rows=rows, chunk_rows=16)
    assert result.shards == len(sizes)
    np.testing.assert_array_equal(all_rows(result), whole)
    names = (tmp_path / "out" / "manifest.txt").read_text().split()
    assert [len(np.load(tmp_path / "out" / name)) for name in names] == sizes
    assert sorted(os.listdir(tmp_path / "out")) == sorted([*names, "manifest.txt"])
    assert os.listdir(tmp_path) == ["out"]


def test_shards_of_another_format(tmp_path, whole, all_rows):
    result = featdiv.convert(whole, tmp_path / "out", shard_rows=20, format="safetensors", dtype="float16")
    assert (result.shards, result.dtype, result.format) == (3, "float16", "safetensors")
    np.testing.assert_array_equal(all_rows(result), whole)


def test_labels_ids_and_groups_go_beside(tmp_path, whole):
    labels = np.arange(53, dtype=np.int16) - 1
    ids = np.array([f"é{i}" for i in range(53)])
    source = featdiv.open(whole, labels=labels, ids=ids, groups=np.ones(53, int))
    result = featdiv.convert(source, tmp_path / "x.npy")
    np.testing.assert_array_equal(result.labels, labels)
    np.testing.assert_array_equal(np.load(tmp_path / "x-labels.npy"), labels)
    np.testing.assert_array_equal(np.load(tmp_path / "x-ids.npy"), ids)
    np.testing.assert_array_equal(np.load(tmp_path / "x-groups.npy"), np.ones(53))
    result = featdiv.convert(source, tmp_path / "out", shard_rows=20)
    np.testing.assert_array_equal(np.load(tmp_path / "out-labels.npy"), labels)
    np.testing.assert_array_equal(result.ids, ids)


def test_labels_of_a_stream_are_kept(tmp_path, whole):
    pairs = ((whole[start : start + 10], np.arange(53)[start : start + 10]) for start in range(0, 53, 10))
    result = featdiv.convert(pairs, tmp_path / "x.npy")
    np.testing.assert_array_equal(result.labels, np.arange(53))
    np.testing.assert_array_equal(np.load(tmp_path / "x-labels.npy"), np.arange(53))


def test_progress(tmp_path, whole):
    calls = []
    featdiv.convert(whole, tmp_path / "x.npy", chunk_rows=20, progress=lambda done, n: calls.append((done, n)))
    assert calls == [(20, 53), (40, 53), (53, 53)]


@pytest.mark.parametrize(
    ("dtype", "values", "message"),
    [
        (
            "float16",
            {(7, 1): 1e5, (30, 0): -7e4, (30, 1): 65520},
            r"3 values do not fit float16 \(up to 65504\), .*row 7: 1",
        ),
        ("uint8", {(50, 2): 256}, r"1 value does not fit uint8 \(0 to 255, whole numbers only\), .*row 50: 256"),
        (
            "int8",
            {(3, 0): 0.5},
            r"1 value does not fit int8 \(-128 to 127, whole .*row 3: 0\.5\. Choose a wider type; nothing",
        ),
        ("int64", {(9, 0): np.nan}, "1 value does not fit int64 .*row 9: nan"),
    ],
)
@pytest.mark.parametrize("shard_rows", [None, 10])
def test_values_that_do_not_fit(tmp_path, whole, dtype, values, message, shard_rows):
    for position, value in values.items():
        whole[position] = value
    target = tmp_path / ("x.npy" if shard_rows is None else "x")
    with pytest.raises(featdiv.InputError, match=r"featdiv\.convert: dtype: " + message):
        featdiv.convert(whole, target, dtype=dtype, chunk_rows=8, shard_rows=shard_rows)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("shard_rows", [None, 10])
def test_an_interruption_leaves_what_was_there(tmp_path, whole, error, shard_rows, all_rows):
    def broken():
        yield whole
        raise error("stop")

    target = tmp_path / ("x.npy" if shard_rows is None else "x")
    if shard_rows is None:
        np.save(target, whole[:5])
    before = os.listdir(tmp_path)
    with pytest.raises(error, match="stop"):
        featdiv.convert(broken(), target, shard_rows=shard_rows, chunk_rows=8)
    assert os.listdir(tmp_path) == before
    if shard_rows is None:
        np.testing.assert_array_equal(np.load(target), whole[:5])


def test_an_existing_file_is_replaced(tmp_path, whole):
    (tmp_path / "x.npy").write_bytes(b"old")
    assert featdiv.convert(whole, tmp_path / "x.npy").n == 53


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("x.pkl", {}, r"dst: expected a file with one of the extensions \.npy .*; got '.*x\.pkl'"),
        ("x", {}, r"\(or shard_rows= for a directory of shards\)"),
        ("x.npy", {"dtype": "bfloat16"}, r"dtype: \.npy holds .*, not bfloat16; choose \.safetensors"),
        ("x.fbin", {"dtype": "float16"}, r"dtype: \.fbin holds float32, not float16"),
        ("x.npy", {"dtype": "float8"}, "dtype: expected one of float64, .*; got 'float8'"),
        ("x.npy", {"format": "fbin"}, "format: 'fbin' contradicts the extension"),
        ("x.npy", {"format": "pickle"}, "format: expected one of npy, .*; got 'pickle'"),
        ("x.npy", {"shard_rows": 5}, "dst: with shard_rows= it is a directory; got the file name"),
        ("x", {"shard_rows": 0}, "shard_rows: expected a positive integer, got 0"),
        ("no/x.npy", {}, "dst: the directory .*no does not exist"),
        ("full", {"shard_rows": 5}, "dst: .*full exists and is not an empty directory"),
        ("s3://bucket/x.npy", {}, "dst: expected a path on this machine"),
    ],
)
def test_bad_destinations(tmp_path, whole, name, options, message):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    with pytest.raises(featdiv.InputError, match=r"featdiv\.convert: .*" + message):
        featdiv.convert(whole, name if "://" in name else tmp_path / name, **options)


def test_the_source_itself_is_no_destination(tmp_path, whole):
    np.save(tmp_path / "x.npy", whole)
    with pytest.raises(featdiv.InputError, match="is the source itself"):
        featdiv.convert(tmp_path / "x.npy", tmp_path / "x.npy", dtype="float16")


def test_memory_stays_at_a_chunk(tmp_path):
    import tracemalloc

    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (200_000, 64))
    del x
    tracemalloc.start()
    featdiv.convert(tmp_path / "x.npy", tmp_path / "y.npy", dtype="float16", chunk_rows=4096)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 4096 * 64 * 4


@pytest.mark.parametrize(("name", "shard_rows", "named"), [("x.npy", None, "x.npy"), ("x", 1_000, "x/part-00000.npy")])
def test_where_there_is_no_room_the_file_that_was_asked_for_is_named(tmp_path, monkeypatch, name, shard_rows, named):
    resource = pytest.importorskip("resource")
    monkeypatch.chdir(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            featdiv.convert(np.zeros((3_000, 8), dtype=np.float32), name, shard_rows=shard_rows)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.path.normpath(caught.value.filename) == os.path.normpath(named)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["x.npy", "x"])
def test_a_killed_process_leaves_what_was_there(tmp_path, whole, name):
    if os.name == "nt":
        pytest.skip("needs SIGKILL")
    if name == "x.npy":
        np.save(tmp_path / name, whole[:5])
    code = (
        "import os, signal, numpy as np, featdiv\n"
        "def rows():\n"
        "    yield np.zeros((1000, 8))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        f"featdiv.convert(rows(), {str(tmp_path / name)!r}, chunk_rows=100, "
        f"shard_rows={None if name == 'x.npy' else 100})\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False)
    assert ended.returncode == -signal.SIGKILL
    visible = [entry for entry in os.listdir(tmp_path) if not entry.startswith(".")]
    if name == "x.npy":
        assert visible == ["x.npy"]
        np.testing.assert_array_equal(np.load(tmp_path / name), whole[:5])
        assert featdiv.open(tmp_path).n == 5
    else:
        assert visible == []
