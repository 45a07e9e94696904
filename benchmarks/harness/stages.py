"""Where the time of a contender goes: `run.py --profile`.

On the CPU the native kernels time their own stages while they are watched: packing (reading rows, converting, shifting,
laying them out), products (with what is done to them in registers), and the flush of finished products (adding partial
sums, counting, keeping candidates, centring). Reading alone is measured apart, as one bare pass over the same rows; it
is a part of packing. What a contender on a GPU does is traced by torch's profiler.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from harness.registry import Contender

_REPEATS = 3


def of(contender: Contender, job: Any, traces: str) -> dict[str, Any]:
    """Returns a row of the table of stages, in milliseconds.

    Args:
        contender: whose run is watched.
        job: what it runs on.
        traces: directory for traces of a GPU.
    """
    contender.run(job)
    return _of_gpu(contender, job, Path(traces)) if contender.gpu else _of_cpu(contender, job)


def _of_cpu(contender: Contender, job: Any) -> dict[str, Any]:
    from featdiv.ops import _native

    module, threads = _native.module(), _native.threads()
    seen: list[tuple[float, ...]] = []
    for _ in range(_REPEATS):
        module.watch_stages(True)
        start = time.perf_counter()
        contender.run(job)
        wall = time.perf_counter() - start
        seen.append((wall, *module.stage_seconds()))
        module.watch_stages(False)
    # The median run as a whole, so that its parts add up.
    wall, pack, product, flush = sorted(seen)[len(seen) // 2]
    return {
        "contender": contender.name,
        "wall": _ms(wall),
        "threads": threads,
        "read alone": _ms(_bare_read(job)),
    } | (_shares(wall, threads, pack, product, flush) if pack + product + flush else {})


def _shares(wall: float, threads: int, pack: float, product: float, flush: float) -> dict[str, str]:
    """Returns the stages as parts of the wall time; nothing for a contender that runs none of the native kernels."""
    return {
        "pack / threads": _ms(pack / threads),
        "product / threads": _ms(product / threads),
        "flush / threads": _ms(flush / threads),
        "elsewhere (Python, waiting)": _ms(wall - (pack + product + flush) / threads),
    }


def _bare_read(job: Any) -> float | None:
    """Returns the time of one pass over the rows in memory by one thread; None for a job that starts from a file."""
    rows = next((part for part in (job if isinstance(job, tuple) else (job,)) if isinstance(part, np.ndarray)), None)
    if rows is None or not rows.flags.c_contiguous or rows.nbytes % 8:
        return None
    words = rows.reshape(-1).view(np.uint64)
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        np.bitwise_or.reduce(words)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _of_gpu(contender: Contender, job: Any, traces: Path) -> dict[str, Any]:
    import torch
    from torch.profiler import ProfilerActivity, profile

    start = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        contender.run(job)
        torch.cuda.synchronize()
    wall = time.perf_counter() - start
    traces.mkdir(parents=True, exist_ok=True)
    trace = traces / f"{contender.name.replace(' ', '-').replace('/', '-')}.json"
    profiler.export_chrome_trace(str(trace))
    events = sorted(profiler.key_averages(), key=lambda event: -event.self_device_time_total)[:3]
    return {
        "contender": contender.name,
        "wall": _ms(wall),
        "longest kernels": "; ".join(f"{event.key[:60]} {event.self_device_time_total / 1e3:.3g}" for event in events),
        "trace": str(trace),
    }


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1e3 * seconds:.3g}"
