"""Disks that are really full: a small file system in memory, mounted where no other process sees it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

FILL = """
import sys, numpy, torch
import featdiv, finetune_worker
from featdiv.backbones.cache import DiskFull

out, filler = sys.argv[1], sys.argv[1] + "/filler"
pixels = numpy.random.default_rng(0).integers(0, 256, size=(60, 6, 6, 3), dtype=numpy.uint8)

def fill():
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
"""

EXTRACT = """
import pathlib
data = featdiv.images(pixels)
network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(108, 400))
arguments = {"transform": finetune_worker.to_tensor, "batch_size": 10, "shard_rows": 10, "workers": 0, "out": out}
given = {"layer": "output", **arguments}
try:
    featdiv.extract(network, data, progress=lambda done, total: done == 30 and fill(), **given)
except DiskFull as error:
    print(error)
print(sorted(path.name for path in pathlib.Path(out).glob("*/features-*")), list(pathlib.Path(out).rglob("*.tmp")))
pathlib.Path(filler).unlink()
seen = []
rows = featdiv.extract(network, data, progress=lambda done, total: seen.append(done), **given).take(range(60))
expected = featdiv.extract(network, data, **{**given, "out": None}).take(range(60))
print(seen[0], numpy.array_equal(rows, expected))
"""

FINETUNE = """
import pathlib
stop = lambda done, total: done == 21 and fill()
try:
    finetune_worker.finetuned(out=out, progress=stop, seed=0)
except DiskFull as error:
    print(error)
pathlib.Path(filler).unlink()
print(len(list(pathlib.Path(out).glob("*/checkpoint-*"))), list(pathlib.Path(out).rglob("*.tmp")))
seen = []
found = finetune_worker.finetuned(out=out, progress=lambda done, total: seen.append(done), seed=0)
expected = finetune_worker.finetuned(seed=0)
same = all(torch.equal(found.module.state_dict()[name], value) for name, value in expected.module.state_dict().items())
print(seen[0], same)
"""


def in_small_file_system(code, folder, size):
    """Runs code with a file system of that size at ``folder``, in a namespace of its own."""
    if sys.platform != "linux" or shutil.which("unshare") is None or shutil.which("mount") is None:
        pytest.skip("needs Linux with unshare and mount")
    mount = f"mount -t tmpfs -o size={size} tmpfs {folder}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("mounting in a namespace is not permitted here")
    command = [
        "unshare",
        "-rm",
        "sh",
        "-c",
        f'{mount} && exec "$0" -c "$1" "$2"',
        sys.executable,
        FILL + code,
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_extraction_keeps_finished_shards_and_goes_on(tmp_path):
    message, kept, after = in_small_file_system(EXTRACT, tmp_path, "256k")
    assert re.search(r"full \(No space left on device\)\. 3 of 6 shards are finished and kept; free \d+ kB", message)
    assert kept == "['features-00000.npy', 'features-00001.npy', 'features-00002.npy'] []"
    assert after == "30 True"


@pytest.mark.slow
def test_fine_tuning_keeps_its_last_checkpoint_and_goes_on(tmp_path):
    pytest.importorskip("timm", reason="timm is not installed; pip install 'featdiv[vision]' installs it")
    message, kept, after = in_small_file_system(FINETUNE, tmp_path, "512k")
    assert message.startswith("featdiv.finetune: out: ")
    assert "the disk is full (No space left on device) where checkpoint-" in message
    assert message.endswith(
        "Finished runs and the last checkpoint are kept; make room and call again, which goes on from there"
    )
    assert kept == "1 []"
    done, same = after.split()
    assert int(done) >= 15
    assert same == "True"
