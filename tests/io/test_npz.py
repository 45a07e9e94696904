from __future__ import annotations

import os
import zipfile

import numpy as np
import pytest

import featdiv


@pytest.fixture(params=["stored", "compressed"])
def save(request):
    return np.savez if request.param == "stored" else np.savez_compressed


def test_one_array(tmp_path, x, save, all_rows):
    save(tmp_path / "x.npz", x)
    source = featdiv.open(tmp_path / "x.npz")
    assert (source.n, source.d, source.dtype, source.format) == (101, 7, "float32", "npz")
    np.testing.assert_array_equal(all_rows(source, 10), x)
    np.testing.assert_array_equal(all_rows(source), x)
    np.testing.assert_array_equal(source.take([100, 0, 50, 0]), x[[100, 0, 50, 0]])


@pytest.mark.parametrize("dtype", [">f4", "<f2", "?", "<i8"])
def test_types(tmp_path, x, save, dtype, all_rows):
    save(tmp_path / "x.npz", x.astype(dtype))
    found = all_rows(featdiv.open(tmp_path / "x.npz"), 10)
    np.testing.assert_array_equal(found, x.astype(dtype).astype(np.uint8 if dtype == "?" else dtype))


def test_keys_and_columns(tmp_path, x, save, all_rows):
    names = np.array([f"row{i}" for i in range(101)])
    save(tmp_path / "x.npz", train=x, test=x + 1, label=np.arange(101), name=names)
    source = featdiv.open(tmp_path / "x.npz", key="test", labels="label", ids="name")
    np.testing.assert_array_equal(all_rows(source), x + 1)
    np.testing.assert_array_equal(source.labels, np.arange(101))
    np.testing.assert_array_equal(source.ids, names)
    with pytest.raises(featdiv.InputError, match=r"it holds 2 2-D arrays.*'train' 101x7 float32, 'test' 101x7 float32"):
        featdiv.open(tmp_path / "x.npz")
    with pytest.raises(featdiv.InputError, match=r"key: no entry 'tain' \(did you mean 'train'\?\)"):
        featdiv.open(tmp_path / "x.npz", key="tain")
    with pytest.raises(
        featdiv.InputError, match=r"labels: no such file, and .* has no column 'lbl'; it has 'label', 'name'"
    ):
        featdiv.open(tmp_path / "x.npz", key="test", labels="lbl")


def test_fortran_order(tmp_path, x, all_rows):
    np.savez(tmp_path / "x.npz", np.asfortranarray(x))
    np.testing.assert_array_equal(all_rows(featdiv.open(tmp_path / "x.npz"), 10), x)
    np.savez_compressed(tmp_path / "x.npz", np.asfortranarray(x))
    with pytest.raises(featdiv.InputError, match="a compressed array in Fortran order can only be read whole"):
        featdiv.open(tmp_path / "x.npz")


def test_a_compressed_member_is_not_loaded_whole(tmp_path):
    import tracemalloc

    x = np.zeros((400_000, 16), np.float32)
    np.savez_compressed(tmp_path / "x.npz", x)
    source = featdiv.open(tmp_path / "x.npz")
    tracemalloc.start()
    rows = sum(len(chunk.rows) for chunk in source.chunks(4096))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 400_000
    assert peak < x.nbytes / 4


def test_fingerprint_changes_with_any_value(tmp_path, x, save):
    save(tmp_path / "x.npz", x)
    base = featdiv.open(tmp_path / "x.npz").fingerprint
    assert featdiv.open(tmp_path / "x.npz").fingerprint == base
    x[60, 2] += 1
    save(tmp_path / "x.npz", x)
    assert featdiv.open(tmp_path / "x.npz").fingerprint != base


def test_truncated(tmp_path, x, save):
    save(tmp_path / "x.npz", x)
    os.truncate(tmp_path / "x.npz", os.path.getsize(tmp_path / "x.npz") // 2)
    with pytest.raises(featdiv.FormatError, match=r"x\.npz: it is not a readable \.npz archive"):
        featdiv.open(tmp_path / "x.npz")


def test_a_damaged_byte_in_a_compressed_member_is_found(tmp_path, x):
    np.savez_compressed(tmp_path / "x.npz", x)
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "x.npz").write_bytes(bytes(content))
    with pytest.raises(featdiv.FormatError, match=r"the member cannot be (read|decompressed) .*; the file is damaged"):
        list(featdiv.open(tmp_path / "x.npz").chunks())


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "the archive holds no arrays"),
        ({"a.txt": b"hello"}, "the archive holds no arrays"),
        ({"a.npy": b"hello"}, r"\['a'\]: the file ends within the .npy header"),
        ({"a.npy": b"hello, this is some text"}, r"\['a'\]: it does not begin with the .npy magic"),
    ],
)
def test_other_archives(tmp_path, members, message):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(featdiv.FormatError, match=message):
        featdiv.open(tmp_path / "x.npz")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(("cut", "message"), [(-4, "the header promises 101 x 7 float32"), (None, "1 bytes follow")])
def test_a_member_of_another_length(tmp_path, x, compression, cut, message):
    np.save(tmp_path / "x.npy", x)
    content = (tmp_path / "x.npy").read_bytes()
    with zipfile.ZipFile(tmp_path / "x.npz", "w", compression) as archive:
        archive.writestr("x.npy", content[:cut] if cut else content + b"!")
    with pytest.raises(featdiv.FormatError, match=message):
        featdiv.open(tmp_path / "x.npz")


def test_a_pickle_is_refused_and_not_executed(tmp_path, x, save, canary):
    objects = np.array([[canary, canary]], dtype=object)
    save(tmp_path / "x.npz", bad=objects)
    with pytest.raises(
        featdiv.FormatError, match=r"\['bad'\]: it holds Python objects \(a pickle\), which featdiv never"
    ):
        featdiv.open(tmp_path / "x.npz")
    save(tmp_path / "y.npz", bad=objects, good=x)
    assert featdiv.open(tmp_path / "y.npz").n == 101
    with pytest.raises(featdiv.FormatError, match="it holds Python objects"):
        featdiv.open(tmp_path / "y.npz", key="bad")
    with pytest.raises(featdiv.FeatdivError):
        featdiv.open(tmp_path / "y.npz", labels="bad")
    assert not os.path.exists(canary.path)


@pytest.mark.parametrize("shape", [(101 * 7,), (101, 7, 1)])
def test_other_dimensions(tmp_path, x, save, shape):
    save(tmp_path / "x.npz", x.reshape(shape))
    with pytest.raises(featdiv.InputError, match=rf"\['arr_0'\]: expected 2-D rows \(n, d\), got {len(shape)}-D shape"):
        featdiv.open(tmp_path / "x.npz")
