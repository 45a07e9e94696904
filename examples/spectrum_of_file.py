"""What is in the rows of a file: python examples/spectrum_of_file.py [FILE [KEY]].

FILE is anything that featdiv opens: .npy, .npz, .pt, .safetensors, .h5, .parquet, a folder or glob of shards; KEY names
the rows in it where there are several. Without arguments scikit-learn's digits are written to a file first.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

import featdiv

with tempfile.TemporaryDirectory() as folder:
    if len(sys.argv) > 1:
        path, key = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    else:
        from sklearn.datasets import load_digits

        path, key = str(Path(folder) / "digits.npy"), None
        np.save(path, load_digits().data.astype(np.float32))
    # Nothing is read yet: the file may be larger than memory.
    with featdiv.open(path, key=key) as rows:
        print(f"{Path(path).name}: {rows.n:,} rows of {rows.d} features, {rows.dtype}")
        spectrum = featdiv.spectrum(rows)

for name in ("effective_rank", "rankme", "participation_ratio", "alpha_req"):
    if name in spectrum.undefined:
        print(f"{name}: undefined: {spectrum.undefined[name]}")
        continue
    interval = spectrum.intervals.get(name)
    print(f"{name}: {spectrum.read(name):.2f}", f"95 %: {interval}" if interval else "")
for note in spectrum.provenance.notes:
    print(f"note: {note}")
