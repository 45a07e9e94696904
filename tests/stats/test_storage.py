from __future__ import annotations

import dataclasses
import errno
import os
import stat
import zipfile

import numpy as np
import pytest

from featdiv.errors import FormatError, SourceNotFound
from featdiv.io.writers import replacing
from featdiv.stats import ClassMoments, CrossMoments, Moments, storage
from featdiv.testing import cases


@pytest.fixture
def moments() -> Moments:
    return Moments.of(cases.make("gaussian", 60, 5).rows, norm_sums=True)


@pytest.fixture
def class_moments() -> ClassMoments:
    return ClassMoments.of(*cases.labelled(60, 5, 3), per_class=True)


def rewritten(path, **changes) -> None:
    """Writes the archive again with some entries changed, or left out where the value is None."""
    with np.load(path) as archive:
        entries = {**archive, **changes}
    np.savez(path, **{name: value for name, value in entries.items() if value is not None})


def test_triangles_by_hand():
    matrix = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 5.0], [3.0, 5.0, 6.0]])
    assert storage.packed(matrix).tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert storage.unpacked(np.arange(1.0, 7.0), 3).tolist() == matrix.tolist()
    assert storage.unpacked(np.stack([np.arange(1.0, 7.0)] * 2), 3).tolist() == [matrix.tolist()] * 2


def test_the_file_is_a_plain_archive_of_triangles(moments, tmp_path):
    path = tmp_path / "m.npz"
    moments.save(path)
    with np.load(path, allow_pickle=False) as archive:
        assert str(archive["format"]) == "featdiv.Moments"
        assert int(archive["schema"]) == 1
        assert archive["scatter"].tolist() == moments.scatter[np.triu_indices(5)].tolist()
    assert path.stat().st_size < 5000


def test_what_rows_were_extracted_with_is_kept_and_may_be_missing(moments, class_moments, tmp_path):
    facts = {"model": "žluťoučký", "notes": ["resampled", 2], "autocast": None}
    path = tmp_path / "m.npz"
    for statistic in (moments, class_moments):
        dataclasses.replace(statistic, extraction=facts).save(path)
        assert type(statistic).load(path).extraction == facts
        rewritten(path, extraction=None)
        assert type(statistic).load(path).extraction is None


def test_any_name_and_a_string_will_do(moments, tmp_path):
    path = str(tmp_path / "moments of shard 3")
    moments.save(path)
    assert os.listdir(tmp_path) == ["moments of shard 3"]
    assert Moments.load(path).n == 60


def test_a_full_disk_is_named_by_the_file_that_has_no_room(tmp_path):
    target = tmp_path / "m.npz"

    def write():
        with replacing(target) as file:
            file.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        write()
    assert caught.value.filename == str(target)
    assert not list(tmp_path.iterdir())


def test_an_old_file_is_replaced_with_the_usual_permissions(moments, tmp_path):
    path, other = tmp_path / "m.npz", tmp_path / "plain"
    path.write_bytes(b"old")
    other.write_bytes(b"")
    moments.save(path)
    assert Moments.load(path).n == 60
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


def test_a_directory_that_does_not_exist_is_named(moments, tmp_path):
    with pytest.raises(SourceNotFound, match=r"m\.npz: the directory '.*nowhere' does not exist; make it first"):
        moments.save(tmp_path / "nowhere" / "m.npz")


def test_a_link_stays_a_link(moments, tmp_path):
    target, link = tmp_path / "target.npz", tmp_path / "link.npz"
    target.write_bytes(b"old")
    link.symlink_to(target)
    moments.save(link)
    assert link.is_symlink()
    assert Moments.load(target).n == 60


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_an_interrupted_save_leaves_the_old_file_and_nothing_else(moments, tmp_path, monkeypatch, error):
    path = tmp_path / "m.npz"
    path.write_bytes(b"old")

    def interrupted(descriptor):
        raise error

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(type(error)):
        moments.save(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["m.npz"]


def test_each_kind_says_what_the_other_is(moments, class_moments, tmp_path):
    moments.save(tmp_path / "m.npz")
    class_moments.save(tmp_path / "c.npz")
    with pytest.raises(
        FormatError, match=r"ClassMoments\.load: path: expected a file of ClassMoments; .* holds Moments"
    ):
        ClassMoments.load(tmp_path / "m.npz")
    with pytest.raises(FormatError, match=r"holds ClassMoments\. Read it with ClassMoments\.load"):
        Moments.load(tmp_path / "c.npz")


def test_a_newer_schema_is_refused(moments, tmp_path):
    moments.save(tmp_path / "m.npz")
    rewritten(tmp_path / "m.npz", schema=np.int64(2), version=np.array("9.1"))
    with pytest.raises(
        FormatError, match=r"has schema 2, written by featdiv 9\.1; this featdiv reads schema 1.*Update"
    ):
        Moments.load(tmp_path / "m.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": None}, r"has no entry 'mean'"),
        ({"mean": np.zeros(5, dtype=np.float32)}, r"mean: expected float64 of shape \(any\); got float32"),
        (
            {"mean": np.zeros((5, 1))},
            r"mean: expected float64 of shape \(any\); got float64 of shape \(5, 1\)",
        ),
        (
            {"mean": np.zeros(4)},
            r"scatter: expected float64 of shape \(10\); got float64 of shape \(15,\)|weighted",
        ),
        ({"scatter": np.full(15, np.nan)}, r"scatter: expected finite numbers; got NaN"),
        ({"scatter": np.full(15, -1.0)}, r"scatter: expected sums of squares on the diagonal; got -1\.0"),
        ({"n": np.int64(-3)}, r"n: expected a number that is not negative; got -3"),
        ({"n": np.float64(3)}, r"n: expected int64 of shape \(\); got float64"),
        ({"fourth": np.float64(-1)}, r"fourth: expected at least 0\.0; got -1\.0"),
        ({"normalize": np.array("l1")}, r"normalize: expected '' or 'l2'; got 'l1'"),
        ({"dtype": np.float64(2)}, r"dtype: expected text"),
        ({"extraction": np.array('{"model": ')}, r"extraction: expected a JSON object; got '\{\"model\": '"),
        ({"extraction": np.array("[1]")}, r"extraction: expected a JSON object; got '\[1\]'"),
        ({"measured_error": np.array("no")}, r"measured_error: expected float64 of shape \(\); got str"),
        ({"format": np.array("something")}, r"is a \.npz archive of something else"),
        ({"format": None}, r"is a \.npz archive of something else"),
    ],
)
def test_damaged_moments_are_refused(moments, tmp_path, change, message):
    path = tmp_path / "m.npz"
    moments.save(path)
    rewritten(path, **change)
    with pytest.raises(FormatError, match=message):
        Moments.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": np.array([0, 2, 1])}, r"classes: expected sorted labels without repeats"),
        ({"classes": np.array([0.0, 1.0, 2.0])}, r"classes: expected 3 integers or strings; got float64"),
        ({"counts": np.array([5, 0, 3])}, r"counts: expected at least one row in every class; got 0"),
        ({"counts": np.array([5, 3])}, r"counts: expected int64 of shape \(3\); got int64 of shape \(2,\)"),
        ({"scatters": np.zeros((3, 14))}, r"scatters: expected float64 of shape \(3, 15\)"),
    ],
)
def test_damaged_class_moments_are_refused(class_moments, tmp_path, change, message):
    path = tmp_path / "c.npz"
    class_moments.save(path)
    rewritten(path, **change)
    with pytest.raises(FormatError, match=message):
        ClassMoments.load(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"NUMPY", b"LUMPY"), (b"'descr'", b"'''scr'"), (b"'descr'", b"b'scr' "), (b"(5,)", b"(5,]")],
)
def test_damaged_headers_of_arrays_are_refused(moments, tmp_path, old, new):
    path = tmp_path / "m.npz"
    moments.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content.replace(old, new, 1) if name == "mean.npy" else content)
    with pytest.raises(FormatError, match=r"mean: expected an array|is damaged or incomplete"):
        Moments.load(path)


def test_archives_packed_in_unknown_ways_are_refused(moments, tmp_path):
    path = tmp_path / "m.npz"
    moments.save(path)
    # The way of compression stands ten bytes into each entry of the directory at the end.
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 10] = 99
    path.write_bytes(content)
    with pytest.raises(FormatError, match="is damaged or incomplete"):
        Moments.load(path)


@pytest.mark.parametrize("kept", [10, 300, -30])
def test_truncated_files_are_refused(moments, tmp_path, kept):
    path = tmp_path / "m.npz"
    moments.save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(FormatError, match="damaged or incomplete"):
        Moments.load(path)


def test_flipped_bits_are_noticed(moments, tmp_path):
    path = tmp_path / "m.npz"
    moments.save(path)
    content = bytearray(path.read_bytes())
    place = content.index(moments.mean.tobytes())
    content[place + 3] ^= 0x40
    path.write_bytes(content)
    with pytest.raises(FormatError, match="damaged or incomplete"):
        Moments.load(path)


def test_a_pickle_inside_is_not_loaded(moments, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    path = tmp_path / "m.npz"
    moments.save(path)
    rewritten(path, mean=np.array([Bomb()], dtype=object))
    with pytest.raises(FormatError, match="damaged or incomplete"):
        Moments.load(path)
    assert not (tmp_path / "executed").exists()


def test_other_files_are_refused(tmp_path):
    other = tmp_path / "x.npy"
    np.save(other, np.eye(2))
    with pytest.raises(FormatError, match=r"Moments\.load: path: expected a moments file.*x\.npy is not a \.npz"):
        Moments.load(other)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.txt", "hello")
    with pytest.raises(FormatError, match="something else"):
        Moments.load(tmp_path / "x.zip")
    with pytest.raises(FileNotFoundError, match=r"Moments\.load: path: no such file: .*"):
        Moments.load(tmp_path / "missing.npz")


@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("normalize", [None, "l2"])
def test_constant_columns_are_saved_and_read(normalize, backend, tmp_path):
    # Rounding leaves their sums of squares a hair below zero or above it, by chance: so many are tried.
    random = np.random.default_rng(0)
    for n in (1, 2, 3, 7, 16, 100):
        rows = np.tile(random.uniform(0.5, 2.0, size=33), (n, 1)).astype(np.float32 if n % 2 else np.float64)
        options = {"normalize": normalize, "backend": backend}
        labels = np.arange(n) % 2
        made = {
            "moments": Moments.of(rows, norm_sums=True, **options),
            "merged": Moments.of(rows, norm_sums=True, **options) + Moments.of(rows[:1], norm_sums=True, **options),
            "pooled": ClassMoments.of(rows, labels, **options),
            "per class": ClassMoments.of(rows, labels, per_class=True, **options),
            "cross": CrossMoments.of({"x": rows, "y": rows[:, :5]}, **options),
        }
        for name, statistic in made.items():
            statistic.save(tmp_path / name)
            again = type(statistic).load(tmp_path / name)
            kept = again.joint if isinstance(again, CrossMoments) else again
            scatter = kept.within if isinstance(kept, ClassMoments) else kept.scatter
            assert 0.0 <= scatter.diagonal().min() <= scatter.diagonal().max() < 1e-9, (name, n)


def test_a_file_holds_no_other_entries_and_never_objects(moments, tmp_path):
    moments.save(tmp_path / "m.npz")
    with zipfile.ZipFile(tmp_path / "m.npz") as archive:
        assert "allow_pickle.npy" not in archive.namelist()
    with open(tmp_path / "objects.npz", "wb") as file, pytest.raises(ValueError, match="Object arrays cannot be saved"):
        storage.write_arrays(file, labels=np.array([None]))
