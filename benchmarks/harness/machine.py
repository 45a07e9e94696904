"""What the figures were measured on."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

_PACKAGES = ("featdiv", "numpy", "scipy", "torch", "scikit-learn")
_FLAGS = ("avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8")
_ROOT = Path(__file__).resolve().parents[2]


def describe() -> dict[str, Any]:
    """Returns processor, memory, versions, commit and how busy the machine is as plain values."""
    fields = _cpuinfo()
    return {
        "cpu": fields.get("model name") or platform.processor() or platform.machine(),
        "cores": cores(),
        "isa": [flag for flag in _FLAGS if flag in fields.get("flags", "").split()],
        "memory_bytes": memory_bytes(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
        "blas": _blas(),
        "commit": _commit(),
        "environment": {
            name: os.environ[name]
            for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "FEATDIV_BACKEND")
            if name in os.environ
        },
        "busy_cores": busy_cores(),
    }


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def busy_cores(seconds: float = 2.0) -> float | None:
    """Returns how many cores others use, on average over some seconds, or None where the system does not tell.

    The load that systems report trails by a minute: it counts what has just ended, and misses what has just begun.
    """
    before = _core_times()
    time.sleep(seconds)
    after = _core_times()
    if before is None or after is None:
        return None
    busy, total = (new - old for new, old in zip(after, before, strict=True))
    return round(busy / max(total, 1) * (os.cpu_count() or 1), 2)


def _core_times() -> tuple[int, int] | None:
    """Returns (busy, total) ticks of all cores since the start of the system."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()
    except OSError:
        return None
    # user, nice, system, idle, iowait, irq, softirq, steal; the guests that follow are in user.
    ticks = [int(field) for field in fields[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def has_gpu() -> bool:
    """Returns whether torch is installed and sees a CUDA device."""
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def has_flag(name: str) -> bool:
    """Returns whether the processor says that it has an instruction set, by the name that Linux gives it."""
    return name in _cpuinfo().get("flags", "").split()


def memory_bytes() -> int | None:
    """Returns the memory of the machine, or None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def available_bytes() -> int | None:
    """Returns the memory that is free for use now, or None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return memory_bytes()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)


def _cpuinfo() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        if package != "featdiv":
            return ""
    # Run from a checkout that is not installed.
    import featdiv

    return featdiv.__version__


def _blas() -> str:
    import numpy as np

    try:
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[index]
    except (TypeError, KeyError):
        return "unknown"
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()


def _commit() -> str:
    """Returns the commit of the featdiv that is measured, which may be another checkout than that of this file."""
    import featdiv

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    root = Path(featdiv.__file__).resolve().parents[2]
    if not (root / "benchmarks").is_dir():
        root = _ROOT
    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "src", "csrc", "benchmarks")
        return git("rev-parse", "--short=12", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
