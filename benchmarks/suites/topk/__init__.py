"""The topk op against FAISS, 4,096 queries against every row; `knn` has all of the test rows for queries."""

from __future__ import annotations

from harness.registry import Data, Suite, Target, Workload
from harness.roofline import Work
from suites.pair_sums import data
from suites.spectrum import blas_rate
from suites.topk import contenders, reference


def operations(job: Data) -> float:
    """One product of every query with every row."""
    return 2.0 * reference.queries_of(job) * job.n * job.d


def work(job: Data) -> Work:
    """The products in float32, or of 16-bit integers to choose candidates by, worth two of bytes; the rows once."""
    return Work(operations=operations(job), bytes=4.0 * job.n * job.d, integer_products=2)


SUITE = Suite(
    op="topk",
    workloads=tuple(
        Workload(
            name=f"inner-k{k}",
            summary=f"{k} nearest of 58,691 x 384 sentence embeddings for 4,096 of them, by inner product",
            make=data.minilm,
            contenders=contenders.contenders(k),
            reference=reference.nearest(k),
            operations=operations,
            work=work,
            targets=(Target(contender="featdiv.topk native", figure="ratio", limit=1.2, to=contenders.FAISS),),
        )
        for k in (20, 200)
    ),
    tables=(),
    errors=reference.errors,
    # Values over the largest one; and the share of rows found whose true value is below that of the true k-th by more
    # than float32 can tell.
    accuracy={
        "float32": {"value": 1e-6, "missed": 0.0},
        "plain float32": {"value": 5e-6, "missed": 1e-3},
    },
    rate=blas_rate,
    prime=data.primer,
    baselines=(contenders.FAISS,),
)
