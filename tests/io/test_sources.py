from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

import featdiv


def test_missing_files_suggest_names(tmp_path, x):
    np.save(tmp_path / "embeddings.npy", x)
    with pytest.raises(
        featdiv.SourceNotFound, match=r"no such file or directory: .*embedings\.npy; did you mean embeddings"
    ):
        featdiv.open(tmp_path / "embedings.npy")
    with pytest.raises(FileNotFoundError, match=r"did you mean embeddings\.npy\?"):
        featdiv.open(str(tmp_path / "embeddings.npz"))
    with pytest.raises(
        featdiv.FeatdivError, match=r"no such file or directory: .*; .* exists, but not what follows it"
    ):
        featdiv.open(tmp_path / "no" / "such" / "x.npy")
    with pytest.raises(featdiv.SourceNotFound, match=r"no file matches '.*\*\.fbin'"):
        featdiv.open(str(tmp_path / "*.fbin"))


@pytest.mark.parametrize(
    ("name", "there", "hint"),
    [
        ("nope.npy", ["setup.py", "setup.npy", "mope.py", "note.cfg"], ""),
        ("nope.npy", ["setup.npy", "mope.npy"], "; did you mean mope.npy?"),
        ("feats.npy", ["feats.py", "Feats.NPY", "feats.npz", "feats/", "feast.npy"], "; did you mean Feats.NPY or "),
        ("test.npy", ["train.npy", "text/"], "; did you mean text?"),
        ("vit.b16", ["vit.b16.npy"], "; did you mean vit.b16.npy?"),
        ("shrd0.npy", ["shard0.npy"], "; did you mean shard0.npy?"),
    ],
)
def test_only_names_that_are_close_and_can_be_read_are_suggested(tmp_path, name, there, hint):
    for path in there:
        (tmp_path / path).mkdir() if path.endswith("/") else (tmp_path / path).touch()
    with pytest.raises(featdiv.SourceNotFound) as error:
        featdiv.open(tmp_path / name)
    said = str(error.value).partition(str(tmp_path / name))[2]
    assert said.startswith(hint)
    assert bool(said) == bool(hint)


def test_a_dangling_link(tmp_path):
    (tmp_path / "x.npy").symlink_to(tmp_path / "gone.npy")
    with pytest.raises(featdiv.SourceNotFound, match=r"no such file or directory: .*x\.npy$"):
        featdiv.open(tmp_path / "x.npy")


def test_a_directory_must_hold_one_kind(tmp_path, x):
    with pytest.raises(featdiv.InputError, match="the directory holds no files"):
        featdiv.open(tmp_path)
    (tmp_path / "README.md").write_text("hello")
    with pytest.raises(featdiv.InputError, match="the directory holds 1 files, none of them of a known type"):
        featdiv.open(tmp_path)
    np.save(tmp_path / "a.npy", x)
    assert featdiv.open(tmp_path).n == 101
    np.savez(tmp_path / "b.npz", x)
    with pytest.raises(
        featdiv.InputError, match=r"mixes kinds of files \(1 \.npy, 1 \.npz\); choose with a glob, .*\*\.npy"
    ):
        featdiv.open(tmp_path)


def test_hidden_files_are_left_out(tmp_path, x):
    np.save(tmp_path / "a.npy", x)
    (tmp_path / ".b.npy.tmp").write_bytes(b"half written")
    (tmp_path / ".c.npy").write_bytes(b"half written")
    (tmp_path / "_SUCCESS").write_bytes(b"")
    assert featdiv.open(tmp_path).n == 101


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "x.dat",
            b"\x93NUMPY",
            r"unknown extension '\.dat'; its content looks like \.npy, so rename it.*Known are \.npy",
        ),
        ("x", b"PAR1", r"unknown extension '\(none\)'; its content looks like \.parquet"),
        ("x.pkl", b"", "pickles are never loaded, because they can run code"),
        ("x.csv", b"a,b\n1,2\n", r"read it with pandas and pass the frame, or convert it to \.parquet"),
    ],
)
def test_unknown_extensions(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(featdiv.FormatError, match=message):
        featdiv.open(tmp_path / name)


def test_extensions_are_case_insensitive(tmp_path, x):
    with open(tmp_path / "X.NPY", "wb") as handle:
        np.save(handle, x)
    assert featdiv.open(tmp_path / "X.NPY").n == 101


def test_brackets_in_a_file_name_are_not_a_pattern(tmp_path, x):
    np.save(tmp_path / "x[1].npy", x)
    assert featdiv.open(tmp_path / "x[1].npy").n == 101


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.txt", b"", "the manifest names no files"),
        ("m.txt", b"0.5 0.25\n1 2\n", "expected one path a line; it looks like numbers"),
        ("m.txt", b"\xff\xfe\x00", "expected a manifest: UTF-8 text"),
        ("m.txt", b"gone.npy\n", r"m\.txt, a list of paths: no such file or directory: .*gone\.npy"),
        ("m.txt", b".\n", "expected a file in a list of shards, got a directory"),
        ("m.txt", b"m.txt\n", r"m\.txt: a manifest cannot be a shard"),
        ("m.txt", b"m.txt\nm.txt\n", "a manifest cannot be a shard"),
        ("m.json", b"{}", "expected a JSON list of paths"),
        ("m.json", b"[1]", "expected a JSON list of paths"),
        ("m.json", b"[" * 100_000, "expected a manifest"),
        ("m.json", b"not json", "expected a manifest"),
    ],
)
def test_bad_manifests(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(featdiv.InputError, match=r"featdiv\.open: source: .*" + message):
        featdiv.open(tmp_path / name)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (5, "expected an array, a path, or an iterable of 2-D chunks; got int"),
        (None, "got NoneType"),
        (b"bytes", "got bytes"),
        ([], "expected rows, got an empty list"),
        ([[1.0, 2.0], [3.0, 4.0]], r"got a list of lists; .* Pass np\.asarray\(x\) for nested lists of numbers"),
        ([1.0, 2.0], "got a list of floats"),
        (((1, 2), (3, 4)), "got a tuple of tuples"),
        ((np.zeros((3, 2)), np.zeros(3)), "got a pair of rows and a 1-D array; pass the second as labels="),
        ([np.zeros((3, 2)), np.zeros((3, 4))], "all shards must agree"),
        ([np.zeros((3, 2)), np.zeros((3, 2, 2))], r"chunk 1: expected 2-D rows \(n, d\), got 3-D"),
        ([np.zeros(3)], r"expected 2-D rows \(n, d\), got 1-D"),
        ({"a": 3}, "it holds no arrays"),
        (list(np.zeros((3, 2))), r"got a list of 1-D arrays; .* Pass np\.stack\(x\), or torch\.stack\(x\)"),
        (torch.utils.data.TensorDataset(torch.zeros(3, 2)), r"got TensorDataset\. Pass a DataLoader of it"),
        (np.array([{}, {}], dtype=object), r"got Python objects; .* or np\.stack\(x\) where each is an array"),
    ],
)
def test_things_that_are_no_source(source, message):
    with pytest.raises(featdiv.InputError, match=r"featdiv\.open: source: .*" + message):
        featdiv.open(source)


def test_sources_of_files_survive_pickling(tmp_path, x, all_rows):
    np.save(tmp_path / "x.npy", x)
    twin = pickle.loads(pickle.dumps(featdiv.open(tmp_path, labels=np.arange(101))))
    np.testing.assert_array_equal(all_rows(twin), x)
    np.testing.assert_array_equal(twin.labels, np.arange(101))


def test_importing_io_loads_no_optional_package():
    import subprocess
    import sys

    code = (
        "import sys, featdiv.io; "
        "print([m for m in ('torch', 'scipy', 'pandas', 'pyarrow', 'h5py', 'fsspec', 'sklearn') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_npy_is_read_without_torch(tmp_path, x):
    import subprocess
    import sys

    np.save(tmp_path / "x.npy", x)
    code = (
        f"import sys, featdiv; s = featdiv.open({str(tmp_path / 'x.npy')!r}); "
        "print(sum(len(c.rows) for c in s.chunks()), 'torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["101", "False"]
