"""Runs each contender in a process of its own, so that memory, modules and crashes of one do not affect another."""

from __future__ import annotations

import dataclasses
import gc
import multiprocessing
import re
import signal
import time
import warnings
import weakref
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self

from harness import registry, roofline, stages
from harness.registry import Data

_SAMPLE_EVERY = 0.002
_ANONYMOUS = re.compile(r"^RssAnon:\s*(\d+) kB", re.MULTILINE)


class WorkerError(Exception):
    """The process raised an error, died, or took too long; the text says which."""


class TooSlowError(WorkerError):
    """The process was stopped, because it took longer than allowed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back.

    Attributes:
        value: what was asked for.
        seconds: duration of the job alone, by the clock of the process that did it.
        peak_private_bytes: largest private memory during the job, less what the process had before; None where it was
            not watched or the system does not tell.
    """

    value: Any
    seconds: float
    peak_private_bytes: int | None


class Worker:
    """A process that serves one suite.

    Args:
        module: module of the suite.
    """

    def __init__(self, module: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        # No daemon, which could start no processes of its own; so it has to be ended whatever happens here.
        self._process = context.Process(target=_serve, args=(module, theirs))
        self._process.start()
        theirs.close()
        self._end = weakref.finalize(self, _end, self._connection, self._process)

    def ask(self, request: str, *arguments: Any, watch: bool = False, limit: float | None = None) -> Reply:
        """Sends one request, named as in `_Service`, and waits for its reply.

        Args:
            request: name of the request.
            *arguments: its arguments.
            watch: whether to watch the private memory of the process meanwhile.
            limit: seconds after which the process is killed.

        Raises:
            WorkerError: if the request failed; the process may be gone.
        """
        before = _private_bytes(self._process.pid) if watch else None
        peak = before
        started = time.monotonic()
        try:
            self._connection.send((request, arguments))
            while not self._connection.poll(_SAMPLE_EVERY if watch else 0.1):
                if watch and peak is not None:
                    peak = max(peak, _private_bytes(self._process.pid) or 0)
                if limit is not None and time.monotonic() - started > limit:
                    self.close()
                    raise TooSlowError(f"stopped after {limit:g} s")
            ok, value, seconds = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            self._process.join(5)
            code = self._process.exitcode
            killed = code == -signal.SIGKILL
            raise WorkerError(
                "killed by the system, probably for want of memory" if killed else f"died with exit code {code}"
            ) from error
        if not ok:
            raise WorkerError(value)
        above = None if peak is None or before is None else peak - before
        return Reply(value=value, seconds=seconds, peak_private_bytes=above)

    def close(self) -> None:
        """Ends the process."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _end(connection: Connection, process: BaseProcess) -> None:
    connection.close()
    if process.is_alive():
        process.kill()
    process.join()


def _private_bytes(pid: int | None) -> int | None:
    """Returns the anonymous memory of a process in bytes (pages of files do not count), or None where unknown.

    It is read from outside, so that a job that holds the interpreter lock is watched all the same.
    """
    try:
        found = _ANONYMOUS.search(Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace"))
    except OSError:
        return None
    return 1024 * int(found.group(1)) if found else None


class _Service:
    """The requests that a process serves; each returns (value, seconds of the job)."""

    def __init__(self, module: str) -> None:
        self.suite = registry.load(module)
        self._loaded: tuple[Any, Any] = (None, None)

    def load(self, workload: str, name: str, data: Data) -> tuple[Any, float]:
        """Brings into memory what the contender starts from."""
        self._input(self.suite.workload(workload).contender(name), data)
        return None, 0.0

    def _input(self, contender: registry.Contender, data: Data) -> Any:
        if contender.load is None:
            return data
        key = (contender.name, data)
        if self._loaded[0] != key:
            self._loaded = (None, None)
            self._loaded = (key, contender.load(data))
        return self._loaded[1]

    def contend(self, workload: str, name: str, data: Data, keep: bool) -> tuple[Any, float]:
        """Does the job once; with ``keep``, holds what came out until `answer` asks for it."""
        contender = self.suite.workload(workload).contender(name)
        job = self._input(contender, data)
        gc.collect()
        start = time.perf_counter()
        raw = contender.run(job)
        seconds = time.perf_counter() - start
        if keep:
            self._kept = contender, data, raw
        return None, seconds

    def answer(self) -> tuple[Any, float]:
        contender, data, raw = self._kept
        del self._kept
        return dict(contender.answer(data, raw)), 0.0

    def reference(self, workload: str, data: Data) -> tuple[Any, float]:
        start = time.perf_counter()
        return dict(self.suite.workload(workload).reference(data)), time.perf_counter() - start

    def rate(self, data: Data) -> tuple[Any, float]:
        start = time.perf_counter()
        return self.suite.rate(data), time.perf_counter() - start

    def peaks(self, unit: str, others: list[str]) -> tuple[Any, float]:
        start = time.perf_counter()
        return roofline.peaks(unit, others), time.perf_counter() - start

    def stages(self, workload: str, name: str, data: Data, traces: str) -> tuple[Any, float]:
        contender = self.suite.workload(workload).contender(name)
        start = time.perf_counter()
        return stages.of(contender, self._input(contender, data), traces), time.perf_counter() - start

    def table(self, name: str, quick: bool) -> tuple[Any, float]:
        start = time.perf_counter()
        return self.suite.table(name).run(quick), time.perf_counter() - start


def _serve(module: str, connection: Connection) -> None:
    # What a contender has to say on standard error would tear the progress of the run apart.
    warnings.simplefilter("ignore")
    service = None
    while True:
        try:
            request, arguments = connection.recv()
        except EOFError:
            return
        try:
            if service is None:
                service = _Service(module)
            value, seconds = getattr(service, request)(*arguments)
        except Exception as error:
            connection.send((False, f"{type(error).__name__}: {error}", 0.0))
        else:
            connection.send((True, value, seconds))
