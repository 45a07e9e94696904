"""What `make gpu-check` runs on a machine with a GPU: tests, sanitizers, then benchmarks whose table is written down.

    python benchmarks/gpu_check.py            everything; stops at the first step that fails
    python benchmarks/gpu_check.py --skip-sanitizers

Without a GPU it says so and fails: nothing here pretends to have run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import machine

ROOT = Path(__file__).resolve().parents[1]
TESTS = ("tests/ops", "tests/stats")
REPEATS = 7


def why_not() -> str | None:
    """Returns why the check cannot run here, or None."""
    import torch

    if torch.version.cuda is None:
        return "this build of torch has no CUDA support; install one that has"
    if not torch.cuda.is_available():
        return "torch finds no CUDA device or no driver"
    return None


def run_tests() -> None:
    """Runs the tests that want a GPU; one that skips for lack of a package is shown with its reason."""
    _run([sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-ra", *TESTS])


def run_sanitizers() -> None:
    """Runs those of the kernels under compute-sanitizer: bad addresses, then races in shared memory."""
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        raise SystemExit("gpu-check: compute-sanitizer is not on PATH; it comes with the CUDA toolkit")
    # Large inputs are left out: each access is checked, which takes a hundred times as long.
    selected = "not drift and not 5000 and not 256"
    for check in ("memcheck", "racecheck"):
        command = [tool, "--tool", check, "--error-exitcode", "9", "--target-processes", "all", sys.executable]
        _run([*command, "-m", "pytest", "-q", "-m", "gpu", "-k", selected, "tests/ops/test_gpu.py"])


def _run(command: list[str]) -> None:
    print("+", *command, flush=True)
    finished = subprocess.run(command, cwd=ROOT, check=False)
    if finished.returncode:
        raise SystemExit(f"gpu-check: failed with exit code {finished.returncode}: {' '.join(command)}")


def workloads() -> dict[str, tuple[str, Callable[[], Any], Callable[[Any, str], Any], Callable[[Any, Any], bool]]]:
    """Returns name to (op, function that makes its input, function that runs a backend on it, gate)."""
    import numpy as np
    import torch

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

    labels = np.arange(200_000) % 1000
    episodes = np.random.default_rng(0).integers(100_000, size=(20_000, 5, 20))
    return {
        "scatter 1M x 768 float32": ("scatter", lambda: rows(1_000_000, 768), run_scatter, close(2e-6)),
        "scatter 1M x 768 bfloat16": (
            "scatter",
            lambda: rows(1_000_000, 768, torch.bfloat16),
            run_scatter,
            close(2e-6),
        ),
        "cross_gram 1M x (384, 384) float32, norm sums": (
            "cross_gram",
            # With a mean, so that no product is small beside what it is a sum of.
            lambda: rows(1_000_000, 768) + 1.0,
            run_cross_gram,
            all_close,
        ),
        "class_scatter 200k x 256, 1000 classes": (
            "class_scatter",
            lambda: rows(200_000, 256),
            lambda x, backend: class_scatter(x, labels, classes=1000, backend=backend).scatters,
            close(2e-6),
        ),
        "pair_sums 50k x 768": (
            "pair_sums",
            lambda: rows(50_000, 768),
            lambda x, backend: pair_sums(x, backend=backend).exp_sums,
            close(2e-6),
        ),
        "topk 10k in 200k x 384, k = 20": (
            "topk",
            lambda: rows(200_000, 384),
            lambda x, backend: topk(x[:10_000], x, k=20, backend=backend).values,
            close(1e-6),
        ),
        "nearest_centroid 20k episodes of 5 classes, 5 + 15 rows of 768": (
            "nearest_centroid",
            lambda: rows(100_000, 768),
            lambda x, backend: nearest_centroid(x, episodes, shots=5, backend=backend).nearest,
            # Random rows are about as near to every centroid: some distances differ by no more than their rounding.
            lambda mine, truth: bool((mine == truth).mean() > 0.999),
        ),
        "eigvals_batched 4096 of 64 x 64": (
            "eigvals_batched",
            matrices,
            lambda x, backend: eigvals_batched(x, backend=backend).values,
            close(1e-12),
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


def lines(name: str, times: dict[str, list[float]]) -> list[str]:
    """Returns rows of the table: median milliseconds, and torch's time over it in the same turn."""
    made = []
    for backend, own in times.items():
        ratio = statistics.median(there / here for there, here in zip(times["torch"], own, strict=True))
        made.append(f"| {name} | {backend} | {statistics.median(own):.3f} | {min(own):.3f} | {ratio:.2f} |")
    return made


def ways(op: str, backend: str) -> dict[str, str | None]:
    """Returns label to setting of `FEATDIV_CUDA_PRODUCTS`: each way in which a backend multiplies on this device."""
    import torch

    from featdiv.ops import _cuda_sm90

    if backend != "cuda" or op not in ("scatter", "class_scatter"):
        return {backend: None}
    names = ["mma"] if _cuda_sm90.problem(torch.device("cuda", torch.cuda.current_device())) else ["mma", "wgmma"]
    return {f"cuda ({name})": name for name in names}


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


def run_benchmarks() -> Path:
    """Measures every backend that runs, after it has agreed with torch, and writes the table."""
    import functools

    import torch

    from featdiv.ops import _cuda_sm90, _dispatch

    table = [
        "| workload | backend | median ms | best ms | torch's time over it |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for name, (op, make, run, gate) in workloads().items():
        x = make()
        device, dtype = "cuda", str(x.dtype).removeprefix("torch.")
        request = _dispatch.Request(op=op, device=device, dtype=dtype, n=len(x), d=int(x.shape[-1]))
        backends = [b for b in _dispatch.ORDER["cuda"] if b in _dispatch.OPS[op]]
        reasons = {b: _dispatch.unsupported_reason(request, b) for b in backends}
        usable = [b for b in backends if reasons[b] is None]
        truth = run(x, "torch")
        runs = {
            label: multiplying(setting, functools.partial(run, x, backend))
            for backend in usable
            for label, setting in ways(op, backend).items()
        }
        for label, each in runs.items():
            if not gate(each(), truth):
                raise SystemExit(f"gpu-check: {name}: backend {label} does not agree with torch; nothing was timed")
        table += lines(name, measure(runs, _milliseconds))
        table += [f"| {name} | {b} | left out: {reason} | | |" for b, reason in reasons.items() if reason]
    facts = machine.describe()
    gpu = torch.cuda.get_device_name()
    path = ROOT / "benchmarks" / "results" / f"gpu-{gpu.lower().replace(' ', '-')}.md"
    head = [
        f"# GPU backends on {gpu}",
        "",
        f"Products of warpgroups: {_cuda_sm90.describe()}.",
        f"Commit {facts['commit']}; torch {torch.__version__}, CUDA {torch.version.cuda}; {facts['cpu']}; "
        f"{facts['system']}.",
        f"Input resident on the GPU. Medians of {REPEATS} interleaved repeats, each backend agreeing with torch first.",
        "",
    ]
    path.write_text("\n".join([*head, *table]) + "\n", encoding="utf-8")
    return path


def main() -> None:
    """Runs the steps, or says why it cannot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--skip-sanitizers", action="store_true", help="where compute-sanitizer is not installed")
    options = parser.parse_args()
    reason = why_not()
    if reason is not None:
        raise SystemExit(f"gpu-check: needs a GPU: {reason}. Nothing was run.")
    run_tests()
    if not options.skip_sanitizers:
        run_sanitizers()
    print(f"written: {run_benchmarks().relative_to(ROOT)}")


if __name__ == "__main__":
    main()
