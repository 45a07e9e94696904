"""The cross_gram op against NumPy's product and sums of the same rows."""

from __future__ import annotations

import dataclasses

from harness.registry import Data, Suite, Target, Workload
from harness.roofline import Work
from suites.cross_gram import contenders, reference
from suites.scatter import data
from suites.spectrum import blas_rate


def operations(job: Data) -> float:
    """One product of the two halves of the features."""
    left = job.d // 2
    return 2.0 * job.n * left * (job.d - left)


def work(job: Data) -> Work:
    """The product in float32, and the rows once."""
    return Work(operations=operations(job), bytes=4.0 * job.n * job.d, tile_products=6)


def work_on_gpu(job: Data) -> Work:
    """Six products of bfloat16 parts stand for one of float32."""
    return dataclasses.replace(work(job), operations=6 * operations(job), unit="bfloat16")


SUITE = Suite(
    op="cross_gram",
    workloads=(
        Workload(
            name="cross-384x384",
            summary="two sets of 384 float32 features of 200,000 rows, with the norm-weighted sums",
            make=data.rows,
            contenders=contenders.CONTENDERS,
            reference=reference.of_halves,
            operations=operations,
            work=work,
            targets=(Target(contender="featdiv.cross_gram native", figure="ratio", limit=1.0, to=contenders.NUMPY),),
        ),
        Workload(
            name="cross-gpu",
            summary="two sets of 384 float32 features of 1,000,000 rows on a GPU, with the norm-weighted sums",
            make=data.rows_for_gpu,
            contenders=contenders.GPU,
            reference=reference.of_halves,
            operations=operations,
            work=work_on_gpu,
        ),
    ),
    tables=(),
    errors=reference.errors,
    # Frobenius norm, and entries, over the sizes of what is multiplied; norm-weighted sums over their largest entry.
    accuracy={
        "float32": {"frobenius": 1e-6, "entrywise": 1e-6, "weighted": 1e-6},
        "plain float32": {"frobenius": 1e-4, "entrywise": 1e-4, "weighted": 1e-4},
    },
    rate=blas_rate,
    prime=data.primer,
    baselines=(contenders.NUMPY, contenders.TORCH_GPU),
)
