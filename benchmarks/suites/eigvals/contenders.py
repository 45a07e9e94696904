"""Who competes: the op's backends, and the solvers that they stand on or compete with."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from harness.registry import Answer, Contender, Data
from suites import resident

NUMPY = "np.linalg.eigvalsh"
TORCH_GPU = "torch.linalg.eigvalsh on the GPU"


def _load(data: Data) -> Any:
    return np.load(data.path)


def _load_torch(data: Data) -> Any:
    import torch

    return torch.from_numpy(np.load(data.path))


def _load_gpu(data: Data) -> Any:
    return _load_torch(data).cuda()


def _featdiv(matrices: Any, *, backend: str) -> Any:
    from featdiv.ops.eigvals_batched import eigvals_batched

    return eigvals_batched(matrices, backend=backend).values


def _numpy(matrices: Any) -> Any:
    return np.linalg.eigvalsh(matrices)


def _torch(matrices: Any) -> Any:
    import torch

    return torch.linalg.eigvalsh(matrices).cpu().numpy()


def _of_values(data: Data, values: Any) -> Answer:
    return {"eigenvalues": resident.on_host(values)}


def _entry(name: str, run: Any, load: Any, **options: Any) -> Contender:
    return Contender(name=name, run=run, answer=_of_values, accuracy="float64", load=load, streams=True, **options)


def _own(backend: str, load: Any, **options: Any) -> Contender:
    run = functools.partial(_featdiv, backend=backend)
    return _entry(f"featdiv.eigvals_batched {backend}", run, load, peer=False, **options)


CPU = (
    _own("numpy", _load),
    _own("torch", _load),
    _entry(NUMPY, _numpy, _load),
    _entry("torch.linalg.eigvalsh", _torch, _load_torch, requires=("torch",)),
)
GPU = (
    _own("cuda", _load_gpu, gpu=True, requires=("cupy",)),
    _own("torch", _load_gpu, gpu=True),
    _entry(TORCH_GPU, _torch, _load_gpu, gpu=True),
)
