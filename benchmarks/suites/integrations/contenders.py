"""Who competes: a training loop, and the same loop with the moments of its pooled features kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from harness.registry import Answer, Contender, Data
from suites.integrations.data import BATCH, side


def _losses(job: Data, dtype: Any, watched: Callable[[Any], contextlib.AbstractContextManager[Any]]) -> list[float]:
    import torch

    from featdiv.backbones import load_model

    torch.manual_seed(0)
    network: Any = load_model("resnet50", pretrained=False).module.to(dtype).train().requires_grad_(True)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
    images = torch.from_numpy(np.load(job.path, mmap_mode="c")[: job.n]).reshape(-1, 3, side(job), side(job))
    labels = torch.from_numpy(np.load(str(job.labels))[: job.n])
    losses = []
    with watched(network):
        for batch, targets in zip(images.split(BATCH), labels.split(BATCH), strict=True):
            optimizer.zero_grad(set_to_none=True)
            loss = torch.nn.functional.cross_entropy(network(batch.to(dtype)), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
    return [float(loss) for loss in losses]


@contextlib.contextmanager
def _watching(network: Any) -> Iterator[None]:
    from featdiv.integrations.layers import LayerWatcher

    watcher = LayerWatcher(function="benchmark", layer="global_pool")
    handle = watcher.attach(network)
    yield
    # What waits in the buffer is part of the cost of these steps.
    watcher.flush()
    handle.remove()


def reference(job: Data) -> Answer:
    """Returns the losses of the loop alone in float64."""
    import torch

    return {"losses": _losses(job, torch.float64, contextlib.nullcontext)}


def bare_training(job: Data) -> Any:
    """The loop alone."""
    import torch

    return _losses(job, torch.float32, contextlib.nullcontext)


def watched_training(job: Data) -> Any:
    """The loop with every batch added to the moments. Scores are read once an epoch, not timed."""
    import torch

    return _losses(job, torch.float32, _watching)


def _answer(job: Data, losses: Any) -> Answer:
    return {"losses": losses}


CONTENDERS = (
    Contender(
        name="watched training", run=watched_training, answer=_answer, accuracy="float32", streams=True, peer=False
    ),
    Contender(name="bare training", run=bare_training, answer=_answer, accuracy="float32", streams=True, peer=False),
)
