"""One process of the group of two that test_cross_moments_distributed.py starts."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

import numpy as np
import torch.distributed as dist

from featdiv import CrossMoments, FeatdivError

SIZES = {"a": 4, "b": 3}


def rows_of(rank: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(rank)
    n = 50 + 30 * rank
    return {"a": random.normal(size=(n, 4)) + 10.0 * rank, "b": random.standard_t(4, size=(n, 3))}


def statistic_of(rank: int) -> CrossMoments:
    return CrossMoments.of(rows_of(rank), precision="float64")


def main(rank: int, meeting_point: str, folder: Path) -> None:
    dist.init_process_group(
        "gloo",
        init_method=f"file://{meeting_point}",
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=60),
    )
    mine = statistic_of(rank)
    mine.all_reduce().save(folder / f"both.{rank}.npz")
    (CrossMoments.empty(SIZES) if rank else mine).all_reduce().save(folder / f"second empty.{rank}.npz")
    try:
        mine.select(*(("b", "a") if rank else ("a", "b"))).all_reduce()
    except FeatdivError as error:
        (folder / f"error.{rank}.txt").write_text(str(error))
    only_second = dist.new_group([1])
    try:
        mine.all_reduce(only_second)
    except FeatdivError as error:
        (folder / f"group.{rank}.txt").write_text(str(error))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
