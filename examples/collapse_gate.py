"""A gate against collapse for continuous integration: python examples/collapse_gate.py; it exits with 3 where it shuts.

`featdiv check` compares the features of a checkpoint with limits, and with an earlier result. Here healthy features
pass, and the same features squeezed to three directions do not.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

FEATDIV = [sys.executable, "-m", "featdiv"]


def gate(path: Path, *limits: str) -> int:
    """Runs `featdiv check` and returns its exit code: 0 where all holds, 3 where a limit is missed."""
    done = subprocess.run([*FEATDIV, "check", str(path), *limits], capture_output=True, text=True, check=False)
    print(done.stdout, end="")
    return done.returncode


with tempfile.TemporaryDirectory() as scratch:
    folder = Path(scratch)
    rows = load_digits().data.astype(np.float32)
    leading = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)[2][:3]
    np.save(folder / "healthy.npy", rows)
    np.save(folder / "collapsed.npy", rows @ leading.T @ leading)
    baseline = folder / "baseline.json"
    command = [*FEATDIV, "spectrum", str(folder / "healthy.npy"), "--json", str(baseline), "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    limits = ["--require", "effective_rank>=20", "--baseline", str(baseline), "--max-drop", "10%"]
    codes = {name: gate(folder / f"{name}.npy", *limits) for name in ("healthy", "collapsed")}

for name, code in codes.items():
    print(f"{name}: exit code {code}")
sys.exit(codes["collapsed"])
