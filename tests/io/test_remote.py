from __future__ import annotations

import io

import numpy as np
import pytest

import featdiv

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def _npy(x) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, x)
    return buffer.getvalue()


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_file(memory, x, order, all_rows):
    memory.pipe("/data/x.npy", _npy(np.asarray(x, order=order)))
    source = featdiv.open("memory://data/x.npy")
    assert source.path == "memory:///data/x.npy"
    np.testing.assert_array_equal(all_rows(source, 10), x)
    np.testing.assert_array_equal(source.take([100, 0, 50, 51]), x[[100, 0, 50, 51]])
    assert source.fingerprint == featdiv.open(x).fingerprint


def test_directories_globs_and_manifests(memory, x, all_rows):
    for index in range(12):
        memory.pipe(f"/data/s{index}.npy", _npy(x[index * 8 : index * 8 + 8]))
    memory.pipe("/data/_SUCCESS", b"")
    memory.pipe("/list/some.txt", b"../data/s1.npy\nmemory://data/s0.npy\n/data/s2.npy\n")
    np.testing.assert_array_equal(all_rows(featdiv.open("memory://data"), 20), x[:96])
    np.testing.assert_array_equal(all_rows(featdiv.open("memory://data/s1*.npy")), np.r_[x[8:16], x[80:96]])
    np.testing.assert_array_equal(all_rows(featdiv.open(["memory://data/s3.npy"])), x[24:32])


def test_manifest_paths(memory, x, all_rows):
    memory.pipe("/data/a.npy", _npy(x[:10]))
    memory.pipe("/data/sub/b.npy", _npy(x[10:]))
    memory.pipe("/data/m.txt", b"a.npy\nsub/b.npy\n")
    np.testing.assert_array_equal(all_rows(featdiv.open("memory://data/m.txt")), x)
    memory.pipe("/data/m.txt", b"/data/a.npy\nmemory://data/sub/b.npy\n")
    np.testing.assert_array_equal(all_rows(featdiv.open("memory://data/m.txt")), x)


@pytest.mark.parametrize("suffix", ["npz", "pt", "parquet", "arrow", "h5", "safetensors"])
def test_other_formats(memory, x, suffix, tmp_path, all_rows):
    path = tmp_path / f"x.{suffix}"
    if suffix == "npz":
        np.savez_compressed(path, x)
    elif suffix == "pt":
        torch = pytest.importorskip("torch")
        torch.save(torch.from_numpy(x), path)
    elif suffix == "safetensors":
        pytest.importorskip("safetensors.numpy").save_file({"x": x}, path)
    elif suffix == "h5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            file["x"] = x
    else:
        pa = pytest.importorskip("pyarrow")
        table = pa.table({"z": pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), 7)})
        if suffix == "parquet":
            pytest.importorskip("pyarrow.parquet").write_table(table, path, row_group_size=20)
        else:
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table, max_chunksize=20)
    memory.pipe(f"/x.{suffix}", path.read_bytes())
    source = featdiv.open(f"memory://x.{suffix}")
    np.testing.assert_array_equal(all_rows(source, 16), x)
    np.testing.assert_array_equal(source.take([100, 0]), x[[100, 0]])
    assert source.fingerprint is not None


def test_labels(memory, x):
    memory.pipe("/x.npy", _npy(x))
    memory.pipe("/y.npy", _npy(np.arange(101)))
    np.testing.assert_array_equal(featdiv.open("memory://x.npy", labels="memory://y.npy").labels, np.arange(101))


def test_what_is_not_there(memory):
    memory.pipe("/other.npy", b"")
    for url in ("memory://x.npy", "memory://no*.npy", ["memory://x.npy"]):
        with pytest.raises(featdiv.SourceNotFound, match=r"featdiv\.open: source: nothing at memory://"):
            featdiv.open(url)
    with pytest.raises(featdiv.InputError, match=r"cannot be read .*Protocol not known: nosuch|nosuch"):
        featdiv.open("nosuch://x.npy")


def test_damage_is_reported_with_the_url(memory, x):
    memory.pipe("/x.npy", _npy(x)[:-3])
    with pytest.raises(featdiv.FormatError, match=r"memory:///x\.npy: the header promises 101 x 7 float32"):
        featdiv.open("memory://x.npy")
