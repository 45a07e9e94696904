"""Fixtures of the whole suite: seeds, the data beside the repository, and scratch memory that cannot hide."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from featdiv.backbones.torchvision_shim import prepare_torchvision

# Tests import packages that import torchvision where it is installed: torchmetrics, lightning, transformers, timm.
prepare_torchvision()

TESTS = Path(__file__).parent
SHARED_DATA = TESTS.parent.parent / "shared" / "data"
NAN_FILLED = ("ops", "stats")
"""Folders whose tests run with NaN in all memory that is handed out unset."""


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


@pytest.fixture(scope="session")
def run_ranks() -> Callable[..., None]:
    """Runs a script as both ranks of a gloo group: ``python worker RANK *arguments``, to the end of both."""

    def run(worker: Path, *arguments: object, timeout: float = 240) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "CUDA_VISIBLE_DEVICES": ""}
        processes = [
            subprocess.Popen(
                [sys.executable, str(worker), str(rank), *map(str, arguments)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank in (0, 1)
        ]
        try:
            output = [process.communicate(timeout=timeout)[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
        for rank, process in enumerate(processes):
            assert process.returncode == 0, f"rank {rank}:\n{output[rank]}"

    return run


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The k of every search for neighbours that is made during the test, one after the other."""
    from featdiv.stats.neighbours_search import Search

    made: list[int] = []
    run = Search.run

    def counted(search: Search, k: int) -> tuple[np.ndarray, np.ndarray]:
        made.append(k)
        return run(search, k)

    monkeypatch.setattr(Search, "run", counted)
    return made


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
