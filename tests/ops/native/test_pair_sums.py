"""pair_sums of the native module: instruction sets, threads, stretches of rows."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from featdiv.errors import NonFiniteError
from featdiv.ops import _native
from featdiv.ops.pair_sums import pair_sums


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_threads_and_instruction_sets(isa, threads, rng, precision):
    x = rng.normal(size=(700, 41)).astype(np.float32)
    options = {"measure": "cosine", "bins": 40, "threshold": 0.4, "examples": 6, "precision": precision}
    want = pair_sums(x, backend="reference", **options)
    results = []
    for count in (1, 2, 5):
        threads(count)
        got = pair_sums(x, backend="native", **options)
        assert got.exp_sums == pytest.approx(want.exp_sums, rel=1e-6 if precision == "float32" else 1e-12)
        assert got.histogram.tolist() == want.histogram.tolist()
        assert (got.close, got.close_pairs.tolist()) == (want.close, want.close_pairs.tolist())
        assert got.nearest[:2] == want.nearest[:2]
        results.append(got.exp_sums.tobytes())
    assert len(set(results)) == 1


def test_the_exponential_is_right_over_its_whole_range():
    """Single pairs at chosen distances: every power of two that the kernel's exponential can return."""
    for distance in (0.0, 1e-4, 0.1, 1.0, 3.0, 6.5, 9.0, 9.3, 9.4, 20.0):
        rows = np.array([[0.0], [distance]])
        got = pair_sums(rows, rates=[1.0], normalize=None, backend="native").exp_sums[0]
        truth = math.exp(-(distance**2))
        assert got == pytest.approx(truth, rel=2e-5 if distance > 5 else 1e-6, abs=2e-38)


@pytest.mark.parametrize("across", [False, True])
def test_rows_that_are_packed_a_stretch_at_a_time(across):
    """With so many features, a few hundred rows fill the memory for packed rows more than once."""
    random = np.random.default_rng(8)
    rows = random.normal(size=(420, 22_000)).astype(np.float32)
    rows[[3, 230, 410]] = rows[300] + 0.01 * rows[[4, 5, 6]]
    x, other = (rows[:200], rows[200:]) if across else (rows, None)
    got = pair_sums(
        x,
        other,
        rates=[0.5, 2.0],
        distances=True,
        measure="cosine",
        bins=40,
        threshold=0.9,
        examples=5,
        backend="native",
    )
    unit = rows.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    left, right = (np.arange(200), np.arange(200, 420)) if across else (np.arange(420), np.arange(420))
    cosine = unit[left] @ unit[right].T
    pairs = np.argwhere(np.ones_like(cosine) if across else np.triu(np.ones_like(cosine), 1))
    values = cosine[tuple(pairs.T)]
    assert got.exp_sums == pytest.approx([np.exp(-2 * t * (1 - values)).sum() for t in (0.5, 2.0)], rel=1e-6)
    assert got.distance_sum == pytest.approx(np.sqrt(2 - 2 * values).sum(), rel=1e-6)
    assert got.histogram.tolist() == np.histogram(values, bins=40, range=(-1, 1))[0].tolist()
    assert got.close == (values >= 0.9).sum() == (3 if across else 6)
    assert got.close_pairs.tolist() == pairs[values >= 0.9][:5].tolist()
    assert got.nearest[:2] == tuple(pairs[values.argmax()].tolist())


def test_bad_rows_at_the_end_are_found_before_the_first_product():
    rows = np.random.default_rng(9).normal(size=(1000, 16)).astype(np.float32)
    rows[-1, 3] = np.nan
    module = _native.module()
    module.watch_stages(True)
    try:
        with pytest.raises(NonFiniteError, match="1 NaN or infinite entries, the first in row 999"):
            pair_sums(rows, backend="native")
        _, product, _ = module.stage_seconds()
    finally:
        module.watch_stages(False)
    assert product == 0.0


def test_many_rows_of_few_features_take_little_memory():
    """600,000 rows of one feature make 4.9 million tasks: 392 MB, were all listed."""
    code = """
import resource
import numpy as np
from featdiv.ops.pair_sums import pair_sums

def stop(done, total):
    raise KeyboardInterrupt

x = np.arange(600_000, dtype=np.float32)[:, None]
pair_sums(x[:100], normalize=None, backend="native")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    pair_sums(x, normalize=None, backend="native", progress=stop)
except KeyboardInterrupt:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    if sys.platform != "linux":
        pytest.skip("counts kilobytes on Linux alone")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 100 << 10
