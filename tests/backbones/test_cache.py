"""Features on disk: found again, gone on with, and never half there."""

from __future__ import annotations

import errno
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import featdiv
from featdiv.backbones import cache
from featdiv.backbones.cache import DiskFull
from featdiv.errors import FormatError, InputError


def rows_of(features):
    return np.asarray(features.take(np.arange(features.n)), dtype=np.float64)


def test_a_second_call_reads_from_disk(run, expected, means, tmp_path):
    run(out=tmp_path)
    again = run(out=tmp_path)
    assert means.batches == []
    np.testing.assert_allclose(rows_of(again), expected, rtol=1e-6, atol=1e-7)
    assert again.labels.tolist() == [index % 3 for index in range(50)]
    (folder,) = tmp_path.iterdir()
    assert folder == again.directory
    content = json.loads((folder / "extraction.json").read_text())
    assert content["complete"] is True
    assert (content["n"], content["d"], content["images_computed"]) == (50, 4, 50)
    opened = featdiv.open(str(folder))
    assert (opened.n, opened.shards) == (50, 5)
    np.testing.assert_array_equal(opened.labels, again.labels)
    np.testing.assert_array_equal(opened.ids, again.ids)
    assert opened.description.endswith("manifest.txt (5 shards) with its labels and ids")


@pytest.mark.filterwarnings("ignore::featdiv.SmallSampleWarning")
def test_labels_that_are_given_win_over_those_beside_the_rows(run, tmp_path):
    folder = run(out=tmp_path).directory
    own = featdiv.knn_probe(folder, k=3, vote="uniform")
    assert own.provenance.source.endswith("with its labels and ids")
    other = np.arange(50) % 2
    opened = featdiv.open(folder, labels=other)
    assert opened.labels.tolist() == other.tolist()
    assert opened.description.endswith("with its ids")
    assert featdiv.knn_probe(folder, other, k=3, vote="uniform").classes.tolist() == [0, 1]
    assert len(own.classes) == 3
    assert not featdiv.spectrum(folder, interval=None).per_class
    assert len(featdiv.spectrum(featdiv.open(folder), interval=None).per_class) == 3
    np.save(folder / "labels.npy", other[:49])
    with pytest.raises(
        InputError, match=r"labels: expected 50 .* got 49.* found in .*labels\.npy; pass labels= to use"
    ):
        featdiv.open(folder)
    assert featdiv.open(folder, labels=other).n == 50
    np.save(folder / "labels.npy", np.zeros((50, 4), dtype=np.int64))
    assert featdiv.open(folder).labels is None


def test_the_key_covers_what_shapes_the_numbers(run, means, pixels, scaled, tmp_path):
    def computed(**arguments):
        run(out=tmp_path, **arguments)
        return bool(means.batches)

    assert computed()
    assert not computed()
    assert not computed(batch_size=3, progress=lambda *_: None)
    assert computed(layer="mix")
    assert computed(pool="mean")
    assert computed(dtype="float16")
    assert computed(autocast="bfloat16")
    assert computed(store=False)
    assert computed(transform=lambda image: scaled(image) * 2.0)
    assert computed(data=featdiv.images(pixels, labels=np.arange(50) % 2))
    assert computed(data=featdiv.images(pixels[::-1].copy(), labels=np.arange(50) % 3))
    with torch.no_grad():
        means.mix.weight[0, 0] += 1e-6
    assert computed()
    assert not computed()


def test_a_transform_that_nothing_describes_cannot_be_found_again(run, tmp_path):
    class Opaque:
        def __call__(self, image):
            return torch.zeros(3, 4, 4)

    assert run(transform=Opaque()).n == 50
    with pytest.raises(InputError, match="transform: features on disk are found again by what the transform is"):
        run(transform=Opaque(), out=tmp_path)


def test_finished_shards_are_not_computed_again(run, expected, means, tmp_path):
    run(out=tmp_path)
    (folder,) = tmp_path.iterdir()
    (folder / "features-00001.npy").unlink()
    damaged = folder / "features-00004.npy"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    seen = []
    again = run(out=tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert sum(means.batches) == 20
    assert seen[0] == (30, 50)
    assert seen[-1] == (50, 50)
    np.testing.assert_allclose(rows_of(again), expected, rtol=1e-6, atol=1e-7)


KILLED = """
import sys, numpy, torch, time
import featdiv
pixels = numpy.load(sys.argv[1])
class Slow(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 2)
    def forward(self, x):
        time.sleep(float(sys.argv[3]))
        self.images = getattr(self, "images", 0) + len(x)
        return self.fc(x.mean(dim=(2, 3)))
torch.manual_seed(0)
model = Slow()
def scaled(image):
    return torch.from_numpy(numpy.asarray(image).copy()).permute(2, 0, 1).float() / 255.0
features = featdiv.extract(model, featdiv.images(pixels), transform=scaled, batch_size=5, shard_rows=5, out=sys.argv[2],
                           workers=0)
print(getattr(model, "images", 0), features.take(range(50)).astype("float64").sum())
"""


def test_a_killed_run_goes_on_where_it_was(pixels, expected, tmp_path):
    np.save(tmp_path / "pixels.npy", pixels)
    out = tmp_path / "cache"

    def command(pause):
        return [sys.executable, "-c", KILLED, str(tmp_path / "pixels.npy"), str(out), str(pause)]

    with subprocess.Popen(command(0.3), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while len(list(out.glob("*/features-*.npy"))) < 3:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    shards = len(list(out.glob("*/features-*.npy")))
    assert 3 <= shards < 10
    assert not list(out.glob("*/manifest.txt"))
    done = subprocess.run(command(0.0), capture_output=True, text=True, check=True).stdout.split()
    assert int(done[0]) == 50 - 5 * shards
    assert float(done[1]) == pytest.approx(expected[:, :3].sum(), rel=1e-6)
    assert int(subprocess.run(command(0.0), capture_output=True, text=True, check=True).stdout.split()[0]) == 0


def test_a_full_disk_keeps_finished_shards(run, expected, means, monkeypatch, tmp_path):
    write = cache.Directory.write_shard
    writes = []

    def full(directory, shard, bits):
        with directory._room():
            if shard == 3:
                raise OSError(errno.ENOSPC, "No space left on device")
            writes.append(shard)
            write(directory, shard, bits)

    monkeypatch.setattr(cache.Directory, "write_shard", full)
    with pytest.raises(
        DiskFull, match=r"the disk is full .* 3 of 5 shards are finished and kept; free .* and call again"
    ) as e:
        run(out=tmp_path)
    assert isinstance(e.value, OSError)
    assert e.value.errno == errno.ENOSPC
    assert e.value.needed == 20 * 4 * 4
    monkeypatch.undo()
    np.testing.assert_allclose(rows_of(run(out=tmp_path)), expected, rtol=1e-6, atol=1e-7)
    assert sum(means.batches) == 20
    assert not list(tmp_path.rglob("*.tmp"))


def test_room_is_looked_for_before_writing(run, monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10_000, 9_300, 700))
    with pytest.raises(DiskFull, match=r"50 rows of 4 float32 features need 800 bytes, and 700 bytes are free"):
        run(out=tmp_path)
    assert not list(tmp_path.rglob("features-*"))
    assert run(out=tmp_path, dtype="float16").n == 50


def test_a_cache_of_another_version_is_left_alone(run, means, monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "CACHE_VERSION", 0)
    run(out=tmp_path)
    (old,) = tmp_path.iterdir()
    before = {path.name: path.read_bytes() for path in old.iterdir()}
    monkeypatch.undo()
    run(out=tmp_path)
    assert sum(means.batches) == 50
    assert len(list(tmp_path.iterdir())) == 2
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before


@pytest.mark.parametrize(
    "damage", [lambda text: text[:40], lambda text: text.replace('"n": 50', '"n": 51'), lambda _: "[]"]
)
def test_a_damaged_description_is_an_error(run, tmp_path, damage):
    path = run(out=tmp_path).directory / "extraction.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(FormatError, match=r"extraction\.json: damaged, or not written by this version .* delete the"):
        run(out=tmp_path)


def test_moments_go_on_after_an_interruption(run, expected, means, tmp_path):
    class StopError(Exception):
        pass

    def stop(done, total):
        if done >= 32:
            raise StopError

    with pytest.raises(StopError):
        run(store=False, out=tmp_path, progress=stop)
    features = run(store=False, out=tmp_path)
    assert sum(means.batches) == 20
    np.testing.assert_allclose(features.moments.mean, expected.mean(axis=0), rtol=1e-6)
    assert features.moments.n == 50


def test_layers_whose_shards_were_cut_differently(means, pixels, scaled, expected, tmp_path):
    data = featdiv.images(pixels)
    arguments = {"transform": scaled, "batch_size": 10, "out": tmp_path}
    first = featdiv.extract(means, data, layer="mix", shard_rows=20, **arguments)
    (first.directory / "features-00000.npy").unlink()
    layers = featdiv.extract_layers(means, data, ["mix", "fc"], shard_rows=7, **arguments)
    np.testing.assert_allclose(rows_of(layers["mix"]), expected, rtol=1e-6, atol=1e-7)
    assert layers["fc"].n == 50


def test_out_must_be_a_folder(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"out: .*file is a file; expected a folder"):
        run(out=tmp_path / "file")


def test_paths_of_the_cache_are_readable(run, tmp_path):
    folder = run(out=str(tmp_path)).directory
    assert isinstance(folder, Path)
    assert folder.name.startswith("Means-penultimate-")
