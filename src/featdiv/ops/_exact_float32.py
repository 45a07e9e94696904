"""Products in true float32: torch must not use TF32 or bfloat16 for them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """Switches TF32 on a GPU and bfloat16 paths on a CPU off, whatever the user's global setting, and restores it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
