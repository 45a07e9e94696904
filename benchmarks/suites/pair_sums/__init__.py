"""The pair_sums op against blocked products in torch."""

from __future__ import annotations

import dataclasses

from harness.registry import Data, Suite, Target, Workload
from harness.roofline import Work
from suites.pair_sums import contenders, data, reference
from suites.spectrum import blas_rate


def operations(job: Data) -> float:
    """One product of every pair of rows."""
    return float(job.n) * (job.n - 1) * job.d


def work(job: Data) -> Work:
    """The products in float32; the rows once."""
    return Work(operations=operations(job), bytes=4.0 * job.n * job.d)


def work_of_exponentials(job: Data) -> Work:
    """As `work`, where rows rounded at random will do: three products of two terms each, or one of bytes."""
    return dataclasses.replace(work(job), tile_products=3, integer_products=1)


def work_on_gpu(job: Data) -> Work:
    """Six products of bfloat16 parts stand for one of float32."""
    return Work(operations=6 * operations(job), bytes=4.0 * job.n * job.d, unit="bfloat16")


SUITE = Suite(
    op="pair_sums",
    workloads=(
        Workload(
            name="uniformity",
            summary="log of the mean of exp(-2 |x - y|^2) over all pairs of 58,691 x 384 sentence embeddings",
            make=data.minilm,
            contenders=contenders.UNIFORMITY,
            reference=reference.uniformity,
            operations=operations,
            work=work_of_exponentials,
            targets=(
                Target(contender="featdiv.pair_sums native mixed", figure="ratio", limit=1 / 5, to=contenders.BLOCKED),
                # Nothing of n x n, nor of n x d: a fixed amount of packed rows, and a few numbers a row.
                Target(contender="featdiv.pair_sums native", figure="peak_private_bytes", limit=130e6),
            ),
        ),
        Workload(
            name="backends",
            summary="log of the mean of exp(-2 |x - y|^2) over all pairs of 20,000 x 384 sentence embeddings",
            make=data.minilm_20k,
            contenders=contenders.BACKENDS,
            reference=reference.uniformity,
            operations=operations,
            work=work,
        ),
        Workload(
            name="histogram",
            summary="histogram of the cosines of all pairs of 20,000 x 384 sentence embeddings, 64 bins",
            make=data.minilm_20k,
            contenders=contenders.HISTOGRAM,
            reference=reference.histogram,
            operations=operations,
            work=work,
        ),
        Workload(
            name="distances",
            summary="mean distance over all pairs of 20,000 x 384 sentence embeddings",
            make=data.minilm_20k,
            contenders=contenders.DISTANCES,
            reference=reference.distances,
            operations=operations,
            work=work,
        ),
        Workload(
            name="uniformity-gpu",
            summary="log of the mean of exp(-2 |x - y|^2) over all pairs of 200,000 x 768 rows in the memory of a GPU",
            make=data.rows_for_gpu,
            contenders=contenders.GPU,
            reference=reference.uniformity,
            operations=operations,
            work=work_on_gpu,
            targets=(
                Target(contender="featdiv.pair_sums triton", figure="ratio", limit=1 / 4, to=contenders.BLOCKED_GPU),
            ),
        ),
    ),
    tables=(),
    errors=reference.errors,
    # The score is relative; of a histogram, the pairs that stand in another bin over all pairs.
    accuracy={"float32": {"score": 1e-6}, "counts of float64": {"score": 0.0}, "plain float32": {"score": 1e-4}},
    rate=blas_rate,
    prime=data.primer,
    baselines=(contenders.BLOCKED, contenders.BLOCKED_GPU),
)
