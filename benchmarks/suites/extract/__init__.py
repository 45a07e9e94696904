"""`featdiv.extract` against the bare forward pass of the same network on batches that are tensors already."""

from __future__ import annotations

import time

import numpy as np

from harness.registry import Answer, Data, Suite, Target, Workload
from suites.extract import contenders, data

_RATE_SECONDS = 0.3
_RATE_SIDE = 1024
_RESNET18_AT_224 = 3.64e9
"""Operations of resnet18 on one image of 224 x 224: two for each of 1.82e9 multiply-adds."""


def operations(job: Data) -> float:
    """Of the network alone, whatever a contender really does."""
    return job.n * _RESNET18_AT_224 * (data.SIDE / 224) ** 2


def product_rate(job: Data) -> float:
    """Operations a second of torch's float32 product of square matrices that stay in cache."""
    import torch

    x = torch.ones(_RATE_SIDE, _RATE_SIDE)
    best, until = float("inf"), time.perf_counter() + _RATE_SECONDS
    while time.perf_counter() < until:
        start = time.perf_counter()
        x @ x
        best = min(best, time.perf_counter() - start)
    return 2 * _RATE_SIDE**3 / best


def errors(answer: Answer, reference: Answer) -> dict[str, float]:
    """Largest difference of features, or of their mean, over the largest value."""
    return {
        name: float(np.abs(np.asarray(answer[name]) - reference[name]).max() / np.abs(reference[name]).max())
        for name in ("features", "mean")
        if name in answer
    }


SUITE = Suite(
    op="extract",
    workloads=(
        Workload(
            name="resnet18",
            summary=f"penultimate features of JPEG images of {data.SIDE} x {data.SIDE}, random weights",
            make=data.photographs,
            contenders=contenders.CONTENDERS,
            reference=contenders.reference,
            operations=operations,
            targets=(
                # For hashing, writing and moments.
                Target(contender="featdiv.extract, tensors", figure="ratio", limit=1.05, to=contenders.BARE),
                Target(contender="featdiv.extract, moments", figure="ratio", limit=1.05, to=contenders.BARE),
            ),
        ),
        Workload(
            name="decoding",
            summary=f"the same from JPEG files of {data.SIDE} x {data.SIDE}: a core for the network, one for a worker",
            make=data.photographs,
            contenders=contenders.DECODING,
            reference=contenders.reference,
            operations=operations,
            # At least 95 % of the bare throughput.
            targets=(Target(contender="featdiv.extract, JPEG", figure="ratio", limit=1.052, to=contenders.BARE_ONE),),
        ),
    ),
    tables=(),
    errors=errors,
    accuracy={"rows": {"features": 1e-4}, "moments": {"mean": 1e-4}},
    rate=product_rate,
    prime=data.primer,
    baselines=(contenders.BARE, contenders.BARE_ONE),
)
