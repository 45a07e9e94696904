"""Who competes: the op's backends, and blocks of products in torch, reduced before the next block is made."""

from __future__ import annotations

import functools
import math
from typing import Any

from harness.registry import Answer, Contender, Data
from suites import resident
from suites.pair_sums.reference import BINS

BLOCKED = "blocked torch"
BLOCKED_GPU = "chunked torch on the GPU"
_BLOCK_ROWS = {"cpu": 2048, "cuda": 16384}


def _torch_rows(data: Data) -> Any:
    import torch

    return torch.from_numpy(resident.float32(data))


def _blocks(rows: Any) -> Any:
    step = _BLOCK_ROWS[rows.device.type]
    for i in range(0, len(rows), step):
        for j in range(i, len(rows), step):
            yield rows[i : i + step], rows[j : j + step], i == j


def _own(task: str, backend: str, *, gpu: bool = False, accuracy: str = "float32", **arguments: Any) -> Contender:
    return Contender(
        name=" ".join(["featdiv.pair_sums", backend, *([arguments["precision"]] if "precision" in arguments else [])]),
        run=functools.partial(_featdiv, backend=backend, **arguments),
        answer=_ANSWERS[task],
        accuracy=accuracy,
        load=resident.on_gpu if gpu else resident.float32,
        gpu=gpu,
        requires=("triton",) if backend == "triton" else (),
        streams=True,
        peer=False,
    )


def _featdiv(rows: Any, **arguments: Any) -> Any:
    from featdiv.ops.pair_sums import pair_sums

    return pair_sums(rows, **arguments)


def _blocked_uniformity(rows: Any) -> Any:
    import torch

    unit = torch.nn.functional.normalize(rows)
    total = 0.0
    for left, right, diagonal in _blocks(unit):
        terms = (left @ right.T).mul_(4.0).sub_(4.0).exp_()
        total += float((terms.triu_(1) if diagonal else terms).sum(dtype=torch.float64))
    return total


def _blocked_histogram(rows: Any) -> Any:
    import torch

    unit = torch.nn.functional.normalize(rows)
    counts = torch.zeros(BINS, dtype=torch.float64)
    for left, right, diagonal in _blocks(unit):
        products = left @ right.T
        if diagonal:
            above = torch.ones_like(products, dtype=torch.bool).triu_(1)
            products = products[above]
        counts += torch.histc(products, BINS, -1.0, 1.0).double()
    return counts.long().numpy()


def _blocked_distances(rows: Any) -> Any:
    import torch

    total = 0.0
    for left, right, diagonal in _blocks(rows - rows.mean(dim=0)):
        found = torch.cdist(left, right)
        total += float((found.triu_(1) if diagonal else found).sum(dtype=torch.float64))
    return total


def _pairs(data: Data) -> float:
    return data.n * (data.n - 1) / 2


def _of_uniformity(data: Data, found: Any) -> Answer:
    total = found if isinstance(found, float) else float(found.exp_sums[0])
    return {"score": math.log(total / _pairs(data))}


def _of_histogram(data: Data, found: Any) -> Answer:
    return {"counts": found.histogram if hasattr(found, "histogram") else found}


def _of_distances(data: Data, found: Any) -> Answer:
    return {"score": (found if isinstance(found, float) else float(found.distance_sum)) / _pairs(data)}


_ANSWERS = {"uniformity": _of_uniformity, "histogram": _of_histogram, "distances": _of_distances}


def _peer(name: str, run: Any, task: str, *, gpu: bool = False) -> Contender:
    return Contender(
        name=name,
        run=run,
        answer=_ANSWERS[task],
        accuracy="plain float32",
        load=resident.on_gpu if gpu else _torch_rows,
        gpu=gpu,
        requires=("torch",),
        streams=True,
    )


UNIFORMITY = (
    _own("uniformity", "native", precision="mixed"),
    _own("uniformity", "native"),
    _peer(BLOCKED, _blocked_uniformity, "uniformity"),
)
BACKENDS = (_own("uniformity", "torch"), *UNIFORMITY)
_COUNTED: dict[str, Any] = {"measure": "cosine", "bins": BINS, "rates": (), "accuracy": "counts of float64"}
HISTOGRAM = (
    _own("histogram", "native", **_COUNTED),
    _peer(BLOCKED, _blocked_histogram, "histogram"),
)
_SUMMED: dict[str, Any] = {"distances": True, "rates": (), "normalize": None}
DISTANCES = (
    _own("distances", "native", **_SUMMED),
    _peer(BLOCKED, _blocked_distances, "distances"),
)
GPU = (
    _own("uniformity", "triton", gpu=True),
    _own("uniformity", "torch", gpu=True),
    _peer(BLOCKED_GPU, _blocked_uniformity, "uniformity", gpu=True),
)
