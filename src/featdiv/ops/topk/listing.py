"""The k nearest rows on a GPU: tensor cores list candidates, float64 decides among them.

The gallery passes in growing blocks. A kernel lists, for each query, the rows of a block that are nearer than the
last of the candidates so far; then the best of both are kept. A block as large as all before it adds about as many
candidates as are kept, so that lists stay short; a block with more than the lists hold is taken in parts.
Candidates are a few more than k, and their values are computed again in float64 before the k are taken.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from featdiv.ops.topk import Nearest
from featdiv.ops.topk.torch_ import ordered_keys, unpacked

SPARE = 8
"""Candidates beyond k, so that the rounding of tensor cores does not decide who is among the k."""

ROOM = 512
"""Room in a list, beyond four times the candidates that are kept."""

LIST_BYTES = 1 << 28
TILE = 64

_NOTHING = torch.iinfo(torch.int64).min


class Kernels(Protocol):
    """What a backend brings, for one set of queries and the gallery."""

    def list_nearer(
        self, thresholds: torch.Tensor, keys: torch.Tensor, counts: torch.Tensor, wide: int, start: int, stop: int
    ) -> None:
        """Appends keys of rows [start, stop) that are nearer than the thresholds, from column ``wide`` of keys on.

        Args:
            thresholds: (m,) float32.
            keys: (m, wide + capacity) int64; entries of `ordered_keys`, in any order.
            counts: (m,) int32, 0 before; how many were nearer, of which those beyond the capacity are lost.
            wide: candidates kept, which stand first.
            start: first row of the gallery, a multiple of `TILE`.
            stop: last row of the gallery, exclusive.
        """
        ...

    def measured(self, columns: torch.Tensor) -> torch.Tensor:
        """Returns (m, wide) float64 inner products, or squared distances, of each query and rows of the gallery."""
        ...


def capacity_of(wide: int) -> int:
    """Returns the room of a list that keeps ``wide`` candidates."""
    return -(-(4 * wide + ROOM) // TILE) * TILE


def queries_at_a_time(wide: int) -> int:
    """Returns how many queries have lists at a time, a multiple of `TILE`."""
    return max(1, LIST_BYTES // (8 * (wide + capacity_of(wide)) * TILE)) * TILE


def candidates(kernels: Kernels, m: int, n: int, wide: int, device: torch.device) -> torch.Tensor:
    """Returns the (m, wide) keys of the candidates, in any order."""
    capacity = capacity_of(wide)
    keys = torch.full((m, wide + capacity), _NOTHING, dtype=torch.int64, device=device)
    thresholds = torch.full((m,), -torch.inf, device=device)
    seen, step = 0, capacity
    while seen < n:
        stop = min(n, seen + step)
        counts = torch.zeros(m, dtype=torch.int32, device=device)
        kernels.list_nearer(thresholds, keys, counts, wide, seen, stop)
        if int(counts.max()) > capacity:
            # A block of no more rows than the room of a list cannot come here.
            step = max(capacity, step // (2 * TILE) * TILE)
        else:
            best = keys.topk(wide, dim=1, sorted=True).values
            keys[:, :wide] = best
            thresholds = unpacked(best[:, -1])[0]
            seen = stop
            step = min(2 * step, -(-seen // TILE) * TILE)
        keys[:, wide:] = _NOTHING
    return keys[:, :wide]


def settled(kernels: Kernels, keys: torch.Tensor, k: int, measure: str) -> Nearest:
    """Returns the first k candidates by their float64 values rounded to float32, equal ones by index."""
    columns = unpacked(keys)[1].contiguous()
    values = kernels.measured(columns).float()
    ordered = ordered_keys(values if measure == "inner" else -values, columns)
    nearness, indices = unpacked(ordered.sort(dim=1, descending=True).values[:, :k])
    return Nearest(
        values=(nearness if measure == "inner" else (-nearness).abs()).cpu().numpy(), indices=indices.cpu().numpy()
    )


def joined(parts: list[Nearest]) -> Nearest:
    """Returns the lists of all queries, put together from those of parts of the queries."""
    return Nearest(
        values=np.concatenate([part.values for part in parts]), indices=np.concatenate([part.indices for part in parts])
    )
