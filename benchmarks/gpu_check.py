"""What `make gpu-check` runs on a machine with a GPU: tests, benchmarks whose table is written down, then sanitizers.

    python benchmarks/gpu_check.py                          everything
    python benchmarks/gpu_check.py tests cuda wgmma         some steps: where a session ends after some minutes
    python benchmarks/gpu_check.py benchmarks --out FOLDER  the table elsewhere than in benchmarks/results
    python benchmarks/gpu_check.py --seconds 3600           for each process, on a slow machine

Each step, and each workload, has a process of its own: a kernel that fails may take the device away from the process
that launched it, and what fails must not keep the rest from running. The exit code tells of it, and the last lines say
what it was. No backend is timed before it has agreed with torch, and the table is written after each workload. Without
a GPU it says so and fails: nothing here pretends to have run.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import json
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from gpu_workloads import Workload, workloads
from harness import machine
from harness.roofline import peaks

ROOT = Path(__file__).resolve().parents[1]
TESTS = (
    "tests/ops/test_gpu.py",
    "tests/ops/test_scatter.py",
    "tests/stats/test_neighbours.py",
    "tests/io/test_arrays.py",
    "tests/integrations/test_packed.py",
)
PRODUCTS = "FEATDIV_CUDA_PRODUCTS"
SELECTED: dict[str, tuple[str, dict[str, str]]] = {
    "tests": ("not cuda and not each_kind", {}),
    "cuda": ("(cuda or each_kind) and not wgmma", {PRODUCTS: "mma"}),
    "wgmma": ("wgmma or (cuda and scatter)", {}),
}
"""Step to the tests of it and to what is set for them: products of warpgroups, checked at first use, come last."""

SANITIZERS = ("memcheck", "racecheck")
STEPS = (*SELECTED, "benchmarks", *SANITIZERS)
REPEATS, LEAST_REPEATS = 7, 3
REPEATING_SECONDS = 20.0
"""Once contenders have taken so long together, the least number of repeats does."""

STEP_SECONDS = 240
"""Time for each process."""


class DeviceLostError(Exception):
    """A kernel took the device away from this process; the argument says whose."""


def why_not() -> str | None:
    """Returns why the check cannot run here, or None."""
    if importlib.util.find_spec("torch") is None:
        return f"torch is not installed for {sys.executable}; run this with the Python that has it"
    import torch

    if torch.version.cuda is None:
        return "this build of torch has no CUDA support; install one that has"
    if not torch.cuda.is_available():
        return "torch finds no CUDA device or no driver"
    return None


def find_featdiv() -> None:
    """Lets this process and those that it starts import featdiv from the checkout, where it is not installed."""
    if importlib.util.find_spec("featdiv") is None:
        source = str(ROOT / "src")
        sys.path.insert(0, source)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))


def run_tests(step: str, seconds: float) -> list[str]:
    """Runs the tests of a step; one that skips for lack of a package is shown with its reason."""
    selected, setting = SELECTED[step]
    return _run([sys.executable, *_pytest(selected), *TESTS], seconds, setting)


def run_sanitizer(check: str, seconds: float) -> list[str]:
    """Runs tests of the CUDA kernels under a tool of compute-sanitizer: bad addresses, or races in shared memory."""
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        return ["compute-sanitizer is not on PATH; it comes with the CUDA toolkit (--skip-sanitizers leaves it out)"]
    sanitizer = [tool, "--tool", check, "--error-exitcode", "9", "--target-processes", "all"]
    failures = []
    for step in ("cuda", "wgmma"):
        selected, setting = SELECTED[step]
        # Large inputs are left out: each access is checked, which takes a hundred times as long.
        few = f"({selected}) and not drift and not 5000 and not 256 and not long"
        command = [*sanitizer, sys.executable, *_pytest(few), "tests/ops/test_gpu.py"]
        failures += _run(command, seconds, setting)
    return failures


def _pytest(selected: str) -> list[str]:
    # What other versions of packages warn of is shown; it is no fault of a kernel.
    return ["-m", "pytest", "-q", "-ra", "-W", "default", "-p", "no:cacheprovider", "-m", "gpu", "-k", selected]


def _run(command: list[str], seconds: float, setting: Mapping[str, str] | None = None) -> list[str]:
    """Runs a process, and returns what went wrong with it."""
    _, failure = _output(command, seconds, setting, piped=False)
    return [failure] if failure else []


def _output(
    command: list[str], seconds: float, setting: Mapping[str, str] | None = None, *, piped: bool = True
) -> tuple[str, str]:
    """Returns what a process wrote to its standard output, unless that is this one's, and what went wrong with it."""
    shown = shlex.join([*(f"{name}={value}" for name, value in (setting or {}).items()), *command])
    print("+", shown, flush=True)
    # In a session of its own: a sanitizer's own child would outlive it.
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **(setting or {})},
        stdout=subprocess.PIPE if piped else None,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            written, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return "", f"did not end within {seconds:g} s (--seconds gives more): {shown}"
    return written or "", f"exit code {process.returncode}: {shown}" if process.returncode else ""


def measure(run: dict[str, Callable[[], Any]], clock: Callable[[Callable[[], Any]], float]) -> dict[str, list[float]]:
    """Returns the times of each, taken in turn: first one, then the other, and again."""
    for each in run.values():
        clock(each)
    times: dict[str, list[float]] = {name: [] for name in run}
    start = time.perf_counter()
    for repeat in range(REPEATS):
        if repeat >= LEAST_REPEATS and time.perf_counter() - start > REPEATING_SECONDS:
            break
        for name, each in run.items():
            times[name].append(clock(each))
    return times


def lines(name: str, times: dict[str, list[float]], limit: float | None = None) -> list[str]:
    """Returns rows of the table: median milliseconds, torch's time over it in the same turn, and the share of a limit.

    Args:
        name: of the workload.
        times: milliseconds of each contender.
        limit: milliseconds that the device needs at least, or None where that is not known.
    """
    made = []
    for backend, own in times.items():
        ratio = statistics.median(there / here for there, here in zip(times["torch"], own, strict=True))
        median = statistics.median(own)
        share = "–" if limit is None else f"{100 * limit / median:.0f}"
        made.append(f"| {name} | {backend} | {median:.3f} | {min(own):.3f} | {ratio:.2f} | {share} |")
    return made


def ways(op: str, backend: str, left_out: Collection[str] = ()) -> dict[str, str | None]:
    """Returns label to setting of `FEATDIV_CUDA_PRODUCTS`: each way in which a backend multiplies on this device."""
    import torch

    from featdiv.ops import _cuda_sm90

    if backend != "cuda" or op not in ("scatter", "class_scatter"):
        return {label: None for label in (backend,) if label not in left_out}
    device = torch.device("cuda", torch.cuda.current_device())
    found: dict[str, str | None] = {}
    for kind in reversed(_cuda_sm90.KINDS):
        # Rows are multiplied where they lie by scatter alone; and what has failed once is not even asked for.
        if f"cuda ({kind})" in left_out or (op != "scatter" and kind == "wgmma"):
            continue
        try:
            problem = _cuda_sm90.problem(device, kind)
        except Exception as error:
            raise DeviceLostError(f"cuda ({kind})", _said(error)) from error
        if problem is None:
            found[f"cuda ({kind})"] = kind
    return found


def multiplying(setting: str | None, run: Callable[[], Any]) -> Callable[[], Any]:
    """Returns a function that runs in one of the `ways`."""

    def insisting() -> Any:
        before = os.environ.pop(PRODUCTS, None)
        try:
            if setting is not None:
                os.environ[PRODUCTS] = setting
            return run()
        finally:
            os.environ.pop(PRODUCTS, None)
            if before is not None:
                os.environ[PRODUCTS] = before

    return insisting


def _milliseconds(function: Callable[[], Any]) -> float:
    import torch

    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    function()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end))


def _said(error: BaseException) -> str:
    """Returns an error as one line that fits into a table."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".replace("|", "/")


def _device_is_lost() -> bool:
    import torch

    try:
        torch.zeros(1, device="cuda").item()
    except RuntimeError:
        return True
    return False


def measured(
    name: str, workload: Workload, peak: dict[str, float] | None, left_out: Collection[str] = ()
) -> tuple[list[str], list[str]]:
    """Returns the rows of the table for a workload, and which of its backends fail, or do not agree with torch.

    Raises:
        DeviceLostError: if one took the device away; it has to be `left_out` of another process.
    """
    from featdiv.ops import _dispatch

    x, op = workload.make(), workload.op
    dtype = str(x.dtype).removeprefix("torch.")
    request = _dispatch.Request(op=op, device="cuda", dtype=dtype, n=len(x), d=int(x.shape[-1]))
    backends = [b for b in _dispatch.ORDER["cuda"] if b in _dispatch.OPS[op]]
    reasons = {b: _dispatch.unsupported_reason(request, b) for b in backends}
    truth = workload.run(x, "torch")
    timed: dict[str, Callable[[], Any]] = {}
    wrong: dict[str, str] = {}
    for backend in backends:
        if reasons[backend] is not None:
            continue
        for label, setting in ways(op, backend, left_out).items():
            run = multiplying(setting, functools.partial(workload.run, x, backend))
            try:
                agrees = workload.gate(run(), truth)
            except Exception as error:
                if _device_is_lost():
                    raise DeviceLostError(label, _said(error)) from error
                wrong[label] = f"fails: {_said(error)}"
                continue
            if agrees:
                timed[label] = run
            else:
                wrong[label] = "does not agree with torch"
    if workload.plain is not None:
        label, plain = workload.plain
        timed[label] = functools.partial(plain, x)
    limit = None if workload.work is None or peak is None else 1e3 * workload.work.seconds(peak)
    made = lines(name, measure(timed, _milliseconds), limit)
    made += [f"| {name} | {label} | {why}: not timed | | | |" for label, why in wrong.items()]
    made += [f"| {name} | {b} | left out: {reason} | | | |" for b, reason in reasons.items() if reason]
    return made, [f"{name}: backend {label} {why}" for label, why in wrong.items()]


def in_a_process(job: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Returns what `answer` makes of a job in a process of its own; its entry ``failed`` says why that is nothing."""
    written, failure = _output([sys.executable, str(Path(__file__).resolve()), "--job", json.dumps(job)], seconds)
    try:
        found: dict[str, Any] = json.loads(written.splitlines()[-1])
    except (ValueError, IndexError):
        return {"failed": failure or "it wrote no answer"}
    return found


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """Returns, as plain values, the peaks of the device, what its products are made by, or the rows of a workload."""
    from featdiv.ops import _cuda, _cuda_sm90

    if job["kind"] == "peaks":
        return {"peaks": peaks("bfloat16")}
    if job["kind"] == "products":
        return {"module": _cuda.describe(), "products": _cuda_sm90.describe()}
    try:
        rows, wrong = measured(job["name"], workloads()[job["name"]], job["peaks"], job["left_out"])
    except DeviceLostError as error:
        label, why = error.args
        return {"lost": label, "why": why}
    return {"rows": rows, "wrong": wrong}


def run_benchmarks(folder: Path, seconds: float) -> tuple[Path, list[str]]:
    """Measures every backend that runs and agrees with torch; returns where the table is, and what went wrong."""
    import torch

    facts, gpu = machine.describe(), torch.cuda.get_device_name()
    failures: list[str] = []

    def asked(**job: Any) -> dict[str, Any]:
        found = in_a_process(job, seconds)
        if "failed" in found:
            failures.append(f"{job.get('name', job['kind'])}: {found['failed']}")
        return found

    peak, made_by = asked(kind="peaks").get("peaks"), asked(kind="products")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"gpu-{gpu.lower().replace(' ', '-')}.md"
    table = [
        f"# GPU backends on {gpu}",
        "",
        f"Kernels: {made_by.get('module', 'unknown')}. Products of warpgroups: {made_by.get('products', 'unknown')}.",
        f"Commit {facts['commit']}; torch {torch.__version__}, CUDA {torch.version.cuda}; {facts['cpu']}; "
        f"{facts['system']}.",
        f"Measured peaks: {peak['bfloat16'] / 1e12:.0f} TFLOP/s in a large bfloat16 product, "
        f"{peak['copied bytes'] / 1e12:.2f} TB/s in a copy."
        if peak
        else "Peaks could not be measured.",
        f"Input resident on the GPU. Medians of {REPEATS} interleaved repeats ({LEAST_REPEATS} of slow ones), each "
        "backend agreeing with torch first.",
        "",
        "| workload | backend | median ms | best ms | torch's time over it | % of limit |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    print("\n".join(table), flush=True)
    for name in workloads():
        left_out: dict[str, str] = {}
        while True:
            found = asked(kind="workload", name=name, peaks=peak, left_out=list(left_out))
            if found.get("lost") in (None, *left_out):
                break
            left_out[found["lost"]] = found["why"]
        rows = found.get("rows", [f"| {name} | – | failed | | | |"])
        rows += [f"| {name} | {label} | ended its process: {why} | | | |" for label, why in left_out.items()]
        failures += [*found.get("wrong", ()), *(f"{name}: backend {label}: {why}" for label, why in left_out.items())]
        print("\n".join(rows), flush=True)
        table += rows
        path.write_text("\n".join(table) + "\n", encoding="utf-8")
    return path, failures


def main() -> None:
    """Runs the steps, or says why it cannot."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)}; all without")
    parser.add_argument("--skip-sanitizers", action="store_true", help="where compute-sanitizer is not installed")
    parser.add_argument("--seconds", type=float, default=STEP_SECONDS, help="for each process (%(default)s)")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder for the table")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = [step for step in options.steps if step not in STEPS]
    if unknown:
        parser.error(f"expected steps of {', '.join(STEPS)}; got {', '.join(unknown)}")
    reason = why_not()
    if reason is not None:
        raise SystemExit(f"gpu-check: needs a GPU: {reason}. Nothing was run.")
    find_featdiv()
    if options.job is not None:
        print(json.dumps(answer(json.loads(options.job))))
        return
    failures: list[str] = []
    for step in [step for step in STEPS if step in (options.steps or STEPS)]:
        if step in SELECTED:
            failures += run_tests(step, options.seconds)
        elif step == "benchmarks":
            path, wrong = run_benchmarks(options.out, options.seconds)
            print(f"written: {path}", flush=True)
            failures += wrong
        elif not options.skip_sanitizers:
            failures += run_sanitizer(step, options.seconds)
    if failures:
        raise SystemExit("gpu-check: failed:\n" + "\n".join(failures))


if __name__ == "__main__":
    main()
