"""One process of the group of two that test_distributed.py starts: merges in several ways and writes what it got."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import sys
from pathlib import Path

import numpy as np
import torch.distributed as dist

from featdiv.errors import FeatdivError
from featdiv.stats import ClassMoments, Moments
from featdiv.testing import cases

exact = functools.partial(Moments.of, precision="float64")
exact_classes = functools.partial(ClassMoments.of, precision="float64")


def rows_of(rank: int) -> np.ndarray:
    return cases.make("heavy_tailed", 100 + 37 * rank, 6, seed=rank, dtype="float64", offset=100.0).rows


def labels_of(rank: int) -> np.ndarray:
    """Classes 0, 1, 2 on rank 0 and 2, 3, 4 on rank 1."""
    return np.arange(len(rows_of(rank))) % 3 + 2 * rank


NAMES = np.array(["a", "bb", "ccc", "dddd", "žluťoučký"])


def moments_of(rank: int) -> dict[str, Moments | ClassMoments]:
    """What a rank brings to each reduction that works."""
    rows, labels = rows_of(rank), labels_of(rank)
    return {
        "moments": exact(rows),
        "norm sums": exact(rows, norm_sums=True),
        "first empty": exact(rows) if rank else Moments.empty(6),
        "second empty": Moments.empty(6) if rank else exact(rows),
        "classes": exact_classes(rows, labels),
        "per class": exact_classes(rows, labels, per_class=True),
        "names": exact_classes(rows, NAMES[labels]),
        "names, first empty": exact_classes(rows, NAMES[labels]) if rank else ClassMoments.empty(6),
        "no classes": ClassMoments.empty(6, normalize="l2"),
        "provenance": dataclasses.replace(
            Moments.of(rows.astype("float32" if rank else "float64"), backend="numpy" if rank else "torch"),
            extraction={"model": NAMES[4].item(), "data": "ab" * (1 + rank)},
        ),
    }


def mismatched(rank: int) -> dict[str, Moments | ClassMoments]:
    """What a rank brings to each reduction that must fail everywhere."""
    rows, labels = rows_of(rank), labels_of(rank)
    return {
        "d": exact(rows[:, : 6 - rank]),
        "normalize": exact(rows, normalize="l2" if rank else None),
        "norm_sums": exact(rows, norm_sums=bool(rank)),
        "per_class": exact_classes(rows, labels, per_class=bool(rank)),
        "labels": exact_classes(rows, NAMES[labels] if rank else labels),
        "statistic": exact_classes(rows, labels) if rank else exact(rows),
    }


def main(rank: int, meeting_point: str, folder: Path) -> None:
    dist.init_process_group(
        "gloo",
        init_method=f"file://{meeting_point}",
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=60),
    )
    errors: dict[str, str] = {}
    for name, mine in mismatched(rank).items():
        try:
            mine.all_reduce()
        except FeatdivError as error:
            errors[name] = f"{type(error).__name__}: {error}"
    for name, mine in moments_of(rank).items():
        mine.all_reduce().save(folder / f"{name}.{rank}.npz")
    only_second = dist.new_group([1])
    try:
        alone = exact(rows_of(rank)).all_reduce(only_second)
        alone.save(folder / f"alone.{rank}.npz")
    except FeatdivError as error:
        errors["group"] = f"{type(error).__name__}: {error}"
    (folder / f"errors.{rank}.json").write_text(json.dumps(errors))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
