"""Fixtures of the whole suite: seeds, the data beside the repository, and scratch memory that cannot hide."""

from __future__ import annotations

import os
import random
import runpy
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featdiv.backbones.torchvision_shim import prepare_torchvision

# Tests import packages that import torchvision where it is installed: torchmetrics, lightning, transformers, timm.
prepare_torchvision()

TESTS = Path(__file__).parent
SHARED_DATA = TESTS.parent.parent / "shared" / "data"
NAN_FILLED = ("ops", "stats")
"""Folders whose tests run with NaN in all memory that is handed out unset."""


class Child:
    """A fork of this process that calls a function and ends; what it writes goes to two files."""

    def __init__(self, folder: Path, function: Callable[..., Any], *arguments: Any) -> None:
        self.paths = [folder / "stdout", folder / "stderr"]
        with warnings.catch_warnings():
            # Python 3.12 and later warn because of the thread with which xdist talks; the child does not need it.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            self._call(function, *arguments)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> None:
        code = 1
        try:
            for number, path in enumerate(self.paths, start=1):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
            sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
            # The pool of OpenMP does not outlive a fork.
            if "torch" in sys.modules:
                sys.modules["torch"].set_num_threads(1)
            function(*arguments)
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def wait(self, seconds: float = 240.0) -> subprocess.CompletedProcess[str]:
        """Waits for the end, which is a kill after so many seconds."""
        until = time.monotonic() + seconds
        while not (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
            if time.monotonic() > until:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.01)
        code = os.waitstatus_to_exitcode(ended[1])
        return subprocess.CompletedProcess([], code, *(path.read_text(encoding="utf-8") for path in self.paths))


@pytest.fixture(scope="session")
def fork(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Child]:
    """Calls a function in a child that has what this process imported, which would take seconds anew."""
    if not hasattr(os, "fork"):
        pytest.skip("needs os.fork, which this system does not have")
    return lambda function, *arguments: Child(tmp_path_factory.mktemp("child"), function, *arguments)


@pytest.fixture(scope="session")
def run_script(fork: Callable[..., Child]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script in a child, with warnings as errors."""

    def main(path: Path, *arguments: str) -> None:
        sys.argv = [str(path), *arguments]
        warnings.simplefilter("error")
        runpy.run_path(str(path), run_name="__main__")

    return lambda path, *arguments: fork(main, path, *arguments).wait()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Starts every test from the same global random state, should something draw from it."""
    random.seed(0)
    np.random.seed(0)


@pytest.fixture
def shared_data() -> Path:
    """The folder of real data beside the repository, which not every machine has."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the real data in ../shared/data, which this machine does not have")
    return SHARED_DATA


@pytest.fixture
def nan_filled_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fills what `np.empty` returns with NaN (or the largest integer), which cannot pass for zeros."""
    empty, empty_like = np.empty, np.empty_like

    def poisoned(array: np.ndarray) -> np.ndarray:
        if array.dtype.kind in "fc":
            array.fill(np.nan)
        elif array.dtype.kind in "iu":
            array.fill(np.iinfo(array.dtype).max)
        return array

    monkeypatch.setattr(np, "empty", lambda *args, **kwargs: poisoned(empty(*args, **kwargs)))
    monkeypatch.setattr(np, "empty_like", lambda *args, **kwargs: poisoned(empty_like(*args, **kwargs)))


@pytest.fixture(autouse=True)
def _nan_filled_where_it_matters(request: pytest.FixtureRequest) -> None:
    path = Path(request.path)
    if path.is_relative_to(TESTS) and path.relative_to(TESTS).parts[0] in NAN_FILLED:
        request.getfixturevalue("nan_filled_scratch")
