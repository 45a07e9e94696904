"""The class_scatter op against a loop over sorted classes in torch."""

from __future__ import annotations

from harness.registry import Data, Suite, Target, Workload
from harness.roofline import Work
from suites.class_scatter import contenders, data, reference
from suites.spectrum import blas_rate, operations


def work(job: Data) -> Work:
    """One triangle of every class; the rows once, and the scatters written in float64 once."""
    moved = 4.0 * job.n * job.d + 8.0 * data.classes(job) * job.d**2
    return Work(operations=operations(job), bytes=moved, tile_products=6)


SUITE = Suite(
    op="class_scatter",
    workloads=(
        Workload(
            name="classes-1000x256",
            summary="200,000 x 256 float32 rows in memory, 1,000 classes in no order",
            make=data.classes_1000,
            contenders=contenders.CONTENDERS,
            reference=reference.of_classes,
            operations=operations,
            work=work,
            targets=(
                Target(contender="featdiv.class_scatter native", figure="ratio", limit=1 / 3, to=contenders.LOOP),
                Target(contender=contenders.NARROW, figure="ratio", limit=1 / 3, to=contenders.LOOP),
            ),
        ),
    ),
    tables=(),
    errors=reference.errors,
    # The worst class: Frobenius norm of its scatter's error over that of the scatter; means over their largest entry.
    accuracy={"float32": {"scatter": 1e-6, "mean": 1e-6}, "plain float32": {"scatter": 1e-4, "mean": 1e-4}},
    rate=blas_rate,
    prime=data.primer,
    baselines=(contenders.LOOP,),
)
