"""Who competes: the op's backends, and the product and sums that people write today."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from harness.registry import Answer, Contender, Data
from suites.cross_gram import reference

NUMPY = "NumPy X.T @ Y and norm sums"


def _featdiv(job: Any, *, backend: str) -> Any:
    from featdiv.ops.cross_gram import CrossSums, cross_gram

    x, y = job
    sums = CrossSums.zeros(x.shape[1], y.shape[1], norm_sums=True)
    cross_gram(x, y, sums, backend=backend)
    return sums.gram, sums.weighted, sums.other_weighted, sums.fourth


def _numpy(job: Any) -> Any:
    x, y = job
    k, other_k = np.einsum("ij,ij->i", x, x), np.einsum("ij,ij->i", y, y)
    return x.T @ y, other_k @ x, k @ y, k @ other_k


def _of_sums(data: Data, sums: Any) -> Answer:
    return dict(zip(reference.NAMES, (np.asarray(value, dtype=np.float64) for value in sums), strict=True))


def _own(backend: str) -> Contender:
    return Contender(
        name=f"featdiv.cross_gram {backend}",
        run=functools.partial(_featdiv, backend=backend),
        answer=_of_sums,
        accuracy="float32",
        load=reference.halves,
        streams=True,
        peer=False,
    )


CONTENDERS = (
    _own("native"),
    _own("numpy"),
    _own("torch"),
    Contender(name=NUMPY, run=_numpy, answer=_of_sums, accuracy="plain float32", load=reference.halves, streams=True),
)
