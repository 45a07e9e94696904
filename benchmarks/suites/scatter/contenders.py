"""Who competes: the op's backends, and the products that people write today."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from harness.registry import Answer, Contender, Data
from suites import resident

NUMPY = "NumPy X.T @ X"
TORCH_GPU = "torch X.T @ X, float32"


def _featdiv(rows: Any, *, backend: str, precision: str) -> Any:
    from featdiv.ops.scatter import Sums, scatter

    device = "cpu" if isinstance(rows, np.ndarray) else str(rows.device)
    sums = Sums.zeros(int(rows.shape[1]), device=device)
    scatter(rows, sums, precision=precision, backend=backend)
    return resident.waited(sums)


def _numpy(rows: Any) -> Any:
    return rows.T @ rows


def _torch(rows: Any) -> Any:
    return resident.waited(rows.T @ rows)


def _torch_rows(data: Data) -> Any:
    import torch

    return torch.from_numpy(resident.float32(data))


def _of_sums(data: Data, sums: Any) -> Answer:
    return {
        "gram": sums.symmetric_gram(),
        "notes": [f"{sums.tiles} tiles, {sums.tiles_in_float64} of them repeated in float64"],
    }


def _of_product(data: Data, product: Any) -> Answer:
    return {"gram": resident.on_host(product.double() if hasattr(product, "double") else product)}


def own(backend: str, precision: str = "float32", load: Any = resident.float32, *, gpu: bool = False) -> Contender:
    """Returns one backend of the op, to an accuracy."""
    return Contender(
        name=f"featdiv.scatter {backend}" + (f" {precision}" if gpu and precision != "float32" else ""),
        run=functools.partial(_featdiv, backend=backend, precision=precision),
        answer=_of_sums,
        accuracy=precision,
        load=load,
        gpu=gpu,
        requires=("triton",) if backend == "triton" else (),
        streams=True,
        peer=False,
    )


_SSYRK = Contender(
    name=NUMPY, run=_numpy, answer=_of_product, accuracy="plain float32", load=resident.float32, streams=True
)
_TORCH = Contender(
    name="torch X.T @ X",
    run=_torch,
    answer=_of_product,
    accuracy="plain float32",
    load=_torch_rows,
    requires=("torch",),
    streams=True,
)
FLOAT32 = (own("native"), own("numpy"), own("torch"), _SSYRK, _TORCH)
MIXED = (own("native", "mixed"), own("numpy", "mixed"), own("torch", "mixed"), _SSYRK)
# NumPy has no bfloat16, and multiplies float16 without BLAS: the baseline is the product of float32 rows, whose
# accuracy is judged against those rows too, and so against rounded ones only roughly.
_ROUNDED = Contender(
    name=NUMPY, run=_numpy, answer=_of_product, accuracy="bfloat16", load=resident.float32, streams=True
)
BFLOAT16 = (own("native", load=resident.bfloat16), own("torch", load=resident.bfloat16), _ROUNDED)
FLOAT16 = (
    own("native", load=resident.float16),
    own("numpy", load=resident.float16),
    own("torch", load=resident.float16),
    _ROUNDED,
)
GPU = (
    own("triton", load=resident.on_gpu, gpu=True),
    own("triton", "mixed", load=resident.on_gpu, gpu=True),
    own("torch", load=resident.on_gpu, gpu=True),
    Contender(
        name=TORCH_GPU,
        run=_torch,
        answer=_of_product,
        accuracy="plain float32",
        load=resident.on_gpu,
        gpu=True,
        streams=True,
    ),
)
