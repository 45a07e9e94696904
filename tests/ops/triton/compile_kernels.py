"""Compiles Triton kernels for GPUs that need not be there, and prints what came out as JSON.

Run by the tests in a process of its own: the tests' process may have loaded the kernels for the interpreter.
"""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path


def compile_one(module: str, name: str, types: dict, constants: dict, capability: int, warps: int, stages: int) -> dict:
    """Returns what the kernel needs, and the matrix instructions in it."""
    import triton
    from triton.backends.compiler import GPUTarget

    cuobjdump = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    kernel = getattr(importlib.import_module(f"featdiv.ops._triton_kernels.{module}"), name)
    names = kernel.arg_names
    assert set(names) == {*types, *constants}, f"{name}: {set(names) ^ {*types, *constants}}"
    signature = {arg: types.get(arg, "constexpr") for arg in names}
    # As Triton specialises what torch allocates and the padded width.
    aligned = [
        i
        for i, arg in enumerate(names)
        if signature[arg].startswith("*") or arg in ("padded", "row_stride") or "plane" in arg
    ]
    source = triton.compiler.ASTSource(
        fn=kernel,
        signature=signature,
        constexprs={(names.index(arg),): value for arg, value in constants.items()},
        attrs={(i,): [["tt.divisibility", 16]] for i in aligned},
    )
    options = {"num_warps": warps, "num_stages": stages}
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    ptx, lowered = compiled.asm["ptx"], compiled.asm["ttir"]
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        command = [str(cuobjdump), "-res-usage", file.name]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {
        "kernel": name,
        "capability": capability,
        "types": types,
        "constants": constants,
        "warps": warps,
        "stages": stages,
        "registers": int(re.search(r"REG:(\d+)", said).group(1)),
        "spilled": int(re.search(r"STACK:(\d+)", said).group(1)) + int(re.search(r"LOCAL:(\d+)", said).group(1)),
        "shared": compiled.metadata.shared,
        # Products of a stride between planes that 32 bits hold, which they need not hold themselves.
        "overflows": re.findall(r"arith\.muli .*%\w*plane\w*.* : i32\b", lowered),
        "instructions": sorted(set(re.findall(r"wgmma\.mma_async\S*|mma\.sync\S*", ptx))),
    }


def main() -> None:
    """Reads a list of keyword arguments of `compile_one` from standard input."""
    warnings.filterwarnings("ignore", message="TRITON_DEFAULT_FP_FUSION")
    json.dump([compile_one(**job) for job in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
