"""The spectrum of 400 parquet shards, read once: python examples/parquet_shards.py [GLOB [COLUMN]].

Without arguments digits are written into 400 shards first, as an embedding job leaves them: a column of lists, and one
of labels.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

import featdiv

SHARDS = 400


def write_shards(folder: Path) -> None:
    """Writes the digits into shards, a column for the rows and one for the labels."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from sklearn.datasets import load_digits

    digits = load_digits()
    rows = np.array_split(digits.data.astype(np.float32), SHARDS)
    for place, (part, labels) in enumerate(zip(rows, np.array_split(digits.target, SHARDS), strict=True)):
        table = pa.table({"embedding": list(part), "label": labels})
        pq.write_table(table, folder / f"part-{place:05d}-of-{SHARDS:05d}.parquet")


with tempfile.TemporaryDirectory() as scratch:
    if len(sys.argv) > 1:
        pattern, column = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
        labels = None
    else:
        write_shards(Path(scratch))
        pattern, column, labels = f"{scratch}/*.parquet", "embedding", "label"
    with featdiv.open(pattern, key=column, labels=labels) as rows:
        print(f"{rows.shards} shards, {rows.n:,} rows of {rows.d} features")
        # Moments are all that any spectral score needs: d x d numbers, whatever the number of rows.
        moments = featdiv.Moments.from_source(rows)

spectrum = featdiv.spectrum(moments)
print(f"effective rank {spectrum.effective_rank:.1f}, RankMe {spectrum.rankme:.1f} of {moments.d}")
