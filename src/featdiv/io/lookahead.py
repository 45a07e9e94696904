"""Work done a little ahead of its consumer by a few threads, in order, with bounded memory."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, TypeVar

Block = TypeVar("Block")

_END = object()
_POLL = 0.05


def ordered(
    tasks: Sequence[int],
    run: Callable[[int, dict[int, Any]], Iterator[Block]],
    finish: Callable[[dict[int, Any]], None],
    *,
    threads: int,
) -> Generator[Block, None, None]:
    """Yields the blocks of ``run(task, state)`` for all tasks, in their order, made by ``threads`` threads.

    At most ``threads`` + 1 tasks are begun and not yet consumed, and each holds at most two blocks. Closing
    the iterator stops the threads.

    Args:
        tasks: what to run.
        run: yields the blocks of a task; ``state`` belongs to the thread.
        finish: called with the state of each thread at its end.
        threads: number of threads.
    """
    stop = threading.Event()
    window = threading.Semaphore(threads + 1)
    results: dict[int, queue.Queue[Any]] = {task: queue.Queue(maxsize=2) for task in tasks}
    pending = iter(tasks)
    taking = threading.Lock()

    def put(task: int, item: Any) -> bool:
        while not stop.is_set():
            try:
                results[task].put(item, timeout=_POLL)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        state: dict[int, Any] = {}
        try:
            while not stop.is_set():
                if not window.acquire(timeout=_POLL):
                    continue
                with taking:
                    task = next(pending, None)
                if task is None:
                    return
                try:
                    for block in run(task, state):
                        if not put(task, block):
                            return
                except BaseException as error:
                    put(task, error)
                    return
                put(task, _END)
        finally:
            finish(state)

    workers = [threading.Thread(target=work, name="featdiv-decode", daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        for task in tasks:
            while (item := results[task].get()) is not _END:
                if isinstance(item, BaseException):
                    raise item
                yield item
            del results[task]
            window.release()
    finally:
        stop.set()
        for worker in workers:
            worker.join()
