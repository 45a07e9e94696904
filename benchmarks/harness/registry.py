"""The pieces of a benchmark, and the suites that there are."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness import machine
from harness.roofline import Work

SUITES = {
    "spectrum": "suites.spectrum",
    "diversity": "suites.diversity",
    "extract": "suites.extract",
    "ranking": "suites.ranking",
    "integrations": "suites.integrations",
    "transferability": "suites.transferability",
    "linear": "suites.linear",
    "knn": "suites.knn",
    "scatter": "suites.scatter",
    "class_scatter": "suites.class_scatter",
    "cross_gram": "suites.cross_gram",
    "pair_sums": "suites.pair_sums",
    "topk": "suites.topk",
    "eigvals_batched": "suites.eigvals",
}
"""Operation to the module whose ``SUITE`` benchmarks it."""

Answer = Mapping[str, Any]
"""What a contender or a reference found out: name to array or number."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """The input of one run: an (n, d) file, of which the first ``n`` rows count.

    Attributes:
        path: ``.npy`` file of the rows.
        n: rows to use; fewer than the file has where a contender cannot do them all.
        d: features.
        dtype: element type of the file.
        labels: ``.npy`` file of one label a row, or None.
    """

    path: str
    n: int
    d: int
    dtype: str
    labels: str | None = None


class UnavailableError(Exception):
    """A workload cannot be made on this machine; the text says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contender:
    """One way to do the job.

    Attributes:
        name: as it is shown.
        run: does the job on `Data`, or on what ``load`` made of it; this is what is timed.
        answer: turns what ``run`` returned into an `Answer` (untimed), with ``notes`` on how it was done.
        accuracy: the class of accuracy that it claims, a key of `Suite.accuracy`.
        requires: modules without which it is left out.
        streams: whether it works in bounded memory and always does all rows. Others are tried on two small parts
            first, and get as many rows as time and memory allow.
        peer: whether it is somebody else's, so that ``--peers`` may leave it out.
        load: brings the rows into memory, before the clock starts and before memory is watched; called once in a
            process. None for a contender that starts from the file.
        gpu: whether it needs a CUDA device.
        law: the power of n with which its time grows, known from its algorithm. Where it cannot do all rows, the report
            extrapolates its time to all of them by this law; None to report a lower bound alone.
        trial_rows: rows of the first of the two parts that it is tried on.
    """

    name: str
    run: Callable[[Any], Any]
    answer: Callable[[Data, Any], Answer]
    accuracy: str
    requires: tuple[str, ...] = ()
    streams: bool = False
    peer: bool = True
    load: Callable[[Data], Any] | None = None
    gpu: bool = False
    law: float | None = None
    trial_rows: int = 8192

    def missing(self) -> str | None:
        """Returns what it needs and this machine lacks, in words, or None."""
        absent = next((name for name in self.requires if importlib.util.find_spec(name) is None), None)
        if absent is not None:
            return f"{absent} is not installed"
        return "there is no CUDA device" if self.gpu and not machine.has_gpu() else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """A limit that a workload should keep.

    Attributes:
        contender: whose figure is judged.
        figure: ``"ratio"`` (median of the paired ratios to ``to``), ``"peak_private_bytes"``, or ``"slower"`` (the same
            ratio of somebody else, for all rows by its own law).
        limit: the largest value that meets it; for ``"slower"``, the least.
        to: for a ratio, the contender in the denominator.
    """

    contender: str
    figure: str
    limit: float
    to: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workload:
    """One input, and who competes on it.

    Attributes:
        name: as in ``--workload``.
        summary: one line.
        make: makes the data in a directory; with ``quick``, a small version of it. Raises `UnavailableError`.
        contenders: who competes.
        reference: computes the true answer in float64.
        operations: useful floating-point operations of the job.
        targets: limits to check.
        work: the operations and bytes that the job needs at least, for the line of the roofline; None where they do
            not bound its time.
        cap: seconds for a run of those that do not stream, where that is less than the run allows.
    """

    name: str
    summary: str
    make: Callable[[Path, bool], Data]
    contenders: tuple[Contender, ...]
    reference: Callable[[Data], Answer]
    operations: Callable[[Data], float]
    targets: tuple[Target, ...] = ()
    work: Callable[[Data], Work] | None = None
    cap: float = math.inf

    def contender(self, name: str) -> Contender:
        """Returns the contender of that name."""
        return next(contender for contender in self.contenders if contender.name == name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """Results side by side, without rounds; what is timed in it is timed once.

    Attributes:
        name: as in ``--workload``.
        summary: one line.
        run: computes the rows, with ``quick`` from smaller inputs; every row maps the same columns to values.
    """

    name: str
    summary: str
    run: Callable[[bool], list[dict[str, Any]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Suite:
    """The benchmark of one operation.

    Attributes:
        op: name of the operation.
        workloads: timed.
        tables: untimed.
        errors: called with (answer, reference); returns named errors for the gate to judge.
        accuracy: class of accuracy to the largest error of each name; a name left out is not judged.
        rate: measures the machine: floating-point operations a second that the best library reaches on the core of
            the job, for data like these.
        prime: makes a small input in a directory. Every process does the job on it once before anything is measured,
            so that imports are not timed.
        baselines: contenders to which the others' times are divided, round by round.
    """

    op: str
    workloads: tuple[Workload, ...]
    tables: tuple[Table, ...]
    errors: Callable[[Answer, Answer], dict[str, float]]
    accuracy: Mapping[str, Mapping[str, float]]
    rate: Callable[[Data], float]
    prime: Callable[[Path], Data]
    baselines: tuple[str, ...]

    def workload(self, name: str) -> Workload:
        """Returns the workload of that name."""
        return next(workload for workload in self.workloads if workload.name == name)

    def table(self, name: str) -> Table:
        """Returns the table of that name."""
        return next(table for table in self.tables if table.name == name)


def load(module: str) -> Suite:
    """Imports the suite of a module."""
    suite: Suite = importlib.import_module(module).SUITE
    return suite
