"""What watching a layer adds to the training step of a ResNet-50."""

from __future__ import annotations

import numpy as np

from harness.registry import Answer, Data, Suite, Target, Workload
from suites.extract import product_rate
from suites.integrations import contenders, data

_RESNET50_AT_224 = 8.2e9
"""Operations of resnet50 on one image of 224 x 224: two for each of 4.1e9 multiply-adds."""


def operations(job: Data) -> float:
    """Of the network alone: forward, and twice that backward."""
    return 3.0 * job.n * _RESNET50_AT_224 * (data.side(job) / 224) ** 2


def errors(answer: Answer, reference: Answer) -> dict[str, float]:
    """Largest difference of the losses over their mean: watching must not change the training."""
    losses, truth = np.asarray(answer["losses"]), np.asarray(reference["losses"])
    return {"losses": float(np.abs(losses - truth).max() / np.abs(truth).mean())}


SUITE = Suite(
    op="integrations",
    workloads=(
        Workload(
            name="resnet50",
            summary="steps of SGD on batches of 32 images, the pooled features (d = 2,048) watched at every step",
            make=data.pictures,
            contenders=contenders.CONTENDERS,
            reference=contenders.reference,
            operations=operations,
            targets=(Target(contender="watched training", figure="ratio", limit=1.02, to="bare training"),),
        ),
    ),
    tables=(),
    errors=errors,
    accuracy={"float32": {"losses": 1e-3}},
    rate=product_rate,
    prime=data.primer,
    baselines=("bare training",),
)
