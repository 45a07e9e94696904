"""topk through torch, on the CPU or on a GPU: blocks of products, each merged into the best so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from featdiv.ops._dispatch import Request
from featdiv.ops._exact_float32 import exact_float32
from featdiv.ops.scatter import torch_ as scatter_torch
from featdiv.ops.topk import Nearest

if TYPE_CHECKING:
    Rows = npt.NDArray[Any] | torch.Tensor

_BLOCK_ENTRIES = {"cpu": 1 << 22, "other": 1 << 26}
_QUERY_ROWS = 4096
_LOW = 0xFFFFFFFF


def unsupported_reason(request: Request) -> str | None:
    """Returns why torch cannot run the request."""
    return scatter_torch.unsupported_reason(request)


def topk(queries: Rows, gallery: Rows, *, k: int, measure: str) -> Nearest:
    """Returns the nearest rows; see `featdiv.ops.topk.topk`."""
    left, right = scatter_torch.as_tensor(queries), scatter_torch.as_tensor(gallery)
    n = len(right)
    entries = _BLOCK_ENTRIES["cpu" if right.device.type == "cpu" else "other"]
    rows = min(_QUERY_ROWS, len(left))
    tile_rows = max(k, entries // rows)
    values, indices = [], []
    with exact_float32():
        for start in range(0, len(left), rows):
            block = left[start : start + rows].float()
            best: torch.Tensor | None = None
            for first in range(0, n, tile_rows):
                nearness = _nearness(block, right[first : first + tile_rows].float(), measure)
                places = torch.arange(first, first + nearness.shape[1], device=nearness.device)
                keys = ordered_keys(nearness, places)
                keys = keys.topk(min(k, keys.shape[1]), dim=1, sorted=False).values
                if best is not None:
                    keys = torch.cat([best, keys], dim=1)
                    keys = keys.topk(min(k, keys.shape[1]), dim=1, sorted=False).values
                best = keys
            assert best is not None
            nearness, found = unpacked(best.sort(dim=1, descending=True).values)
            values.append((nearness if measure == "inner" else (-nearness).clamp_min(0.0)).cpu().numpy())
            indices.append(found.cpu().numpy())
    return Nearest(values=np.concatenate(values), indices=np.concatenate(indices))


def _nearness(block: torch.Tensor, tile: torch.Tensor, measure: str) -> torch.Tensor:
    """Returns the (b, g) inner products, or negative squared distances, of two blocks of rows."""
    products = block @ tile.T
    if measure == "inner":
        return products
    products.mul_(2.0).sub_(block.square().sum(dim=1)[:, None]).sub_(tile.square().sum(dim=1))
    return products.clamp_max_(0.0)


def ordered_keys(nearness: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Returns integers that order candidates: the nearer is larger, and of two equal ones the one of lower index."""
    bits = (nearness + 0.0).view(torch.int32)  # adding zero turns -0.0 into 0.0
    ordered = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long()
    return (ordered << 32) | (_LOW - places)


def unpacked(keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns (nearness, places) of what `ordered_keys` made."""
    ordered = (keys >> 32).int()
    bits = ordered ^ ((ordered >> 31) & 0x7FFFFFFF)
    return bits.view(torch.float32), _LOW - (keys & _LOW)
