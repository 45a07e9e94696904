"""Who competes: the bare forward pass as the limit, and featdiv from tensors, from JPEG files, and to moments alone.

Every contender makes the network first (the same few tenths of a second), and has the same batches and threads.
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.registry import Answer, Contender, Data
from suites.extract.data import SIDE, tensors

BARE, BARE_ONE = "bare forward", "bare forward, one thread"
BATCH = 32


def _network() -> Any:
    from featdiv.backbones import load_model

    return load_model("resnet18", pretrained=False)


def _tensors(job: Data) -> Any:
    import torch

    return torch.from_numpy(np.load(tensors(job), mmap_mode="c")[: job.n])


def _forward(job: Data, dtype: Any) -> npt.NDArray[Any]:
    import torch

    network: Any = _network().module.to(dtype)
    with torch.inference_mode():
        rows = [
            network.forward_head(network.forward_features(batch.to(dtype)), pre_logits=True)
            for batch in _tensors(job).split(BATCH)
        ]
    return torch.cat(rows).numpy()


def reference(job: Data) -> Answer:
    """Returns the features in float64."""
    import torch

    rows = _forward(job, torch.float64)
    return {"features": rows, "mean": rows.mean(axis=0)}


def bare_forward(job: Data) -> Any:
    """The network on batches that are tensors already."""
    import torch

    return _forward(job, torch.float32)


def _extract(job: Data, data: Any, **arguments: Any) -> Any:
    import featdiv

    with tempfile.TemporaryDirectory() as folder:
        features = featdiv.extract(_network(), data, out=folder, batch_size=BATCH, **arguments)
        if not features.stored:
            return features.moments.mean
        return np.array(features.take(np.arange(features.n)))


def from_tensors(job: Data) -> Any:
    """Hashing and writing, without decoding."""
    import torch

    dataset = torch.utils.data.TensorDataset(_tensors(job))
    return _extract(job, dataset, transform=None, workers=0)


def to_moments(job: Data) -> Any:
    """Hashing and moments, without decoding or rows on disk."""
    import torch

    dataset = torch.utils.data.TensorDataset(_tensors(job))
    return _extract(job, dataset, transform=None, workers=0, store=False)


def forward_on_one_thread(job: Data) -> Any:
    """The network on batches that are tensors already, on one core, as beside one that decodes."""
    import torch

    torch.set_num_threads(1)
    return _forward(job, torch.float32)


def from_jpeg(job: Data) -> Any:
    """With decoding: the network on one core, and one loader worker on another."""
    import multiprocessing

    import torch

    import featdiv

    torch.set_num_threads(1)
    # The harness spawns its processes, and they would spawn their own: seconds of imports that a user does not see.
    multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)
    data = featdiv.images(job.path)
    return _extract(job, data.subset(np.arange(job.n)), transform={"input_size": (3, SIDE, SIDE)}, workers=1)


def _rows(job: Data, rows: Any) -> Answer:
    return {"features": rows}


def _mean(job: Data, mean: Any) -> Answer:
    return {"mean": mean}


CONTENDERS = (
    Contender(
        name="featdiv.extract, tensors", run=from_tensors, answer=_rows, accuracy="rows", streams=True, peer=False
    ),
    Contender(
        name="featdiv.extract, moments", run=to_moments, answer=_mean, accuracy="moments", streams=True, peer=False
    ),
    Contender(name=BARE, run=bare_forward, answer=_rows, accuracy="rows", streams=True, peer=False),
)
DECODING = (
    Contender(name="featdiv.extract, JPEG", run=from_jpeg, answer=_rows, accuracy="rows", streams=True, peer=False),
    Contender(name=BARE_ONE, run=forward_on_one_thread, answer=_rows, accuracy="rows", streams=True, peer=False),
)
