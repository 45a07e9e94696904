"""The parts of `make gpu-check` that need no GPU: how it refuses, takes turns, and writes ratios down."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import gpu_check
from featdiv.ops import _cuda_sm90

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
    assert made == ["| work | torch | 40.000 | 10.000 | 1.00 |", "| work | own | 10.000 | 10.000 | 4.00 |"]


@pytest.mark.parametrize(("reason", "kinds"), [("it is old", ["mma"]), (None, ["mma", "wgmma"])])
def test_both_kinds_of_products_are_measured_where_both_run(monkeypatch, reason, kinds):
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(_cuda_sm90, "problem", lambda device: reason)
    monkeypatch.setenv(_cuda_sm90.VARIABLE, "before")
    assert gpu_check.ways("scatter", "torch") == {"torch": None}
    assert gpu_check.ways("topk", "cuda") == {"cuda": None}
    found = gpu_check.ways("scatter", "cuda")
    assert found == {f"cuda ({kind})": kind for kind in kinds}
    seen = [gpu_check.multiplying(each, lambda: os.environ.get(_cuda_sm90.VARIABLE))() for each in (*kinds, None)]
    assert seen == [*kinds, None]
    assert os.environ[_cuda_sm90.VARIABLE] == "before"
