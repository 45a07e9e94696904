"""Who competes: the op's backends, and FAISS."""

from __future__ import annotations

import functools
from typing import Any

from harness.registry import Answer, Contender, Data
from suites import resident
from suites.topk import reference

FAISS = "faiss.knn"


def _load(data: Data) -> Any:
    rows = resident.float32(data)
    return rows, rows[: reference.queries_of(data)]


def _featdiv(job: Any, *, k: int, backend: str) -> Any:
    from featdiv.ops.topk import topk

    rows, queries = job
    found = topk(queries, rows, k=k, measure="inner", backend=backend)
    return found.values, found.indices


def _faiss(job: Any, *, k: int) -> Any:
    import faiss

    rows, queries = job
    return faiss.knn(queries, rows, k, faiss.METRIC_INNER_PRODUCT)


def _of_tables(data: Data, tables: Any) -> Answer:
    values, indices = tables
    return {"values": values, "true_values": reference.true_values(data, indices)}


def contenders(k: int) -> tuple[Contender, ...]:
    """Returns who searches for k neighbours."""
    own = tuple(
        Contender(
            name=f"featdiv.topk {backend}",
            run=functools.partial(_featdiv, k=k, backend=backend),
            answer=_of_tables,
            accuracy="float32" if backend == "native" else "plain float32",
            load=_load,
            streams=True,
            peer=False,
        )
        for backend in ("native", "numpy", "torch")
    )
    peer = Contender(
        name=FAISS,
        run=functools.partial(_faiss, k=k),
        answer=_of_tables,
        accuracy="plain float32",
        load=_load,
        requires=("faiss",),
        streams=True,
    )
    return (*own, peer)
