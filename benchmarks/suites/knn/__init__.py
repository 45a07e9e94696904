"""`Neighbours.of` and `featdiv.knn_probe` against bare FAISS and scikit-learn."""

from __future__ import annotations

import functools

from harness.registry import Suite, Target, Workload
from suites.knn import contenders, data, reference
from suites.spectrum import blas_rate

_ROOM = 300e6

SUITE = Suite(
    op="knn",
    workloads=(
        *(
            Workload(
                name=f"search-k{k}",
                summary=f"{k} nearest of 46,953 x 384 sentence embeddings by cosine, for the other 11,738",
                make=data.minilm,
                contenders=contenders.search(k),
                reference=reference.nearest(k),
                operations=data.operations,
                work=data.work,
                targets=(Target(contender=contenders.NEIGHBOURS, figure="ratio", limit=1.1, to=contenders.FAISS),),
            )
            for k in (20, 200)
        ),
        Workload(
            name="probe",
            summary="kNN accuracy of 11,738 sentence embeddings, gallery 46,953 x 384, 20 classes; 7 k x 2 votes",
            make=data.minilm,
            contenders=contenders.PROBE,
            reference=reference.accuracies,
            operations=data.operations,
            work=data.work,
            targets=(
                # The largest k decides what the search costs; the other cells are to come for next to nothing.
                Target(contender=contenders.ALL, figure="ratio", limit=1.2, to=contenders.ONE_WIDE),
                Target(contender=contenders.ALL, figure="peak_private_bytes", limit=data.gallery_bytes() + _ROOM),
            ),
        ),
        Workload(
            name="probe-sklearn",
            summary="the same of 1,000 of them, against scikit-learn, which searches for every cell",
            make=data.minilm,
            contenders=contenders.AGAINST_SKLEARN,
            reference=functools.partial(reference.accuracies, most=contenders.SKLEARN_QUERIES),
            operations=functools.partial(data.operations, most=contenders.SKLEARN_QUERIES),
            work=functools.partial(data.work, most=contenders.SKLEARN_QUERIES),
            targets=(
                Target(contender=contenders.ONE, figure="ratio", limit=1 / 1.3, to=contenders.SKLEARN_ONE),
                Target(contender=contenders.ALL, figure="ratio", limit=1 / 10, to=contenders.SKLEARN_ALL),
            ),
        ),
    ),
    tables=(),
    errors=reference.errors,
    # Cosines; the share of neighbours whose true cosine is below that of the true k-th by more than float32 can tell;
    # accuracies of cells.
    accuracy={
        "float32": {"value": 1e-6, "missed": 0.0},
        "plain float32": {"value": 5e-6, "missed": 1e-3},
        "votes": {"accuracy": 3e-4},
    },
    rate=blas_rate,
    prime=data.primer,
    baselines=(contenders.FAISS, contenders.ONE, contenders.ONE_WIDE, contenders.SKLEARN_ONE, contenders.SKLEARN_ALL),
)
