"""The scatter op against NumPy's symmetric product, for every element type and precision."""

from __future__ import annotations

import dataclasses

from harness import machine
from harness.registry import Data, Suite, Target, Workload
from harness.roofline import Work
from suites.scatter import contenders, data, reference
from suites.spectrum import blas_rate, operations

_AMX = machine.has_flag("amx_bf16")


def work(job: Data, itemsize: int = 4, tile_products: int | None = 6) -> Work:
    """One triangle of the product in float32, or as products of bfloat16, and the rows once."""
    moved = float(job.n) * job.d * itemsize
    return Work(operations=operations(job), bytes=moved, tile_products=tile_products)


def work_to_mixed(job: Data) -> Work:
    """As `work`, where two terms of bfloat16 will do."""
    return work(job, tile_products=3)


def work_of_bfloat16(job: Data) -> Work:
    """As `work`, for rows that bfloat16 holds."""
    return work(job, 2, 1)


def work_of_float16(job: Data) -> Work:
    """As `work`, for rows that two terms of bfloat16 hold."""
    return work(job, 2, 4)


def work_on_gpu(job: Data) -> Work:
    """Six products of bfloat16 parts stand for one of float32."""
    return dataclasses.replace(work(job, tile_products=None), operations=6 * operations(job), unit="bfloat16")


def faster(contender: str, factor: float) -> Target:
    """Returns the target for a product that is ``factor`` times as fast as NumPy's where the machine has AMX."""
    return Target(contender=contender, figure="ratio", limit=1 / (factor if _AMX else 0.95), to=contenders.NUMPY)


SUITE = Suite(
    op="scatter",
    workloads=(
        Workload(
            name="scatter-float32",
            summary="200,000 x 768 float32 rows in memory, to float32 accuracy",
            make=data.rows,
            contenders=contenders.FLOAT32,
            reference=reference.of_float32,
            operations=operations,
            work=work,
            targets=(faster("featdiv.scatter native", 1.7),),
        ),
        Workload(
            name="scatter-mixed",
            summary="200,000 x 768 float32 rows in memory, to an error of 2^-14",
            make=data.rows,
            contenders=contenders.MIXED,
            reference=reference.of_float32,
            operations=operations,
            work=work_to_mixed,
            targets=(faster("featdiv.scatter native", 3.0),),
        ),
        Workload(
            name="scatter-bfloat16",
            summary="200,000 x 768 bfloat16 rows in memory",
            make=data.rows,
            contenders=contenders.BFLOAT16,
            reference=reference.of_bfloat16,
            operations=operations,
            work=work_of_bfloat16,
            targets=(faster("featdiv.scatter native", 6.0),),
        ),
        Workload(
            name="scatter-float16",
            summary="200,000 x 768 float16 rows in memory",
            make=data.rows,
            contenders=contenders.FLOAT16,
            reference=reference.of_float16,
            operations=operations,
            work=work_of_float16,
            targets=(faster("featdiv.scatter native", 2.3),),
        ),
        Workload(
            name="scatter-gpu",
            summary="1,000,000 x 768 float32 rows in the memory of a GPU",
            make=data.rows_for_gpu,
            contenders=contenders.GPU,
            reference=reference.of_float32,
            operations=operations,
            work=work_on_gpu,
            targets=(Target(contender="featdiv.scatter triton", figure="ratio", limit=1 / 4, to=contenders.TORCH_GPU),),
        ),
    ),
    tables=(),
    errors=reference.errors,
    # Frobenius norm, and entries over sqrt(S_ii S_jj). The first three are what featdiv promises of a precision,
    # "plain float32" what a product in float32 without further care gives.
    accuracy={
        "float32": {"frobenius": 1e-6, "entrywise": 1e-6},
        "mixed": {"frobenius": 2.0**-14, "entrywise": 2.0**-14},
        "bfloat16": {"frobenius": 5e-3, "entrywise": 5e-3},
        "plain float32": {"frobenius": 1e-4, "entrywise": 1e-4},
    },
    rate=blas_rate,
    prime=data.primer,
    baselines=(contenders.NUMPY, contenders.TORCH_GPU),
)
