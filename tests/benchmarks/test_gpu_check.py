"""The parts of `make gpu-check` that need no GPU: how it refuses, takes turns, and writes ratios down."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import gpu_check
from featdiv.ops import _cuda_sm90, _dispatch
from gpu_workloads import Workload
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


def test_steps_that_do_not_exist_are_refused():
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu_check.py"), "tests", "cudo"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "expected steps of tests, cuda, wgmma, benchmarks, memcheck, racecheck; got cudo" in run.stderr


def test_every_file_with_tests_for_a_gpu_is_run():
    marked = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(r"^(@|    )pytest\.mark\.gpu\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert marked == set(gpu_check.TESTS)


def test_every_test_belongs_to_a_step_and_no_step_before_the_last_asks_for_warpgroups():
    words = ("cuda", "each_kind", "wgmma", "scatter")
    selected = {step: expression for step, (expression, _) in gpu_check.SELECTED.items()}
    for present in itertools.product([False, True], repeat=len(words)):
        of_test = dict(zip(words, present, strict=True))
        steps = [step for step, expression in selected.items() if eval(expression, {}, of_test)]
        assert steps
        assert not of_test["wgmma"] or "cuda" not in steps
    assert gpu_check.SELECTED["cuda"][1] == {_cuda_sm90.VARIABLE: "mma"}


def test_featdiv_is_found_in_the_checkout_where_it_is_not_installed(monkeypatch):
    monkeypatch.setattr(gpu_check.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setenv("PYTHONPATH", "before")
    gpu_check.find_featdiv()
    assert sys.path == [str(ROOT / "src")]
    assert os.environ["PYTHONPATH"] == os.pathsep.join([str(ROOT / "src"), "before"])


def test_contenders_take_turns_after_one_warm_up():
    order: list[str] = []

    def clock(function):
        function()
        return float(len(order))

    times = gpu_check.measure({"torch": lambda: order.append("t"), "own": lambda: order.append("o")}, clock)
    assert "".join(order) == "to" * (1 + gpu_check.REPEATS)
    assert [len(each) for each in times.values()] == [gpu_check.REPEATS] * 2


def test_slow_contenders_take_fewer_turns(monkeypatch):
    monkeypatch.setattr(gpu_check, "REPEATING_SECONDS", -1.0)
    times = gpu_check.measure({"torch": lambda: None, "own": lambda: None}, lambda function: 1.0)
    assert [len(each) for each in times.values()] == [gpu_check.LEAST_REPEATS] * 2


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


def failing(error):
    def raising():
        raise error

    return raising


@pytest.fixture
def workload(monkeypatch):
    """Answers of torch, of Triton, which is another, and of cuda, which fails."""
    monkeypatch.setattr(gpu_check, "_milliseconds", lambda function: 2.0 if function() is not None else 0.0)
    monkeypatch.setattr(_dispatch, "unsupported_reason", lambda request, b: None)
    answers = {"torch": lambda: 1.0, "triton": lambda: 2.0, "cuda": failing(RuntimeError("no | such\nthing"))}
    return Workload(
        op="pair_sums",
        make=lambda: torch.zeros(4, 2),
        run=lambda x, backend: answers[backend](),
        gate=lambda mine, truth: mine == truth,
        work=Work(operations=6.0, bytes=0.0, unit="bfloat16"),
        plain=("by hand", lambda x: x),
    )


PEAK = {"bfloat16": 6000.0, "copied bytes": 1.0}


def test_a_backend_that_disagrees_or_fails_is_neither_timed_nor_hidden(monkeypatch, workload):
    monkeypatch.setattr(gpu_check, "_device_is_lost", lambda: False)
    made, wrong = gpu_check.measured("work", workload, PEAK)
    assert wrong == [
        "work: backend triton does not agree with torch",
        "work: backend cuda fails: RuntimeError: no / such thing",
    ]
    assert made == [
        "| work | torch | 2.000 | 2.000 | 1.00 | 50 |",
        "| work | by hand | 2.000 | 2.000 | 1.00 | 50 |",
        "| work | triton | does not agree with torch: not timed | | | |",
        "| work | cuda | fails: RuntimeError: no / such thing: not timed | | | |",
    ]


def test_a_backend_that_cannot_run_is_told(monkeypatch, workload):
    monkeypatch.setattr(_dispatch, "unsupported_reason", lambda request, b: None if b == "torch" else "none here")
    made, wrong = gpu_check.measured("work", workload, None)
    assert wrong == []
    assert made[0] == "| work | torch | 2.000 | 2.000 | 1.00 | – |"
    assert made[2:] == [f"| work | {b} | left out: none here | | | |" for b in ("triton", "cuda")]


def test_one_that_takes_the_device_away_is_left_out_of_another_process(monkeypatch, workload, tmp_path):
    monkeypatch.setattr(gpu_check, "_device_is_lost", lambda: True)
    with pytest.raises(gpu_check.DeviceLostError) as caught:
        gpu_check.measured("work", workload, PEAK)
    assert caught.value.args == ("cuda", "RuntimeError: no / such thing")
    assert gpu_check.measured("work", workload, PEAK, ["cuda"])[1] == ["work: backend triton does not agree with torch"]

    def in_a_process(job, seconds):
        monkeypatch.setattr(gpu_check, "workloads", lambda: {"work": workload})
        jobs.append(job)
        return {"failed": "no peaks"} if job["kind"] == "peaks" else json.loads(json.dumps(gpu_check.answer(job)))

    jobs: list[dict] = []
    monkeypatch.setattr(gpu_check, "workloads", lambda: {"work": workload})
    monkeypatch.setattr(gpu_check, "in_a_process", in_a_process)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
    path, failures = gpu_check.run_benchmarks(tmp_path / "new", 1.0)
    assert path == tmp_path / "new" / "gpu-some-gpu.md"
    assert [job.get("left_out") for job in jobs] == [None, None, [], ["cuda"]]
    assert failures == [
        "peaks: no peaks",
        "work: backend triton does not agree with torch",
        "work: backend cuda: RuntimeError: no / such thing",
    ]
    table = path.read_text(encoding="utf-8")
    assert "| work | torch | 2.000 | 2.000 | 1.00 | – |" in table
    assert "| work | cuda | ended its process: RuntimeError: no / such thing | | | |" in table


def test_what_a_process_does_not_answer_is_told(monkeypatch):
    monkeypatch.setattr(gpu_check, "_output", lambda command, seconds: ("warning\n[1]\n", ""))
    assert gpu_check.in_a_process({"kind": "peaks"}, 1.0) == [1]
    monkeypatch.setattr(gpu_check, "_output", lambda command, seconds: ("", "exit code 1: it"))
    assert gpu_check.in_a_process({"kind": "peaks"}, 1.0) == {"failed": "exit code 1: it"}


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
    assert "cuda (mma)" not in gpu_check.ways("scatter", "cuda", ["cuda (mma)"])
    seen = [gpu_check.multiplying(each, lambda: os.environ.get(_cuda_sm90.VARIABLE))() for each in (*kinds, None)]
    assert seen == [*kinds, None]
    assert os.environ[_cuda_sm90.VARIABLE] == "before"
