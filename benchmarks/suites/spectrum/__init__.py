"""`featdiv.spectrum` against the bare product and against what people use today."""

from __future__ import annotations

import time

import numpy as np

from harness.registry import Data, Suite, Table, Target, Workload
from harness.roofline import Work
from suites.spectrum import contenders, data, reference, tables

_RATE_ROWS = 4096
_RATE_SECONDS = 0.3


def operations(job: Data) -> float:
    """One triangle of X^T X: n d (d + 1), whatever a contender really spends."""
    return float(job.n) * job.d * (job.d + 1)


def work(job: Data) -> Work:
    """One triangle of the product in float32, and the file once."""
    return Work(operations=operations(job), bytes=float(job.n) * job.d * np.dtype(job.dtype).itemsize)


def blas_rate(job: Data) -> float:
    """Operations a second of NumPy's X^T X, a symmetric product in BLAS, on float32 rows that stay in cache."""
    x = np.random.default_rng(0).standard_normal((_RATE_ROWS, job.d), dtype=np.float32)
    best, until = float("inf"), time.perf_counter() + _RATE_SECONDS
    while time.perf_counter() < until:
        start = time.perf_counter()
        x.T @ x
        best = min(best, time.perf_counter() - start)
    return _RATE_ROWS * job.d * (job.d + 1) / best


SUITE = Suite(
    op="spectrum",
    workloads=(
        Workload(
            name="minilm",
            summary="sentence embeddings, float16 file",
            make=data.minilm,
            contenders=contenders.CONTENDERS,
            reference=reference.spectrum,
            operations=operations,
            work=work,
        ),
        Workload(
            name="npy-200k",
            summary="200,000 x 768 float32 file, standard deviations i^-0.75",
            make=data.npy_200k,
            contenders=contenders.CONTENDERS,
            reference=reference.spectrum,
            operations=operations,
            work=work,
        ),
        Workload(
            name="npy-1m",
            summary="1,000,000 x 768 float32 file of 3 GB, standard deviations i^-0.75",
            make=data.npy_1m,
            contenders=contenders.CONTENDERS,
            reference=reference.spectrum,
            operations=operations,
            work=work,
            targets=(
                Target(contender="featdiv.spectrum", figure="ratio", limit=1.35, to="bare product"),
                Target(contender="featdiv.spectrum", figure="peak_private_bytes", limit=600e6),
            ),
        ),
        Workload(
            name="classes-1000",
            summary="one spectrum for each of 1,000 classes, 200,000 x 128 float32 file",
            make=data.classes_1000,
            contenders=contenders.PER_CLASS,
            reference=reference.spectra_by_class,
            operations=operations,
            work=work,
        ),
    ),
    tables=(
        Table(
            name="accuracy",
            summary="errors against float64 on inputs that are hard for float32",
            run=tables.accuracy,
        ),
        Table(
            name="offset",
            summary="errors against float64 where means are far larger than standard deviations",
            run=tables.offset,
        ),
    ),
    errors=reference.errors,
    # Eigenvalues relative to the largest one. "float32" is what featdiv promises of its default precision, "plain
    # float32" what arithmetic in float32 without further care gives on well-behaved rows, "leading" what a
    # randomised method gives of a slowly decaying spectrum.
    accuracy={
        "float64": {"eigenvalues": 1e-12, "effective rank": 1e-8},
        "float32": {"eigenvalues": 1e-6, "effective rank": 1e-5},
        "plain float32": {"eigenvalues": 1e-4, "effective rank": 1e-3},
        "leading": {"eigenvalues": 5e-2},
    },
    rate=blas_rate,
    prime=data.primer,
    baselines=("featdiv.spectrum", "bare product"),
)
