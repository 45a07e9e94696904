"""Who competes: the op's backends, and the loop that people write today."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from harness.registry import Answer, Contender, Data
from suites import resident
from suites.class_scatter import reference

LOOP = "torch loop over sorted classes"
NARROW = "featdiv.class_scatter native, float32 scatters"
"""What writes the same bytes as the loop."""


def _featdiv(job: Any, **options: str) -> Any:
    from featdiv.ops.class_scatter import class_scatter

    rows, labels = job
    return class_scatter(rows, labels, classes=int(labels.max()) + 1, **options)


def _torch_job(data: Data) -> Any:
    import torch

    rows, labels = resident.labelled(data)
    return torch.from_numpy(rows), torch.from_numpy(labels)


def _loop(job: Any) -> Any:
    import torch

    rows, labels = job
    order = torch.argsort(labels, stable=True)
    counts = torch.bincount(labels).tolist()
    d = rows.shape[1]
    means, scatters = torch.empty(len(counts), d), torch.empty(len(counts), d, d)
    start = 0
    for label, count in enumerate(counts):
        part = rows[order[start : start + count]]
        means[label] = part.mean(dim=0)
        part -= means[label]
        torch.mm(part.T, part, out=scatters[label])
        start += count
    return means.numpy(), scatters.numpy()


def _of_sums(data: Data, sums: Any) -> Answer:
    return reference.judged(sums.means, sums.scatters)


def _of_pair(data: Data, pair: Any) -> Answer:
    return reference.judged(*(np.asarray(part) for part in pair))


def _own(backend: str, **options: str) -> Contender:
    return Contender(
        name=f"featdiv.class_scatter {backend}" + (", float32 scatters" if options else ""),
        run=functools.partial(_featdiv, backend=backend, **options),
        answer=_of_sums,
        accuracy="float32",
        load=resident.labelled,
        streams=True,
        peer=False,
    )


CONTENDERS = (
    _own("native"),
    _own("native", dtype="float32"),
    _own("numpy"),
    _own("torch"),
    Contender(
        name=LOOP,
        run=_loop,
        answer=_of_pair,
        accuracy="plain float32",
        load=_torch_job,
        requires=("torch",),
        streams=True,
    ),
)
