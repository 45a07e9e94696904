"""What the source distribution and the wheel hold: all that runs, and nothing that does not belong there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ("src", "csrc", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md")
ALSO = ("CITATION.cff", "constraints.txt", "Makefile")
BUILT = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info")


def run(*arguments: str, cwd: Path, **environment: str) -> str:
    command = [sys.executable, *arguments]
    result = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


def files(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".so"
    }


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of what is released, without anything built."""
    folder = tmp_path_factory.mktemp("release") / "tree"
    folder.mkdir()
    for name in (*SHIPPED, *ALSO):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=BUILT)
        else:
            shutil.copy(ROOT / name, folder / name)
    (folder / "tests").mkdir()
    shutil.copy(__file__, folder / "tests")
    return folder


@pytest.fixture(scope="module")
def sdist(tree):
    """The unpacked source distribution."""
    run("setup.py", "-q", "sdist", "-d", str(tree.parent), cwd=tree)
    (archive,) = tree.parent.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(tree.parent / "unpacked", filter="data")
    (unpacked,) = (tree.parent / "unpacked").iterdir()
    return unpacked


@pytest.fixture(scope="module")
def wheel(sdist):
    """The unpacked wheel that the source distribution makes without a compiler."""
    said = run("setup.py", "-q", "bdist_wheel", "-d", "out", cwd=sdist, FEATDIV_CPU="off", FEATDIV_CUDA="off")
    assert "native CPU module off, because FEATDIV_CPU=off" in said
    (archive,) = (sdist / "out").glob("*.whl")
    assert archive.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(archive) as file:
        file.extractall(sdist.parent.parent / "installed")
    return sdist.parent.parent / "installed"


def test_the_source_distribution_holds_every_source(tree, sdist):
    assert files(tree / "csrc") == files(sdist / "csrc")
    assert files(tree / "src" / "featdiv") == files(sdist / "src" / "featdiv")
    assert {"setup.py", "pyproject.toml", "LICENSE", "README.md", "constraints.txt"} <= files(sdist)


def test_the_source_distribution_leaves_the_tests_out_whole(sdist):
    # setuptools would take tests/test_*.py by itself, without the folders and fixtures that they need.
    assert not (sdist / "tests").exists()


def test_the_wheel_holds_the_package_with_its_data_and_what_cuda_kernels_are_compiled_from(tree, wheel):
    assert files(tree / "src" / "featdiv") <= files(wheel / "featdiv")
    kernels = {name for name in files(tree / "csrc") if name.endswith(".cuh")}
    assert kernels
    assert {f"csrc/{name}" for name in kernels} <= files(wheel / "featdiv")


def test_the_wheel_holds_nothing_else(tree, wheel):
    (information,) = wheel.glob("*.dist-info")
    assert {path.name for path in wheel.iterdir()} == {"featdiv", information.name}
    extra = files(wheel / "featdiv") - files(tree / "src" / "featdiv")
    assert {Path(name).suffix for name in extra} <= {".cuh", ".h"}


def test_without_the_native_module_the_doctor_says_so_and_the_rest_runs(wheel):
    said = run("-m", "featdiv", "doctor", cwd=wheel, PYTHONPATH=str(wheel), COLUMNS="400", NO_COLOR="1")
    assert "native module featdiv._cpu is not built" in " ".join(said.split())
    program = "import featdiv, numpy as np; print(featdiv.spectrum(np.eye(99)[:, :4]).provenance.backends)"
    assert "native" not in run("-c", program, cwd=wheel, PYTHONPATH=str(wheel))


def test_the_recipe_of_binary_wheels_asks_for_the_module_and_for_no_particular_machine():
    recipe = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["cibuildwheel"]
    assert recipe["environment"]["FEATDIV_CPU"] == "on"
    assert not {"CFLAGS", "CXXFLAGS"} & recipe["environment"].keys()
    assert recipe["manylinux-x86_64-image"].startswith("manylinux_2_")
    assert "_native.module()" in recipe["test-command"]
