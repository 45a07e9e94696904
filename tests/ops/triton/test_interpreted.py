"""Runs interpreted_*.py, and the tests of ops that name their backend, in processes where Triton interprets kernels.

Triton reads its variable when it is first imported, and anything in this process may have imported it.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TOGETHER = [str(HERE / f"interpreted_{op}.py") for op in ("cross_gram", "nearest_centroid")]
"""Short ones, which share a process."""

JOBS = {
    **{path.stem: [str(path)] for path in sorted(HERE.glob("interpreted_*.py")) if str(path) not in TOGETHER},
    "interpreted_cross_gram_and_nearest_centroid": TOGETHER,
    "pair_sums": [
        str(HERE.parent / "test_pair_sums.py"),
        "-k",
        "triton and not int and not float16 and not 200 and not million and not 150",
    ],
    "topk": [
        str(HERE.parent / "test_topk.py"),
        "-k",
        "triton and not shape_stride and not 130 and not 9000 and not 47",
    ],
}
"""Name to arguments of pytest."""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
@pytest.mark.parametrize("job", JOBS)
def test_kernels_in_the_interpreter(job):
    # On a device an overflow is no event; NumPy, which plays it, warns.
    options = ["-q", "-W", "ignore::RuntimeWarning", "-p", "no:cacheprovider", "-p", "no:xdist"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *JOBS[job]],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert " passed" in run.stdout
    assert " skipped" not in run.stdout
