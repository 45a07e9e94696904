"""class_scatter on tensor cores: rows gathered while they are packed, about a mean of their class.

Each class is moved by the float64 mean of its first rows. Classes are worked on as many at a time as fit into a
buffer; the classes whose products break the bound of the precision are worked on again, with more terms.
See `featdiv.ops.scatter.tensor_cores`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.ops import _triton
from featdiv.ops._dispatch import PRECISIONS
from featdiv.ops.scatter import reference
from featdiv.ops.scatter.tensor_cores import LADDER

if TYPE_CHECKING:
    import torch

    from featdiv.ops._device_kernels import Kernels, Norms

    Rows = npt.NDArray[Any] | torch.Tensor

Float64Array = npt.NDArray[np.float64]

RESULT_BYTES = 1 << 28
"""Bytes of class scatters that are kept on the device at a time."""

PILOT_ROWS = 256


def scatter_of_classes(
    kernels: Kernels,
    rows: Rows,
    order: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    *,
    precision: str,
    normalize: str | None,
) -> tuple[Float64Array, Float64Array]:
    """Returns (means, scatters) through some kernels; see `featdiv.ops.class_scatter.class_scatter`."""
    from featdiv.ops._device_kernels import on_device

    x = _triton.tensor_of(rows)
    d = int(x.shape[1])
    norms = None
    if normalize == "l2":
        with on_device(x):
            norms = kernels.row_norms(x)
    means, scatters = np.zeros((len(counts), d)), np.zeros((len(counts), d, d))
    stops = np.cumsum(counts)
    waiting = np.flatnonzero(counts)
    for attempt in LADDER[precision]:
        left = []
        for some in _batches(waiting, d):
            members = np.concatenate([order[stops[k] - counts[k] : stops[k]] for k in some])
            mean, scatter, good = _some_classes(
                kernels, x, members, counts[some], norms, attempt, PRECISIONS[precision]
            )
            means[some], scatters[some] = mean, scatter
            left.append(some[~good])
        waiting = np.concatenate(left) if left else waiting
    if waiting.size and not np.isfinite(scatters[waiting]).all():
        host = reference.to_float64(rows)
        reference.check_finite(host)
        if normalize == "l2":
            reference.check_norms(host)
    return means, scatters


def _batches(classes: npt.NDArray[np.int64], d: int) -> list[npt.NDArray[np.int64]]:
    """Returns the classes in groups whose scatters fit into the buffer."""
    size = max(1, RESULT_BYTES // (8 * d * d))
    return [classes[start : start + size] for start in range(0, len(classes), size)]


def _some_classes(
    kernels: Kernels,
    x: torch.Tensor,
    members: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    norms: Norms | None,
    precision: str,
    limit: float,
) -> tuple[Float64Array, Float64Array, npt.NDArray[np.bool_]]:
    """Returns means and scatters of some classes, and which of them keep the limit."""
    import torch

    from featdiv.ops._device_kernels import Transform
    from featdiv.ops._device_moments import group_means, group_sums
    from featdiv.ops._routes import route
    from featdiv.ops._tiles import packed_sources

    chosen = route(str(x.dtype).removeprefix("torch."), precision, transformed=True)
    packed, blocks = packed_sources(members, counts)
    source = torch.from_numpy(packed).to(x.device)
    shift = group_means(kernels, x, source, blocks, counts, norms=norms, most_rows=PILOT_ROWS, route=chosen)
    sums = group_sums(kernels, x, blocks, source=source, transform=Transform(shift=shift, norms=norms), route=chosen)
    sizes = torch.from_numpy(counts.astype(np.float64)).to(x.device)
    good = sums.take_diagonal(limit, sizes)
    mean = shift[:, : x.shape[1]] + sums.total / sizes[:, None]
    scatter = sums.gram - sums.total[:, :, None] * (sums.total / sizes[:, None])[:, None, :]
    upper = scatter.triu()
    whole = upper + upper.triu(1).mT
    return mean.cpu().numpy(), whole.cpu().numpy(), good.cpu().numpy()
