"""Each case in a process of its own: what is declared or imported there stays so for good."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import types

import pytest

FORKS = """
import json, os, pathlib, sys, traceback
import torch

results = {}
for name, (path, code) in json.load(sys.stdin).items():
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.dup2(writer, 1)
        sys.path[:0] = path
        try:
            exec(code, {"__name__": "__main__"})
        except BaseException:
            traceback.print_exc(file=sys.stdout)
        sys.stdout.flush()
        os._exit(0)
    os.close(writer)
    with open(reader) as said:
        results[name] = said.read()
    os.wait()
print(json.dumps(results))
"""
"""Runs each code in a fork of one process that has imported torch and nothing else, and tells what they print."""

SHIM = "from featdiv.backbones.torchvision_shim import prepare_torchvision\n"
WITH_FAKE = {
    "bare": "import torchvision",
    "helped": SHIM + "print(prepare_torchvision(), prepare_torchvision())\nimport torchvision\nprint('imported')",
    "loads": SHIM + "import pathlib, torch\nloaded = []\ntorch.ops.load_library = loaded.append\n"
    "print(prepare_torchvision(), pathlib.Path(loaded[0]).name)\nprint(hasattr(torch.ops.torchvision, 'nms'))",
    "declared": SHIM + "import torch\nmine = torch.library.Library('torchvision', 'FRAGMENT')\n"
    "mine.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')\n"
    "print(prepare_torchvision())\nimport torchvision\nprint('imported')",
    "present": SHIM + "import sys, types\nsys.modules['torchvision'] = types.ModuleType('torchvision')\n"
    "print(prepare_torchvision())",
}
WITH_TIMM = (
    SHIM + "prepare_torchvision()\nimport timm, torch\n"
    "print(tuple(timm.create_model('test_resnet').eval()(torch.zeros(1, 3, 32, 32)).shape))"
)

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


TWICE = """
class Twice:
    def __init__(self):
        self.values = torch.arange(3)

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return 2 * self.values[index]
"""
"""A data set of that package."""


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    """A torchvision whose compiled library is no library, as one that is linked against what is not there."""
    package = tmp_path_factory.mktemp("fake") / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(FAKE_PACKAGE + TWICE)
    (package / "_C.so").write_bytes(b"\x7fELF of another machine")
    return package.parent


def run(*command, **arguments):
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, **arguments)


@pytest.fixture(scope="module")
def printed(fake):
    """By case, what it printed."""
    if not hasattr(os, "fork"):
        pytest.skip("needs os.fork, which this system does not have")
    cases = {name: ([str(fake)], code) for name, code in WITH_FAKE.items()} | {"timm": ([], WITH_TIMM)}
    done = run("-c", FORKS, input=json.dumps(cases))
    assert done.returncode == 0, done.stderr
    return types.SimpleNamespace(**json.loads(done.stdout))


def test_without_it_the_import_fails_and_with_it_it_does_not(printed):
    assert printed.bare.startswith("Traceback")
    assert "torchvision::nms" in printed.bare
    assert printed.helped.split() == ["True", "True", "imported"]


def test_a_library_that_loads_is_left_alone(printed):
    assert printed.loads.split() == ["False", "_C.so", "False"]


def test_an_operator_that_exists_is_not_declared_again(printed):
    assert printed.declared.split() == ["True", "imported"]


def test_nothing_happens_where_torchvision_is_already_there(printed):
    assert printed.present.split() == ["False"]


def test_nothing_happens_where_torchvision_is_missing():
    missing = run(
        "-c",
        "import importlib.util\nfind = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'torchvision' else find(name)\n"
        "import sys\nfrom featdiv.backbones.torchvision_shim import prepare_torchvision\n"
        "print(prepare_torchvision(), 'torch' in sys.modules)",
    )
    assert missing.stdout.split() == ["False", "False"], missing.stderr


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")
def test_timm_imports_after_it(printed):
    assert printed.timm.strip() == "(1, 1000)"


SPAWNED = """
import multiprocessing, sys
sys.path.insert(0, sys.argv[1])
from featdiv.backbones.loader import ForLoader
from featdiv.backbones.torchvision_shim import prepare_torchvision

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    prepare_torchvision()
    import torch, torchvision
    dataset = torchvision.Twice()
    loader = torch.utils.data.DataLoader(ForLoader(dataset, 'extract'), num_workers=1)
    print(*(int(x) for x in loader))
"""


def test_workers_that_are_spawned_prepare_torchvision_before_they_unpickle(fake, tmp_path):
    script = tmp_path / "spawned.py"
    script.write_text(SPAWNED)
    helped = run(str(script), str(fake))
    assert helped.stdout.split() == ["0", "2", "4"], helped.stderr
