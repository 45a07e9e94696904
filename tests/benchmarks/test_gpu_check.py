"""The parts of `make gpu-check` that need no GPU: how it refuses, takes turns, and writes ratios down."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import gpu_check
from featdiv.ops import _cuda_sm90, _dispatch
from harness.roofline import Work

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_fails_and_says_that_nothing_was_run():
    run = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "gpu_check.py")], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert "gpu-check: needs a GPU: " in run.stderr
    assert "Nothing was run." in run.stderr
    assert run.stdout == ""


def test_contenders_take_turns_after_one_warm_up():
    order: list[str] = []

    def clock(function):
        function()
        return float(len(order))

    times = gpu_check.measure({"torch": lambda: order.append("t"), "own": lambda: order.append("o")}, clock)
    assert "".join(order) == "to" * (1 + gpu_check.REPEATS)
    assert [len(each) for each in times.values()] == [gpu_check.REPEATS] * 2


def test_ratios_are_paired():
    """Medians 30 and 10 would give 3; turn by turn the ratios are 1, 5 and 4."""
    made = gpu_check.lines("work", {"torch": [10.0, 50.0, 40.0], "own": [10.0, 10.0, 10.0]})
    assert made == ["| work | torch | 40.000 | 10.000 | 1.00 | – |", "| work | own | 10.000 | 10.000 | 4.00 | – |"]


def test_the_share_of_the_limit_is_of_the_median():
    (made,) = gpu_check.lines("work", {"torch": [4.0, 1.0, 10.0]}, limit=3.0)
    assert made == "| work | torch | 4.000 | 1.000 | 1.00 | 75 |"


def test_a_step_that_fails_or_does_not_end_is_told():
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    (told,) = gpu_check._run([sys.executable, "-c", code], 0.5)
    assert told.startswith("did not end within 0.5 s (--seconds gives more): ")
    (told,) = gpu_check._run([sys.executable, "-c", "raise SystemExit(3)"], 60)
    assert told.startswith("exit code 3: ")
    assert gpu_check._run([sys.executable, "-c", ""], 60) == []


def test_a_backend_that_disagrees_is_neither_timed_nor_hidden(monkeypatch):
    monkeypatch.setattr(gpu_check, "_milliseconds", lambda function: 2.0 if function() is not None else 0.0)
    monkeypatch.setattr(_dispatch, "unsupported_reason", lambda request, b: "none here" if b == "cuda" else None)
    workload = gpu_check.Workload(
        op="scatter",
        make=lambda: torch.zeros(4, 2),
        run=lambda x, backend: {"torch": 1.0, "triton": 2.0}[backend],
        gate=lambda mine, truth: mine == truth,
        work=Work(operations=6.0, bytes=0.0, unit="bfloat16"),
        plain=("by hand", lambda x: x),
    )
    made, wrong = gpu_check.measured("work", workload, {"bfloat16": 6000.0, "copied bytes": 1.0})
    assert wrong == ["work: backend triton does not agree with torch"]
    assert made == [
        "| work | torch | 2.000 | 2.000 | 1.00 | 50 |",
        "| work | by hand | 2.000 | 2.000 | 1.00 | 50 |",
        "| work | triton | does not agree with torch: not timed | | | |",
        "| work | cuda | left out: none here | | | |",
    ]


@pytest.mark.parametrize(
    ("broken", "kinds"),
    [
        ((), ["mma", "wgmma-packed", "wgmma"]),
        (("wgmma",), ["mma", "wgmma-packed"]),
        (("wgmma", "wgmma-packed"), ["mma"]),
    ],
)
def test_every_kind_of_products_that_runs_is_measured(monkeypatch, broken, kinds):
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(_cuda_sm90, "problem", lambda device, kind: "it is old" if kind in broken else None)
    monkeypatch.setenv(_cuda_sm90.VARIABLE, "before")
    assert gpu_check.ways("scatter", "torch") == {"torch": None}
    assert gpu_check.ways("topk", "cuda") == {"cuda": None}
    found = gpu_check.ways("scatter", "cuda")
    assert found == {f"cuda ({kind})": kind for kind in kinds}
    assert list(gpu_check.ways("class_scatter", "cuda").values()) == [kind for kind in kinds if kind != "wgmma"]
    seen = [gpu_check.multiplying(each, lambda: os.environ.get(_cuda_sm90.VARIABLE))() for each in (*kinds, None)]
    assert seen == [*kinds, None]
    assert os.environ[_cuda_sm90.VARIABLE] == "before"
