"""Who competes: the op's backends, and the product and sums that people write today."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from harness.registry import Answer, Contender, Data
from suites import resident
from suites.cross_gram import reference

NUMPY = "NumPy X.T @ Y and norm sums"
TORCH_GPU = "torch X.T @ Y and norm sums, float32"


def _featdiv(job: Any, *, backend: str) -> Any:
    from featdiv.ops.cross_gram import CrossSums, cross_gram

    x, y = job
    device = "cpu" if isinstance(x, np.ndarray) else str(x.device)
    sums = CrossSums.zeros(x.shape[1], y.shape[1], norm_sums=True, device=device)
    cross_gram(x, y, sums, backend=backend)
    return resident.waited((sums.gram, sums.weighted, sums.other_weighted, sums.fourth))


def _numpy(job: Any) -> Any:
    x, y = job
    k, other_k = np.einsum("ij,ij->i", x, x), np.einsum("ij,ij->i", y, y)
    return x.T @ y, other_k @ x, k @ y, k @ other_k


def _torch(job: Any) -> Any:
    x, y = job
    k, other_k = x.square().sum(1), y.square().sum(1)
    return resident.waited((x.T @ y, other_k @ x, k @ y, k @ other_k))


def _of_sums(data: Data, sums: Any) -> Answer:
    values = (np.asarray(resident.on_host(value), dtype=np.float64) for value in sums)
    return dict(zip(reference.NAMES, values, strict=True))


def _own(backend: str, *, gpu: bool = False) -> Contender:
    return Contender(
        name=f"featdiv.cross_gram {backend}",
        run=functools.partial(_featdiv, backend=backend),
        answer=_of_sums,
        accuracy="float32",
        load=reference.halves_on_gpu if gpu else reference.halves,
        gpu=gpu,
        requires=("triton",) if backend == "triton" else (),
        streams=True,
        peer=False,
    )


CONTENDERS = (
    _own("native"),
    _own("numpy"),
    _own("torch"),
    Contender(name=NUMPY, run=_numpy, answer=_of_sums, accuracy="plain float32", load=reference.halves, streams=True),
)
GPU = (
    _own("triton", gpu=True),
    _own("cuda", gpu=True),
    _own("torch", gpu=True),
    Contender(
        name=TORCH_GPU,
        run=_torch,
        answer=_of_sums,
        accuracy="plain float32",
        load=reference.halves_on_gpu,
        gpu=True,
        streams=True,
    ),
)
