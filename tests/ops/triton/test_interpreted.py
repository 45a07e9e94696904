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
JOBS = {
    "moments": [HERE / f"interpreted_{op}.py" for op in ("scatter", "class_scatter", "cross_gram", "nearest_centroid")],
    "pairs": [
        *(HERE / f"interpreted_{op}.py" for op in ("pair_sums", "topk")),
        *(HERE.parent / f"test_{op}.py" for op in ("pair_sums", "topk")),
    ],
}
"""Few processes, since each imports torch and Triton first."""

LARGE = "-int8 or -uint8 or -int64 or -float16 or -bfloat16 or stride or million or 47 or 150 or 193 or 1000- or 9000"
"""Cases of the ops' own tests that are long when interpreted; interpreted_*.py have types and strides of their own."""


def test_every_file_is_run():
    assert sorted(HERE.glob("interpreted_*.py")) == sorted(f for job in JOBS.values() for f in job if f.parent == HERE)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
@pytest.mark.parametrize("job", JOBS)
def test_kernels_in_the_interpreter(job):
    selected = f"interpreted or (triton and not ({LARGE}))"
    run = subprocess.run(
        [sys.executable, str(HERE / "interpret.py"), "-k", selected, *map(str, JOBS[job])],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert " passed" in run.stdout
    assert " skipped" not in run.stdout
