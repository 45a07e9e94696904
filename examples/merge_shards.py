"""Moments of shards, made one by one and merged, give the spectrum of the whole: python examples/merge_shards.py."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np

import featdiv

rng = np.random.default_rng(0)
rows = (rng.normal(size=(20_000, 64)) * np.linspace(3.0, 0.1, 64)).astype(np.float32)

with tempfile.TemporaryDirectory() as folder:
    # Each shard could be read on another machine: what travels is a file of d x d numbers.
    for i, shard in enumerate(np.array_split(rows, 8)):
        featdiv.Moments.of(shard).save(Path(folder) / f"shard{i}.npz")
    parts = [featdiv.Moments.load(path) for path in sorted(Path(folder).glob("*.npz"))]

merged = functools.reduce(featdiv.Moments.merge, parts)
print(f"{len(parts)} shards, {merged.n:,} rows")
print(f"effective rank of the merged moments: {featdiv.spectrum(merged).effective_rank:.4f}")
print(f"effective rank of the rows at once:   {featdiv.spectrum(rows).effective_rank:.4f}")
