from __future__ import annotations

import os
import zipfile

import numpy as np
import pytest
import torch

import featdiv


def test_one_tensor(tmp_path, x, all_rows):
    torch.save(torch.from_numpy(x), tmp_path / "x.pt")
    source = featdiv.open(tmp_path / "x.pt")
    assert (source.n, source.d, source.dtype, source.format) == (101, 7, "float32", "pt")
    assert source.path == str(tmp_path / "x.pt")
    np.testing.assert_array_equal(all_rows(source, 10), x)
    np.testing.assert_array_equal(source.take([100, 3]), x[[100, 3]])
    assert source.fingerprint == featdiv.open(x).fingerprint


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int8, torch.float64])
def test_types(tmp_path, x, dtype):
    tensor = torch.from_numpy(x).to(dtype)
    torch.save(tensor, tmp_path / "x.pth")
    (chunk,) = featdiv.open(tmp_path / "x.pth").chunks()
    assert torch.equal(torch.as_tensor(chunk.rows), tensor)


def test_a_transposed_slice(tmp_path, x, all_rows):
    torch.save(torch.from_numpy(x).T[1:4], tmp_path / "x.pt")
    np.testing.assert_array_equal(all_rows(featdiv.open(tmp_path / "x.pt")), x.T[1:4])


def test_filenames_beside_embeddings(tmp_path, x, all_rows):
    names = [f"image{i}.png" for i in range(101)]
    torch.save({"filenames": names, "embeddings": torch.from_numpy(x)}, tmp_path / "x.pt")
    source = featdiv.open(tmp_path / "x.pt", ids="filenames")
    np.testing.assert_array_equal(all_rows(source), x)
    assert source.ids.tolist() == names


def test_nested_keys(tmp_path, x, all_rows):
    content = {
        "train": {"features": torch.from_numpy(x), "labels": torch.arange(101)},
        "test": {"features": torch.from_numpy(x + 1), "labels": torch.arange(101)},
        "epoch": 3,
    }
    torch.save(content, tmp_path / "x.pt")
    source = featdiv.open(tmp_path / "x.pt", key="test.features", labels="test.labels")
    np.testing.assert_array_equal(all_rows(source), x + 1)
    np.testing.assert_array_equal(source.labels, np.arange(101))
    with pytest.raises(featdiv.InputError, match=r"it holds 2 2-D arrays.*'train\.features' 101x7 float32"):
        featdiv.open(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.zeros(3), r"expected 2-D rows \(n, d\), got 1-D"),
        (torch.zeros(2, 3, 4), r"got 3-D shape \(2, 3, 4\).*pool="),
        (torch.zeros(0, 3), "expected at least one row"),
        (torch.zeros(2, 2, dtype=torch.complex64), "complex numbers"),
        ([torch.zeros(2, 2)], "expected a tensor or a mapping of names to tensors; got a list"),
        ({"a": 1}, "it holds no arrays"),
        ("text", "got a str"),
    ],
)
def test_contents_that_are_no_rows(tmp_path, content, message):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(featdiv.InputError, match=r"featdiv\.open: source: .*x\.pt.*" + message):
        featdiv.open(tmp_path / "x.pt")


def test_a_key_for_a_lone_tensor(tmp_path, x):
    torch.save(torch.from_numpy(x), tmp_path / "x.pt")
    with pytest.raises(featdiv.InputError, match="key: the file holds one tensor without a name"):
        featdiv.open(tmp_path / "x.pt", key="a")


def test_a_pickle_is_refused_and_not_executed(tmp_path, canary):
    torch.save({"embeddings": torch.zeros(2, 2), "extra": canary}, tmp_path / "x.pt")
    with pytest.raises(featdiv.FormatError, match=r"it holds Python objects other than tensors \(a pickle\)"):
        featdiv.open(tmp_path / "x.pt")
    assert not os.path.exists(canary.path)
    torch.load(tmp_path / "x.pt", weights_only=False)
    assert os.path.exists(canary.path), "the canary must work, or the test above proves nothing"


def test_an_old_pickle_file_is_refused_and_not_executed(tmp_path, canary):
    torch.save(canary, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(featdiv.FormatError, match=r"it is not a zip archive as torch.save writes"):
        featdiv.open(tmp_path / "x.pt")
    assert not os.path.exists(canary.path)


@pytest.mark.parametrize("keep", [0, 3, 0.3, 0.9])
def test_truncated(tmp_path, x, keep):
    torch.save(torch.from_numpy(x), tmp_path / "x.pt")
    size = os.path.getsize(tmp_path / "x.pt")
    os.truncate(tmp_path / "x.pt", keep if isinstance(keep, int) else int(size * keep))
    with pytest.raises(featdiv.FormatError, match=r"x\.pt: .*truncated"):
        featdiv.open(tmp_path / "x.pt")


def _rewritten(source, target, change, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for info in old.infolist():
            new.writestr(info.filename, change(info.filename, old.read(info)))


def test_an_archive_that_says_it_spans_disks(tmp_path, x):
    path = tmp_path / "x.pt"
    torch.save(torch.from_numpy(x), path)
    content = bytearray(path.read_bytes())
    # The number of disks ends the locator of the directory.
    content[content.index(b"PK\x06\x07") + 16] = 2
    path.write_bytes(content)
    # From Python 3.14 on, zipfile does not take it for an archive at all.
    with pytest.raises(featdiv.FormatError, match=r"x\.pt: (the archive is damaged|it is not a zip archive)"):
        featdiv.open(path)


def test_compressed_members_would_be_read_as_numbers(tmp_path, x):
    torch.save(torch.from_numpy(x), tmp_path / "x.pt")
    _rewritten(tmp_path / "x.pt", tmp_path / "y.pt", lambda name, data: data, zipfile.ZIP_DEFLATED)
    with pytest.raises(featdiv.FormatError, match="its members are compressed, so they cannot be mapped"):
        featdiv.open(tmp_path / "y.pt")


def test_storage_shorter_than_the_shape(tmp_path, x):
    torch.save(torch.from_numpy(x), tmp_path / "x.pt")
    cut = lambda name, data: data[: len(data) // 2] if name.endswith("/data/0") else data  # noqa: E731
    _rewritten(tmp_path / "x.pt", tmp_path / "y.pt", cut)
    with pytest.raises(featdiv.FormatError, match="truncated or damaged"):
        featdiv.open(tmp_path / "y.pt")


def test_torchscript_is_refused(tmp_path):
    torch.save(torch.zeros(2, 2), tmp_path / "x.pt")
    with zipfile.ZipFile(tmp_path / "x.pt", "a") as archive:
        archive.writestr("x/constants.pkl", b"")
    with pytest.raises(featdiv.FormatError, match="it is a TorchScript program, which is never run"):
        featdiv.open(tmp_path / "x.pt")
