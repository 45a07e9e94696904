"""Runs one workload: gate and memory first, each contender in a fresh process, then interleaved rounds."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import gate, machine
from harness.registry import Answer, Contender, Data, Suite, UnavailableError, Workload
from harness.worker import Reply, TooSlowError, Worker, WorkerError

_OVERRUN = 1.3
"""Factor on the times of the trials: a run on more rows fits the caches less well."""

_PATIENCE = 2
"""Times the cap that a first run may take before it is stopped."""

_MEMORY_SHARE = 0.8
"""Share of the free memory that a contender may be given rows for."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How to measure.

    Attributes:
        repeats: rounds.
        gap: idle seconds before each timed run; thread pools keep spinning for a while after work, and would take
            the cores from the next contender.
        cap: seconds that one run of a contender may take; it gets fewer rows where it would take longer.
        quick: small inputs, to see that everything runs; the figures mean nothing.
        peers: names of the peers to run, or None for all.
    """

    repeats: int = 5
    gap: float = 0.3
    cap: float = 120.0
    quick: bool = False
    peers: frozenset[str] | None = None


@dataclasses.dataclass(kw_only=True)
class _Entry:
    """One contender on its way through the workload."""

    contender: Contender
    data: Data
    status: str = "timed"
    reason: str = ""
    notes: list[str] = dataclasses.field(default_factory=list)
    errors: dict[str, float] = dataclasses.field(default_factory=dict)
    peak_private_bytes: int | None = None
    rounds: int = 0
    seconds: list[float] = dataclasses.field(default_factory=list)
    worker: Worker | None = None

    def withdraw(self, status: str, reason: str) -> None:
        self.status, self.reason = status, reason
        if self.worker is not None:
            self.worker.close()
            self.worker = None


def say(text: str) -> None:
    """Reports progress on standard error."""
    print(text, file=sys.stderr, flush=True)


def run_table(suite: Suite, module: str, name: str, options: Options) -> dict[str, Any]:
    """Computes a table in a process of its own."""
    table = suite.table(name)
    say(f"{name}: {table.summary}")
    with Worker(module) as worker:
        rows = worker.ask("table", name, options.quick).value
    return {"name": name, "summary": table.summary, "rows": rows}


def run_workload(suite: Suite, module: str, name: str, options: Options) -> dict[str, Any]:
    """Measures a workload; returns plain values for the report."""
    workload = suite.workload(name)
    result: dict[str, Any] = {"name": name, "summary": workload.summary, "quick": options.quick}
    with tempfile.TemporaryDirectory(prefix="featdiv-benchmark-") as folder, contextlib.ExitStack() as stack:
        say(f"{name}: {workload.summary}")
        try:
            data = workload.make(Path(folder), options.quick)
        except UnavailableError as unavailable:
            say(f"  skipped: {unavailable}")
            return result | {"skipped": str(unavailable)}
        session = _Session(suite, module, workload, data, suite.prime(Path(folder)), options)
        stack.callback(session.close)
        entries = [session.admit(contender) for contender in workload.contenders if session.wanted(contender)]
        predicted = session.predict()
        rates = session.time(entries)
    return result | {
        "n": data.n,
        "d": data.d,
        "dtype": data.dtype,
        "rates": rates,
        "roofline": predicted,
        "baselines": list(suite.baselines),
        "contenders": [session.record(entry, entries, rates) for entry in entries],
    }


class _Session:
    def __init__(
        self, suite: Suite, module: str, workload: Workload, data: Data, primer: Data, options: Options
    ) -> None:
        self._suite = suite
        self._module = module
        self._workload = workload
        self._data = data
        self._primer = primer
        self._options = options
        self._references: dict[int, Answer] = {}
        self._open: list[Worker] = []
        self._cap = min(options.cap, workload.cap)

    def close(self) -> None:
        for worker in self._open:
            worker.close()

    def wanted(self, contender: Contender) -> bool:
        peers = self._options.peers
        return not contender.peer or peers is None or contender.name in peers

    def admit(self, contender: Contender) -> _Entry:
        """Lets a contender answer in a fresh process, and judges the answer."""
        entry = _Entry(contender=contender, data=self._data)
        missing = contender.missing()
        if missing is not None:
            entry.withdraw("skipped", missing)
        else:
            try:
                self._admit(entry)
            except WorkerError as failure:
                entry.withdraw("failed", str(failure))
        say(f"  {contender.name}: {entry.reason or _brief(entry)}")
        return entry

    def _admit(self, entry: _Entry) -> None:
        contender = entry.contender
        if not contender.streams:
            entry.data, why = self._feasible(contender)
            entry.notes += [why] if why else []
        while True:
            try:
                first, worker = self._first_run(entry)
            except TooSlowError as stopped:
                # A trial can mislead, for example where something else took the cores meanwhile.
                fewer = entry.data.n // 2
                if fewer < contender.trial_rows:
                    raise
                entry.notes.append(f"{stopped} on {entry.data.n:,} rows, and tried again on {fewer:,}")
                entry.data = dataclasses.replace(entry.data, n=fewer)
            else:
                break
        reference = self._reference(entry.data)
        entry.peak_private_bytes = first.peak_private_bytes
        answer = worker.ask("answer").value
        entry.notes += answer.get("notes", [])
        entry.errors = self._suite.errors(answer, reference)
        broken = gate.violations(entry.errors, self._suite.accuracy[contender.accuracy])
        if broken:
            entry.withdraw("failed", f"not as accurate as claimed ({contender.accuracy}): {'; '.join(broken)}")
        affordable = int((self._options.cap if contender.streams else self._cap) // max(first.seconds, 1e-9))
        entry.rounds = max(1, min(self._options.repeats, affordable))

    def _first_run(self, entry: _Entry) -> tuple[Reply, Worker]:
        worker = entry.worker = self._fresh(entry.contender)
        limit = None if entry.contender.streams else _PATIENCE * self._cap
        if entry.contender.load is not None:
            worker.ask("load", self._workload.name, entry.contender.name, entry.data)
        arguments = (self._workload.name, entry.contender.name, entry.data, True)
        return worker.ask("contend", *arguments, watch=True, limit=limit), worker

    def _fresh(self, contender: Contender) -> Worker:
        """Returns a process that has everything imported."""
        worker = Worker(self._module)
        self._open.append(worker)
        worker.ask("contend", self._workload.name, contender.name, self._primer, False, limit=60.0)
        return worker

    def _feasible(self, contender: Contender) -> tuple[Data, str]:
        """Returns as much of the data as time and memory allow, judged by two small parts, and why not all."""
        data, cap = self._data, self._cap
        small, large = contender.trial_rows, 2 * contender.trial_rows
        if data.n <= 2 * large:
            return data, ""
        seconds, peaks = [], []
        worker = self._fresh(contender)
        try:
            for rows in (small, large):
                part = dataclasses.replace(data, n=rows)
                worker.ask("load", self._workload.name, contender.name, part)
                reply = worker.ask("contend", self._workload.name, contender.name, part, False, watch=True, limit=cap)
                seconds.append(reply.seconds * _OVERRUN)
                peaks.append(reply.peak_private_bytes or 0)
        finally:
            worker.close()
        available = machine.available_bytes()
        fits = {f"it would take more than {cap:g} s": _largest(small, seconds, cap, contender.law)}
        if available is not None:
            # Whatever the law of its time, nothing here holds more than all pairs of rows.
            law = None if contender.law is None else min(contender.law, 2.0)
            fits["it would need more memory than there is"] = _largest(small, peaks, _MEMORY_SHARE * available, law)
        why, rows = min(fits.items(), key=lambda item: item[1])
        if rows >= data.n:
            return data, ""
        rows = max(large, int(rows) // 1000 * 1000)
        return dataclasses.replace(data, n=rows), f"on {rows:,} of the {data.n:,} rows only: {why}"

    def _reference(self, data: Data) -> Answer:
        if data.n not in self._references:
            with Worker(self._module) as worker:
                reply = worker.ask("reference", self._workload.name, data)
            say(f"  float64 reference on {data.n:,} rows: {reply.seconds:.1f} s")
            self._references[data.n] = reply.value
        return self._references[data.n]

    def predict(self) -> dict[str, Any] | None:
        """Returns the least time that the machine allows, measured before anybody is timed; None if nothing says."""
        if self._workload.work is None:
            return None
        work = self._workload.work(self._data)
        with Worker(self._module) as meter:
            try:
                peaks = meter.ask("peaks", work.unit, list(work.others)).value
            except WorkerError as failure:
                say(f"  no roofline: {failure}")
                return {"problem": str(failure)}
        seconds = work.seconds(peaks)
        say(f"  roofline: no less than {seconds:.3g} s")
        return {**dataclasses.asdict(work), "memory": work.memory, "peaks": peaks, "seconds": seconds}

    def time(self, entries: list[_Entry]) -> list[float]:
        """Runs the rounds A B C … A B C …, and returns the machine's rate in each."""
        options = self._options
        rates = []
        racing = [entry for entry in entries if entry.status == "timed"]
        with Worker(self._module) as meter:
            for turn in range(options.repeats):
                time.sleep(options.gap)
                rates.append(meter.ask("rate", self._data).value)
                for entry in racing:
                    if turn >= entry.rounds or entry.worker is None:
                        continue
                    time.sleep(options.gap)
                    try:
                        reply = entry.worker.ask(
                            "contend", self._workload.name, entry.contender.name, entry.data, False
                        )
                    except WorkerError as failure:
                        entry.withdraw("failed", str(failure))
                        continue
                    entry.seconds.append(reply.seconds)
                say(f"  round {turn + 1} of {options.repeats}")
        return rates

    def record(self, entry: _Entry, entries: list[_Entry], rates: list[float]) -> dict[str, Any]:
        """Returns what the report needs to know about a contender."""
        timed = entry.status == "timed"
        operations = self._workload.operations(entry.data)
        bases = {other.contender.name: other for other in entries if other.status == "timed"}
        return {
            "name": entry.contender.name,
            "accuracy": entry.contender.accuracy,
            "status": entry.status,
            "reason": entry.reason,
            "notes": entry.notes,
            "n": entry.data.n,
            "complete": entry.data.n == self._data.n,
            "law": entry.contender.law,
            "scale": (self._data.n / entry.data.n) ** (entry.contender.law or 0.0),
            "errors": entry.errors,
            "peak_private_bytes": entry.peak_private_bytes if timed else None,
            "seconds": entry.seconds if timed else [],
            "ratios": {
                base: [own / other for own, other in zip(entry.seconds, bases[base].seconds, strict=False)]
                for base in self._suite.baselines
                if timed and base in bases and base != entry.contender.name
            },
            "share_of_rate": [
                operations / seconds / rate
                for seconds, rate in zip(entry.seconds if timed else [], rates, strict=False)
            ],
        }


def _largest(step: int, costs: list[Any], limit: float, law: float | None) -> float:
    """Returns the rows whose cost reaches ``limit``, from the costs of ``step`` and 2 ``step`` rows.

    By the law where there is one, else on the line through the two.
    """
    if law is not None:
        return 2 * step * float(limit / max(costs[1], 1e-9)) ** (1.0 / law)
    slope = (costs[1] - costs[0]) / step
    return 2 * step + (limit - costs[1]) / slope if slope > 0 else float("inf")


def _brief(entry: _Entry) -> str:
    errors = ", ".join(f"{name} {error:.1e}" for name, error in entry.errors.items())
    return f"passes the gate ({errors})"
