"""Rows that can be read only once, kept in memory to be read again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from featdiv.io.arrays import open_array
from featdiv.io.embeddings import Embeddings


def collected(source: Embeddings, *, check: Callable[[int], None] | None = None) -> Embeddings:
    """Returns a copy of a source in memory, with its labels, ids and groups, even those that only its chunks carry.

    Args:
        source: read once, to its end.
        check: called with the bytes held so far after every chunk; raises where they are too many.
    """
    rows: list[Any] = []
    found: dict[str, list[Any]] = {"labels": [], "groups": []}
    size = 0
    for chunk in source.chunks():
        # A chunk's buffer is reused for the next one.
        held = chunk.rows.copy() if isinstance(chunk.rows, np.ndarray) else chunk.rows.clone()
        rows.append(held)
        size += held.nbytes
        for name, values in (("labels", chunk.labels), ("groups", chunk.groups)):
            if values is not None:
                found[name].append(np.array(values))
        if check is not None:
            check(size)
    whole = open_array(_joined(rows))
    annotations = {name: np.concatenate(parts) for name, parts in found.items() if parts}
    return whole.replaced(**annotations, ids=source.ids, description=source.description, extraction=source.extraction)


def _joined(rows: list[Any]) -> Any:
    if len(rows) == 1:
        return rows[0]
    if isinstance(rows[0], np.ndarray):
        return np.concatenate(rows)
    import torch

    return torch.cat(rows)
