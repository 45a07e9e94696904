"""Each case in a fresh interpreter: what is declared or imported there stays so for good."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

FAKE = """
import os, sys, pathlib
sys.path.insert(0, os.environ["FAKE"])
import torch
from featdiv.backbones.torchvision_shim import prepare_torchvision
"""

FAKE_PACKAGE = """
import torch

@torch.library.register_fake("torchvision::nms")
def nms(dets, scores, iou_threshold):
    return dets

@torch.library.register_fake("torchvision::qnms")
def qnms(dets, scores, iou_threshold):
    return dets
"""
"""What torchvision's own ``_meta_registrations`` does while it is imported."""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A torchvision whose compiled library is no library, as one that is linked against what is not there."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(FAKE_PACKAGE)
    (package / "_C.so").write_bytes(b"\x7fELF of another machine")
    monkeypatch.setenv("FAKE", str(tmp_path))
    return package


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_without_it_the_import_fails_and_with_it_it_does_not(fake):
    bare = run(FAKE + "import torchvision")
    assert "torchvision::nms" in bare.stderr
    assert bare.returncode == 1
    helped = run(FAKE + "print(prepare_torchvision(), prepare_torchvision())\nimport torchvision\nprint('imported')")
    assert helped.stdout.split() == ["True", "True", "imported"], helped.stderr


def test_a_library_that_loads_is_left_alone(fake):
    load = "torch.ops.load_library = loaded.append\n"
    done = run(
        FAKE + "loaded = []\n" + load + "print(prepare_torchvision(), pathlib.Path(loaded[0]).name)\n"
        "print(hasattr(torch.ops.torchvision, 'nms'))"
    )
    assert done.stdout.split() == ["False", "_C.so", "False"], done.stderr


def test_an_operator_that_exists_is_not_declared_again(fake):
    done = run(
        FAKE + "mine = torch.library.Library('torchvision', 'FRAGMENT')\n"
        "mine.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')\n"
        "print(prepare_torchvision())\nimport torchvision\nprint('imported')"
    )
    assert done.stdout.split() == ["True", "imported"], done.stderr


def test_nothing_happens_where_torchvision_is_missing_or_already_there(fake):
    missing = run(
        "import importlib.util\nfind = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'torchvision' else find(name)\n"
        "import sys\nfrom featdiv.backbones.torchvision_shim import prepare_torchvision\n"
        "print(prepare_torchvision(), 'torch' in sys.modules)"
    )
    assert missing.stdout.split() == ["False", "False"], missing.stderr
    present = run(
        FAKE + "import types\nsys.modules['torchvision'] = types.ModuleType('torchvision')\n"
        "print(prepare_torchvision())"
    )
    assert present.stdout.split() == ["False"], present.stderr


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")
def test_timm_imports_after_it():
    done = run(
        "from featdiv.backbones.torchvision_shim import prepare_torchvision\nprepare_torchvision()\n"
        "import timm, torch\nprint(tuple(timm.create_model('test_resnet').eval()(torch.zeros(1, 3, 32, 32)).shape))"
    )
    assert done.stdout.strip() == "(1, 1000)", done.stderr


SPAWNED = """
import multiprocessing, os, sys
sys.path.insert(0, os.environ["FAKE"])
from featdiv.backbones.torchvision_shim import ForLoader, prepare_torchvision

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    prepare_torchvision()
    import torch, torchvision
    dataset = torchvision.Twice()
    loader = torch.utils.data.DataLoader(ForLoader(dataset) if sys.argv[1] == "helped" else dataset, num_workers=1)
    print(*(int(x) for x in loader))
"""

TWICE = """
class Twice:
    def __init__(self):
        self.values = torch.arange(3)

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return 2 * self.values[index]
"""


def test_workers_that_are_spawned_prepare_torchvision_before_they_unpickle(fake, tmp_path):
    with (fake / "__init__.py").open("a") as package:
        package.write(TWICE)
    script = tmp_path / "spawned.py"
    script.write_text(SPAWNED)
    bare, helped = (
        subprocess.run([sys.executable, str(script), how], capture_output=True, text=True, check=False)
        for how in ("bare", "helped")
    )
    assert "torchvision::nms" in bare.stderr
    assert helped.stdout.split() == ["0", "2", "4"], helped.stderr
