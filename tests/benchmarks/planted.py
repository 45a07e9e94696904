"""A suite for testing the harness: column sums of a small file, by contenders some of which are at fault."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from harness.registry import Answer, Contender, Data, Suite, Table, Target, UnavailableError, Workload

ROWS, FEATURES = 40_000, 8
BALLAST = 64 << 20
LOADING = 0.5
"""Seconds that loading takes."""


def make(folder: Path, quick: bool) -> Data:
    rows = np.random.default_rng(0).normal(size=(ROWS, FEATURES))
    np.save(folder / "rows.npy", rows)
    return Data(path=str(folder / "rows.npy"), n=ROWS, d=FEATURES, dtype="float64")


def nothing_to_make(folder: Path, quick: bool) -> Data:
    raise UnavailableError("its file is not there")


def prime(folder: Path) -> Data:
    np.save(folder / "primer.npy", np.ones((16, FEATURES)))
    return Data(path=str(folder / "primer.npy"), n=16, d=FEATURES, dtype="float64")


def right(data: Data) -> Any:
    return np.load(data.path)[: data.n].sum(axis=0)


def wrong(data: Data) -> Any:
    sums = right(data)
    # It has to be wrong in the gated run alone: a small input must not give it away.
    return sums * (1.0 + 1e-3) if data.n > 16 else sums


def not_a_number(data: Data) -> Any:
    return right(data) * np.nan


def raises(data: Data) -> Any:
    raise RuntimeError("out of luck")


def dies(data: Data) -> Any:
    if data.n > 16:
        os._exit(3)


def slow(data: Data) -> Any:
    """Takes a second for every 60,000 rows."""
    time.sleep(data.n / 60_000)
    return right(data)


def deceptive(data: Data) -> Any:
    """Is quick on small parts."""
    time.sleep(0.0 if data.n <= 20_000 else 5.0)
    return right(data)


def heavy(data: Data) -> Any:
    if data.n > 16:
        ballast = np.ones(BALLAST, dtype=np.uint8)
        time.sleep(0.05)
        del ballast
    return right(data)


def load(data: Data) -> Any:
    """Is slow, and keeps more than the rows."""
    time.sleep(LOADING if data.n > 16 else 0.0)
    return np.load(data.path)[: data.n], np.ones(BALLAST, dtype=np.uint8)


def from_memory(job: Any) -> Any:
    return job[0].sum(axis=0)


def answer(data: Data, raw: Any) -> Answer:
    return {"sums": raw, "notes": ["by numpy"]}


def silent(data: Data, raw: Any) -> Answer:
    return {}


def reference(data: Data) -> Answer:
    return {"sums": np.load(data.path)[: data.n].astype(np.longdouble).sum(axis=0).astype(np.float64)}


def errors(found: Answer, true: Answer) -> dict[str, float]:
    if "sums" not in found:
        return {}
    return {"sums": float(np.max(np.abs(found["sums"] / true["sums"] - 1.0)))}


def table(quick: bool) -> list[dict[str, Any]]:
    return [{"case": "only one", "error": 0.5 if quick else 0.25}]


def contender(name: str, run: Any, **options: Any) -> Contender:
    return Contender(name=name, run=run, **({"answer": answer, "accuracy": "float64", "streams": True} | options))


JUDGED = Workload(
    name="judged",
    summary="right and wrong side by side",
    make=make,
    contenders=(
        contender("right", right, peer=False),
        contender("wrong", wrong),
        contender("wrong but modest", wrong, accuracy="rough"),
        contender("not a number", not_a_number),
        contender("silent", right, answer=silent),
        contender("raises", raises),
        contender("dies", dies),
        contender("not installed", right, requires=("no_such_module_anywhere",)),
    ),
    reference=reference,
    operations=lambda data: float(data.n * data.d),
    targets=(
        Target(contender="wrong but modest", figure="ratio", limit=1e9, to="right"),
        Target(contender="wrong", figure="ratio", limit=1e9, to="right"),
        Target(contender="right", figure="peak_private_bytes", limit=0),
    ),
)

SUITE = Suite(
    op="sums",
    workloads=(
        JUDGED,
        dataclasses.replace(
            JUDGED,
            name="limited",
            contenders=(
                contender("right", right, peer=False),
                contender("slow", slow, streams=False, trial_rows=2000),
                contender("deceptive", deceptive, streams=False),
                contender("heavy", heavy),
            ),
        ),
        dataclasses.replace(
            JUDGED,
            name="lawful",
            contenders=(
                contender("right", right, peer=False),
                contender("slow", slow, streams=False, law=1.0, trial_rows=1024),
            ),
            targets=(
                Target(contender="slow", figure="slower", limit=1.0, to="right"),
                Target(contender="slow", figure="slower", limit=1e9, to="right"),
            ),
            cap=0.25,
        ),
        dataclasses.replace(
            JUDGED,
            name="loaded",
            contenders=(
                contender("right", right, peer=False),
                contender("from memory", from_memory, load=load, peer=False),
                contender("on a GPU", right, gpu=True, peer=False),
            ),
            targets=(),
        ),
        dataclasses.replace(JUDGED, name="absent", make=nothing_to_make),
    ),
    tables=(Table(name="table", summary="a table", run=table),),
    errors=errors,
    accuracy={"float64": {"sums": 1e-9}, "rough": {"sums": 1e-2}},
    rate=lambda data: 1e9,
    prime=prime,
    baselines=("right",),
)
