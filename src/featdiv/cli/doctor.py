"""``featdiv doctor``: what runs on this machine, and for what does not, why."""

from __future__ import annotations

import os
import platform
import sys
from importlib import util
from pathlib import Path
from typing import Any

from featdiv.cli import options, output

OPTIONAL = {
    "pyarrow": "arrow",
    "h5py": "hdf5",
    "fsspec": "remote",
    "pandas": "pandas",
    "faiss": "faiss",
    "cupy": "cupy",
    "triton": "triton",
    "timm": "vision",
    "torchvision": "vision",
}
"""Module to the extra that installs it."""

CORE = ("numpy", "scipy", "torch", "scikit-learn", "safetensors", "threadpoolctl", "matplotlib", "typer", "rich")
CPU_FEATURES = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "neon", "asimd", "sve")
PROBED_DTYPES = ("float32", "float16", "bfloat16")


def doctor(json: options.Json = None) -> None:
    """What runs here: ops and backends, with the reason where one cannot, versions, processor, packages."""
    options.require_writable(json, "--json")
    report = examine()
    if json != "-":
        print_report(report)
    output.write_json(report, json)


def examine() -> dict[str, Any]:
    """Returns the findings as plain values."""
    return {
        "versions": versions(),
        "machine": machine(),
        "backends": backends(),
        "packages": packages(),
        "environment": {name: value for name, value in sorted(os.environ.items()) if name.startswith("FEATDIV_")},
    }


def versions() -> dict[str, str]:
    """Returns the version of featdiv, Python and the core packages, or how to install one that is missing."""
    from importlib import metadata

    from featdiv import __version__

    found = {"featdiv": __version__, "python": platform.python_version()}
    for name in CORE:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = f"missing; pip install {name}"
    return found


def machine() -> dict[str, Any]:
    """Returns processor, memory, the modules that were built, and what torch sees."""
    from featdiv.ops import _cuda, _native

    facts: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor_name(),
        "instructions": processor_features(),
        "cores": os.cpu_count(),
        "blas": blas_name(),
        "native": _native.describe(),
        "cuda kernels": _cuda.describe(),
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        facts["memory"] = f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB"
    return facts | (seen_by_torch() if util.find_spec("torch") else {"gpus": "unknown: torch is not installed"})


def seen_by_torch() -> dict[str, Any]:
    """Returns threads, accelerators and the kernels that multiply on them."""
    import torch

    from featdiv.ops import _cuda_sm90

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "threads": torch.get_num_threads(),
        "cuda products": _cuda_sm90.describe(),
        "gpus": gpus or f"none: {why_no_gpu()}",
    }


def why_no_gpu() -> str:
    """Returns why torch offers no CUDA device."""
    import torch

    if torch.version.cuda is None:
        return "this build of torch has no CUDA support"
    return "torch supports CUDA but finds no device or no driver"


def _cpuinfo() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    fields = (line.partition(":") for line in path.read_text(encoding="utf-8").splitlines())
    return {name.strip(): value.strip() for name, _, value in fields}


def processor_name() -> str:
    """Returns the name of the processor, as well as the system tells it."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def processor_features() -> str:
    """Returns the instruction sets that matter to matrix products."""
    info = _cpuinfo()
    flags = (info.get("flags") or info.get("Features") or "").split()
    return " ".join(name for name in CPU_FEATURES if name in flags) or "unknown"


def blas_name() -> str:
    """Returns the BLAS that NumPy calls."""
    import numpy as np

    configuration: Any = np.show_config(mode="dicts")
    blas = configuration.get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()


def backends() -> list[dict[str, str]]:
    """Returns one entry for each op, device and backend: whether it works, or the reason why not."""
    from featdiv.ops import _dispatch

    found = []
    for op, names in _dispatch.OPS.items():
        for device in ("cpu", "cuda"):
            for name in (*(n for n in _dispatch.ORDER[device] if n in names), "reference"):
                reasons = {
                    dtype: _dispatch.unsupported_reason(
                        _dispatch.Request(op=op, device=device, dtype=dtype, n=100_000, d=768), name
                    )
                    for dtype in PROBED_DTYPES
                }
                works = [dtype for dtype, reason in reasons.items() if reason is None]
                refusals = sorted({reason for reason in reasons.values() if reason})
                state = "works" if len(works) == len(reasons) else f"works for {', '.join(works)}" if works else "no"
                found.append(
                    {
                        "op": op,
                        "device": device,
                        "backend": name,
                        "state": state,
                        "reason": "; ".join(refusals),
                    }
                )
    return found


def packages() -> list[dict[str, str]]:
    """Returns one entry for each optional package: its version, or how to install it."""
    from importlib import metadata

    owners = metadata.packages_distributions()
    found = []
    for module, extra in OPTIONAL.items():
        if util.find_spec(module) is None:
            state = f"missing; pip install 'featdiv[{extra}]'"
        else:
            state = next((metadata.version(owner) for owner in owners.get(module, ())), "installed")
        found.append({"package": module, "extra": extra, "state": state})
    return found


def print_report(report: dict[str, Any]) -> None:
    """Prints the findings as tables."""
    facts = [["version of " + name, version] for name, version in report["versions"].items()]
    for name, value in (report["machine"] | report["environment"]).items():
        facts.append([name, ", ".join(value) if isinstance(value, list) else str(value)])
    facts.append(["interpreter", sys.executable])
    output.print_table(["what", "found"], facts, title="machine")
    print()
    entries = [list(entry.values()) for entry in report["backends"]]
    output.print_table(["op", "device", "backend", "state", "reason"], entries, title="backends, in order of choice")
    print()
    output.print_table(
        ["package", "extra", "state"],
        [list(entry.values()) for entry in report["packages"]],
        title="optional packages",
    )
