"""What an extraction would take: time from a few batches, disk from the size of a row."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Sequence
from typing import Any

from featdiv.backbones.cache import free_bytes
from featdiv.backbones.extract import DEFAULTS, sink_for
from featdiv.backbones.images import images
from featdiv.backbones.jobs import prepared
from featdiv.backbones.layers import PENULTIMATE
from featdiv.errors import InputError
from featdiv.io.dtypes import ITEMSIZE
from featdiv.io.progress import check_progress

FUNCTION = "featdiv.backbones.estimate"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """What an extraction would take.

    Attributes:
        n: images in all.
        left: images whose features are not on disk yet.
        d: layer to its features.
        images_per_second: measured, decoding included.
        seconds: for the images that are left.
        bytes: of the features that are left, all layers together; 0 where only moments are kept.
        free: bytes that are free where they would go, or None in memory.
        batch_size: images at a time.
        workers: processes that decode.
        device: where the network ran.
        timed: images that were timed.
    """

    n: int
    left: int
    d: dict[str, int]
    images_per_second: float
    seconds: float
    bytes: int
    free: int | None
    batch_size: int
    workers: int
    device: str
    timed: int

    @property
    def fits(self) -> bool:
        """Whether there is room."""
        return self.free is None or self.bytes <= self.free


def estimate(
    model: Any, data: Any, layers: Sequence[str] = (PENULTIMATE,), *, batches: int = 4, **arguments: Any
) -> Estimate:
    """Times a few batches and returns what `featdiv.extract` with the same arguments would take.

    The first batch is not timed. With few images or a short run the start of the loader's processes is not spread over
    many batches, so that the estimate is on the safe side. Nothing is written.

    Args:
        model: as in `featdiv.extract`.
        data: as in `featdiv.extract`.
        layers: as in `featdiv.extract_layers`.
        batches: how many to time.
        **arguments: of `featdiv.extract`.

    Raises:
        InputError: as `featdiv.extract` does.

    Example:
        >>> import numpy as np
        >>> from featdiv.backbones import estimate
        >>> data = np.zeros((40, 16, 16), dtype=np.uint8)
        >>> small = {"input_size": (3, 32, 32)}
        >>> found = estimate("test_resnet", data, pretrained=False, transform=small, batch_size=8)
        >>> found.n, found.d, found.bytes, found.seconds > 0
        (40, {'penultimate': 96}, 15360, True)
    """
    unknown = [name for name in arguments if name not in DEFAULTS]
    if unknown:
        raise InputError(f"{FUNCTION}: no argument {unknown[0]!r}; expected {', '.join(DEFAULTS)}")
    given = {**DEFAULTS, **arguments}
    split, out, store = given.pop("split"), given.pop("out"), given.pop("store")
    check_progress(given.pop("progress"), function=FUNCTION, told="images done, images in all")
    opened = images(data)
    if split is not None:
        opened = opened.split(split)
    with prepared(FUNCTION, model, layers, n=len(opened), **given) as job:
        facts = job.facts()
        sinks = [sink_for(job, opened, {**facts, "layer": layer}, out=out, store=store) for layer in job.capture.layers]
        lacking = [sum(_size(sink, s) for s in range(sink.shards) if s not in sink.done) for sink in sinks]
        index = range(min(len(opened), (batches + 1) * job.batch_size))
        feed = job.batches(opened, index)
        rows = job.runner(next(feed))
        _wait(rows)
        started, timed = time.perf_counter(), 0
        for batch in itertools.islice(feed, batches):
            rows = job.runner(batch)
            timed += len(batch)
        if not timed:
            # Everything fits one batch: it runs again, warm.
            for batch in job.batches(opened, index):
                rows = job.runner(batch)
                timed += len(batch)
        _wait(rows)
        rate = timed / (time.perf_counter() - started)
        widths = {layer: int(part.shape[1]) for layer, part in zip(job.capture.layers, rows, strict=True)}
        size = sum(left * d * ITEMSIZE[job.dtype] for left, d in zip(lacking, widths.values(), strict=True))
        return Estimate(
            n=len(opened),
            left=max(lacking),
            d=widths,
            images_per_second=rate,
            seconds=max(lacking) / rate,
            bytes=size if store else 0,
            free=None if out is None else free_bytes(out),
            batch_size=job.batch_size,
            workers=job.workers,
            device=job.runner.device,
            timed=timed,
        )


def _size(sink: Any, shard: int) -> int:
    return int(min(sink.n, (shard + 1) * sink.shard_rows) - shard * sink.shard_rows)


def _wait(rows: Sequence[Any]) -> None:
    """Waits for the device by fetching what it computed last."""
    for part in rows:
        part[:1].cpu()
