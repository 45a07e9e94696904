"""`CrossMoments` of the processes of a ``torch.distributed`` group, merged.

The joint moments are merged as `Moments` are. Each rank then moves its norm-weighted sums to the common mean, which
makes them plain sums: they are gathered everywhere and added in rank order.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from featdiv.errors import InputError
from featdiv.stats.cross_moments import CrossMoments
from featdiv.stats.cross_moments_norms import CrossNormSums
from featdiv.stats.moments import Float64Array

if TYPE_CHECKING:
    import torch.distributed

_FUNCTION = "CrossMoments.all_reduce"


def all_reduce(moments: CrossMoments, group: torch.distributed.ProcessGroup | None = None) -> CrossMoments:
    """Merges the `CrossMoments` of all ranks; see `CrossMoments.all_reduce`."""
    import torch.distributed

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        raise InputError(
            f"{_FUNCTION}: group: expected a running process group; torch.distributed is not initialised. "
            "Call torch.distributed.init_process_group first."
        )
    if torch.distributed.get_rank(group) < 0:
        raise InputError(f"{_FUNCTION}: group: expected a group with this process in it; it is not a member")
    models = repr((moments.names, moments.sizes)).encode()
    digest = np.frombuffer(hashlib.blake2b(models, digest_size=4).digest(), dtype=np.uint32)
    digests = _gathered(digest.astype(np.float64), group)
    for rank, other in enumerate(digests):
        if other[0] != digests[0][0]:
            raise InputError(
                f"{_FUNCTION}: models: expected the same names and features on every rank, in the same order; rank 0 "
                f"and rank {rank} differ. Make the CrossMoments from the same models everywhere."
            )
    joint = moments.joint.all_reduce(group)
    mine = moments.norm_sums.moved(moments.joint.mean - joint.mean, moments.n, moments.joint.scatter, moments.sizes)
    total = CrossNormSums.zeros(moments.sizes)
    shapes = total.weighted.shape, total.fourth.shape
    for flat in _gathered(np.concatenate([mine.weighted.ravel(), mine.fourth.ravel()]), group):
        weighted, fourth = np.split(flat, [total.weighted.size])
        total += CrossNormSums(weighted=weighted.reshape(shapes[0]), fourth=fourth.reshape(shapes[1]))
    return CrossMoments(names=moments.names, sizes=moments.sizes, joint=joint, norm_sums=total)


def _gathered(values: Float64Array, group: torch.distributed.ProcessGroup | None) -> list[Float64Array]:
    """Returns what every rank brings, in rank order."""
    import torch
    import torch.distributed

    device = "cuda" if torch.distributed.get_backend(group) == "nccl" else "cpu"
    mine = torch.from_numpy(values.copy()).to(device)
    found = [torch.empty_like(mine) for _ in range(torch.distributed.get_world_size(group))]
    torch.distributed.all_gather(found, mine, group=group)
    return [tensor.cpu().numpy() for tensor in found]
