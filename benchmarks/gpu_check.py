"""What `make gpu-check` runs on a machine with a GPU: tests, benchmarks whose table is written down, then sanitizers.

    python benchmarks/gpu_check.py            everything
    python benchmarks/gpu_check.py --skip-sanitizers
    python benchmarks/gpu_check.py --seconds 3600    for each of the tests and of the sanitizers, on a slow machine

What fails does not keep the rest from running; the exit code tells of it, and the last lines say what it was. No
backend is timed before it has agreed with torch, and the table is written after each workload. Without a GPU it says so
and fails: nothing here pretends to have run.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import machine
from harness.roofline import Work, peaks

ROOT = Path(__file__).resolve().parents[1]
TESTS = ("tests/ops", "tests/stats")
REPEATS = 7
STEP_SECONDS = 150
"""Time for the tests, and for each sanitizer: all steps together stay below ten minutes."""


def why_not() -> str | None:
    """Returns why the check cannot run here, or None."""
    import torch

    if torch.version.cuda is None:
        return "this build of torch has no CUDA support; install one that has"
    if not torch.cuda.is_available():
        return "torch finds no CUDA device or no driver"
    return None


def run_tests(seconds: float) -> list[str]:
    """Runs the tests that want a GPU; one that skips for lack of a package is shown with its reason."""
    return _run([sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-ra", *TESTS], seconds)


def run_sanitizers(seconds: float) -> list[str]:
    """Runs those of the CUDA kernels under compute-sanitizer: bad addresses, then races in shared memory."""
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        return ["compute-sanitizer is not on PATH; it comes with the CUDA toolkit (--skip-sanitizers leaves it out)"]
    # Large inputs are left out: each access is checked, which takes a hundred times as long.
    selected = "(cuda or each_kind) and not drift and not 5000 and not 256 and not long"
    failures = []
    for check in ("memcheck", "racecheck"):
        command = [tool, "--tool", check, "--error-exitcode", "9", "--target-processes", "all", sys.executable]
        failures += _run(
            [*command, "-m", "pytest", "-q", "-m", "gpu", "-k", selected, "tests/ops/test_gpu.py"], seconds
        )
    return failures


def _run(command: list[str], seconds: float) -> list[str]:
    """Runs a step, and returns what went wrong with it."""
    print("+", shlex.join(command), flush=True)
    # In a session of its own: a sanitizer's own child would outlive it.
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as process:
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return [f"did not end within {seconds:g} s (--seconds gives more): {shlex.join(command)}"]
    return [f"exit code {code}: {shlex.join(command)}"] if code else []


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workload:
    """What is measured.

    Attributes:
        op: whose backends run it.
        make: makes its input, on the GPU.
        run: runs a backend on it.
        gate: whether an answer agrees with torch's.
        work: what nobody can do without; the time that the device needs for it is the limit.
        plain: what people write without featdiv, to be timed as well.
    """

    op: str
    make: Callable[[], Any]
    run: Callable[[Any, str], Any]
    gate: Callable[[Any, Any], bool]
    work: Work | None = None
    plain: tuple[str, Callable[[Any], Any]] | None = None


def workloads() -> dict[str, Workload]:
    """Returns them by name, the most important first."""
    import numpy as np
    import torch

    import featdiv
    from featdiv.ops.class_scatter import class_scatter
    from featdiv.ops.cross_gram import CrossSums, cross_gram
    from featdiv.ops.eigvals_batched import eigvals_batched
    from featdiv.ops.nearest_centroid import nearest_centroid
    from featdiv.ops.pair_sums import pair_sums
    from featdiv.ops.scatter import Sums, scatter
    from featdiv.ops.topk import topk

    def rows(n: int, d: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        generator = torch.Generator("cuda").manual_seed(0)
        return torch.randn(n, d, device="cuda", generator=generator).to(dtype)

    def run_scatter(x: torch.Tensor, backend: str) -> Any:
        sums = Sums.zeros(x.shape[1], device="cuda")
        scatter(x, sums, backend=backend)
        return sums.gram.triu()

    def run_cross_gram(x: torch.Tensor, backend: str) -> Any:
        half = x.shape[1] // 2
        sums = CrossSums.zeros(half, half, norm_sums=True, device="cuda")
        cross_gram(x[:, :half], x[:, half:], sums, backend=backend)
        return sums.gram, sums.weighted, sums.other_weighted, sums.fourth

    def close(bound: float) -> Callable[[Any, Any], bool]:
        def gate(mine: Any, truth: Any) -> bool:
            mine, truth = (
                torch.as_tensor(np.asarray(each.cpu() if hasattr(each, "cpu") else each)) for each in (mine, truth)
            )
            return bool((mine - truth).norm() <= bound * truth.norm())

        return gate

    def all_close(mine: Any, truth: Any) -> bool:
        return all(close(2e-6)(*pair) for pair in zip(mine, truth, strict=True))

    def matrices() -> torch.Tensor:
        half = rows(4096 * 64, 64, torch.float64).reshape(4096, 64, 64)
        return half + half.mT

    def triangle(n: int, d: int, products: int, itemsize: int) -> Work:
        return Work(operations=products * n * d * (d + 1.0), bytes=float(n) * d * itemsize, unit="bfloat16")

    def run_spectrum(x: torch.Tensor, backend: str) -> Any:
        with featdiv.use_backend(backend):
            return featdiv.spectrum(x, interval=None).eigenvalues

    labels = np.arange(200_000) % 1000
    episodes = np.random.default_rng(0).integers(100_000, size=(20_000, 5, 20))
    return {
        "scatter 1M x 768 float32": Workload(
            op="scatter",
            make=lambda: rows(1_000_000, 768),
            run=run_scatter,
            gate=close(2e-6),
            work=triangle(1_000_000, 768, 6, 4),
            plain=("torch X.T @ X", lambda x: x.mT @ x),
        ),
        "scatter 1M x 768 bfloat16": Workload(
            op="scatter",
            make=lambda: rows(1_000_000, 768, torch.bfloat16),
            run=run_scatter,
            gate=close(2e-6),
            work=triangle(1_000_000, 768, 1, 2),
            plain=("torch X.T @ X", lambda x: x.mT @ x),
        ),
        "spectrum 1M x 768 float32": Workload(
            op="scatter", make=lambda: rows(1_000_000, 768), run=run_spectrum, gate=close(2e-6)
        ),
        "cross_gram 1M x (384, 384) float32, norm sums": Workload(
            op="cross_gram",
            # With a mean, so that no product is small beside what it is a sum of.
            make=lambda: rows(1_000_000, 768) + 1.0,
            run=run_cross_gram,
            gate=all_close,
        ),
        "class_scatter 200k x 256, 1000 classes": Workload(
            op="class_scatter",
            make=lambda: rows(200_000, 256),
            run=lambda x, backend: class_scatter(x, labels, classes=1000, backend=backend).scatters,
            gate=close(2e-6),
        ),
        "pair_sums 200k x 768": Workload(
            op="pair_sums",
            make=lambda: rows(200_000, 768),
            run=lambda x, backend: pair_sums(x, backend=backend).exp_sums,
            gate=close(2e-6),
        ),
        "topk 10k in 200k x 384, k = 20": Workload(
            op="topk",
            make=lambda: rows(200_000, 384),
            run=lambda x, backend: topk(x[:10_000], x, k=20, backend=backend).values,
            gate=close(1e-6),
        ),
        "nearest_centroid 20k episodes of 5 classes, 5 + 15 rows of 768": Workload(
            op="nearest_centroid",
            make=lambda: rows(100_000, 768),
            run=lambda x, backend: nearest_centroid(x, episodes, shots=5, backend=backend).nearest,
            # Random rows are about as near to every centroid: some distances differ by no more than their rounding.
            gate=lambda mine, truth: bool((mine == truth).mean() > 0.999),
        ),
        "eigvals_batched 4096 of 64 x 64": Workload(
            op="eigvals_batched",
            make=matrices,
            run=lambda x, backend: eigvals_batched(x, backend=backend).values,
            gate=close(1e-12),
        ),
    }


def measure(run: dict[str, Callable[[], Any]], clock: Callable[[Callable[[], Any]], float]) -> dict[str, list[float]]:
    """Returns the times of each, taken in turn: first one, then the other, and again."""
    for each in run.values():
        clock(each)
    times: dict[str, list[float]] = {name: [] for name in run}
    for _ in range(REPEATS):
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


def ways(op: str, backend: str) -> dict[str, str | None]:
    """Returns label to setting of `FEATDIV_CUDA_PRODUCTS`: each way in which a backend multiplies on this device."""
    import torch

    from featdiv.ops import _cuda_sm90

    if backend != "cuda" or op not in ("scatter", "class_scatter"):
        return {backend: None}
    device = torch.device("cuda", torch.cuda.current_device())
    # Rows are multiplied where they lie by scatter alone.
    kinds = [kind for kind in _cuda_sm90.KINDS if op == "scatter" or kind != "wgmma"]
    return {f"cuda ({kind})": kind for kind in reversed(kinds) if _cuda_sm90.problem(device, kind) is None}


def multiplying(setting: str | None, run: Callable[[], Any]) -> Callable[[], Any]:
    """Returns a function that runs in one of the `ways`."""
    from featdiv.ops import _cuda_sm90

    def insisting() -> Any:
        before = os.environ.pop(_cuda_sm90.VARIABLE, None)
        try:
            if setting is not None:
                os.environ[_cuda_sm90.VARIABLE] = setting
            return run()
        finally:
            os.environ.pop(_cuda_sm90.VARIABLE, None)
            if before is not None:
                os.environ[_cuda_sm90.VARIABLE] = before

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


def run_benchmarks() -> tuple[Path, list[str]]:
    """Measures every backend that runs and agrees with torch; returns where the table is, and what went wrong."""
    import torch

    from featdiv.ops import _cuda_sm90

    facts, gpu, peak = machine.describe(), torch.cuda.get_device_name(), peaks("bfloat16")
    path = ROOT / "benchmarks" / "results" / f"gpu-{gpu.lower().replace(' ', '-')}.md"
    table = [
        f"# GPU backends on {gpu}",
        "",
        f"Products of warpgroups: {_cuda_sm90.describe()}.",
        f"Commit {facts['commit']}; torch {torch.__version__}, CUDA {torch.version.cuda}; {facts['cpu']}; "
        f"{facts['system']}.",
        f"Measured peaks: {peak['bfloat16'] / 1e12:.0f} TFLOP/s in a large bfloat16 product, "
        f"{peak['copied bytes'] / 1e12:.2f} TB/s in a copy.",
        f"Input resident on the GPU. Medians of {REPEATS} interleaved repeats, each backend agreeing with torch first.",
        "",
        "| workload | backend | median ms | best ms | torch's time over it | % of limit |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    failures: list[str] = []
    for name, workload in workloads().items():
        try:
            made, wrong = measured(name, workload, peak)
        except Exception as error:  # whatever it is, the workloads after it are wanted too
            made, wrong = [f"| {name} | – | failed: {type(error).__name__} | | | |"], [f"{name}: {error}"]
        print("\n".join(made), flush=True)
        table += made
        failures += wrong
        path.write_text("\n".join(table) + "\n", encoding="utf-8")
        torch.cuda.empty_cache()
    return path, failures


def measured(name: str, workload: Workload, peak: dict[str, float]) -> tuple[list[str], list[str]]:
    """Returns the rows of the table for a workload, and which of its backends do not agree with torch."""
    from featdiv.ops import _dispatch

    x, op = workload.make(), workload.op
    dtype = str(x.dtype).removeprefix("torch.")
    request = _dispatch.Request(op=op, device="cuda", dtype=dtype, n=len(x), d=int(x.shape[-1]))
    backends = [b for b in _dispatch.ORDER["cuda"] if b in _dispatch.OPS[op]]
    reasons = {b: _dispatch.unsupported_reason(request, b) for b in backends}
    truth = workload.run(x, "torch")
    runs = {
        label: multiplying(setting, functools.partial(workload.run, x, backend))
        for backend in backends
        if reasons[backend] is None
        for label, setting in ways(op, backend).items()
    }
    wrong = [label for label, each in runs.items() if not workload.gate(each(), truth)]
    timed = {label: each for label, each in runs.items() if label not in wrong}
    if workload.plain is not None:
        label, plain = workload.plain
        timed[label] = functools.partial(plain, x)
    limit = None if workload.work is None else 1e3 * workload.work.seconds(peak)
    made = lines(name, measure(timed, _milliseconds), limit)
    made += [f"| {name} | {label} | does not agree with torch: not timed | | | |" for label in wrong]
    made += [f"| {name} | {b} | left out: {reason} | | | |" for b, reason in reasons.items() if reason]
    return made, [f"{name}: backend {label} does not agree with torch" for label in wrong]


def main() -> None:
    """Runs the steps, or says why it cannot."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--skip-sanitizers", action="store_true", help="where compute-sanitizer is not installed")
    parser.add_argument("--seconds", type=float, default=STEP_SECONDS, help="for the tests, and for each sanitizer")
    options = parser.parse_args()
    reason = why_not()
    if reason is not None:
        raise SystemExit(f"gpu-check: needs a GPU: {reason}. Nothing was run.")
    failures = run_tests(options.seconds)
    path, wrong = run_benchmarks()
    print(f"written: {path.relative_to(ROOT)}", flush=True)
    failures += wrong
    if not options.skip_sanitizers:
        failures += run_sanitizers(options.seconds)
    if failures:
        raise SystemExit("gpu-check: failed:\n" + "\n".join(failures))


if __name__ == "__main__":
    main()
