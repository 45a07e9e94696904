"""Runs the contenders of a workload that are featdiv's own with their stages watched."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from harness.registry import Suite, UnavailableError
from harness.session import say
from harness.worker import Worker, WorkerError


def of_workload(suite: Suite, module: str, name: str, *, quick: bool, traces: Path) -> dict[str, Any]:
    """Returns the table of stages of a workload, in milliseconds; each contender runs in a process of its own.

    Args:
        suite: of the operation.
        module: module of the suite.
        name: of the workload.
        quick: small inputs.
        traces: directory for the traces of contenders on a GPU.
    """
    workload = suite.workload(name)
    result: dict[str, Any] = {"name": name, "summary": workload.summary, "quick": quick, "rows": [], "left out": []}
    with tempfile.TemporaryDirectory(prefix="featdiv-benchmark-") as folder:
        say(f"{name}: {workload.summary}")
        try:
            data = workload.make(Path(folder), quick)
        except UnavailableError as unavailable:
            return result | {"left out": [str(unavailable)]}
        for contender in workload.contenders:
            missing = contender.missing()
            if contender.peer:
                continue
            if missing is not None:
                result["left out"].append(f"{contender.name}: {missing}")
                continue
            with Worker(module) as worker:
                try:
                    result["rows"].append(worker.ask("stages", name, contender.name, data, str(traces)).value)
                except WorkerError as failure:
                    result["left out"].append(f"{contender.name}: {failure}")
    return result
