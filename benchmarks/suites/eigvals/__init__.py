"""The eigvals_batched op against the solvers of NumPy and torch."""

from __future__ import annotations

import time

import numpy as np

from harness.registry import Data, Suite, Target, Workload
from harness.roofline import Work
from suites.eigvals import contenders, data, reference

_RATE_SECONDS = 0.3


def operations(job: Data) -> float:
    """Reduction of every matrix to tridiagonal form, the larger part of the work."""
    return 4.0 / 3.0 * job.n * job.d**3


def work(job: Data) -> Work:
    """The reduction in float64; the matrices once."""
    return Work(operations=operations(job), bytes=8.0 * job.n * job.d**2, unit="float64")


def blas_rate(job: Data) -> float:
    """Operations a second of NumPy's float64 product of two matrices of this size, which stay in cache."""
    a = np.random.default_rng(0).standard_normal((job.d, job.d))
    best, until = float("inf"), time.perf_counter() + _RATE_SECONDS
    while time.perf_counter() < until:
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return 2.0 * job.d**3 / best


SUITE = Suite(
    op="eigvals_batched",
    workloads=(
        Workload(
            name="eigvals-4096x64",
            summary="eigenvalues of 4,096 matrices of 64 x 64, float64",
            make=data.many,
            contenders=contenders.CPU,
            reference=reference.eigenvalues,
            operations=operations,
            work=work,
        ),
        Workload(
            name="eigvals-1x1024",
            summary="eigenvalues of one matrix of 1,024 x 1,024, float64",
            make=data.one,
            contenders=contenders.CPU,
            reference=reference.eigenvalues,
            operations=operations,
            work=work,
        ),
        Workload(
            name="eigvals-gpu",
            summary="eigenvalues of 4,096 matrices of 64 x 64, float64, in the memory of a GPU",
            make=data.many_for_gpu,
            contenders=contenders.GPU,
            reference=reference.eigenvalues,
            operations=operations,
            targets=(
                Target(contender="featdiv.eigvals_batched cuda", figure="ratio", limit=1 / 5, to=contenders.TORCH_GPU),
            ),
        ),
    ),
    tables=(),
    errors=reference.errors,
    # The worst eigenvalue of any matrix, over the largest of its matrix.
    accuracy={"float64": {"eigenvalues": 1e-12}},
    rate=blas_rate,
    prime=data.primer,
    baselines=(contenders.NUMPY, contenders.TORCH_GPU),
)
