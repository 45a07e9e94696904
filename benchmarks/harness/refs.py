"""Measures featdiv as it was at some commits: each is built in a worktree of its own, and removed afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import machine

_ROOT = Path(__file__).resolve().parents[2]


def measured(refs: Sequence[str], arguments: Sequence[str], root: Path = _ROOT) -> list[dict[str, Any]]:
    """Returns what run.py of this checkout says of featdiv at each ref.

    Args:
        refs: commits, branches or tags.
        arguments: of run.py, without ``--json``.
        root: the repository.

    Raises:
        ValueError: if a ref does not exist, or cannot be built or measured; the text says why.
    """
    for ref in refs:
        _run(["git", "-C", str(root), "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"], f"no commit {ref!r}")
    found = []
    with tempfile.TemporaryDirectory(prefix="featdiv-refs-") as folder:
        for number, ref in enumerate(refs):
            with _worktree(root, ref, Path(folder, str(number))) as tree:
                print(f"{ref}: building", file=sys.stderr, flush=True)
                _run(
                    [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
                    f"{ref} does not build",
                    cwd=tree,
                    # Compiling the CUDA kernels takes minutes, and nobody would run them.
                    env=os.environ if machine.has_gpu() else {"FEATDIV_CUDA": "off", **os.environ},
                )
                out = Path(folder, f"{number}.json")
                command = [sys.executable, str(Path(__file__).parents[1] / "run.py"), *arguments, "--json", str(out)]
                print(f"{ref}: measuring", file=sys.stderr, flush=True)
                path = os.pathsep.join(filter(None, [str(tree / "src"), os.environ.get("PYTHONPATH", "")]))
                result = subprocess.run(
                    command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL, check=False
                )
                if not out.exists():
                    raise ValueError(f"{ref}: run.py {' '.join(arguments)} ended with exit code {result.returncode}")
                found.append(json.loads(out.read_text(encoding="utf-8")))
    return found


@contextlib.contextmanager
def _worktree(root: Path, ref: str, folder: Path) -> Iterator[Path]:
    git = ["git", "-C", str(root), "worktree"]
    _run([*git, "add", "--quiet", "--detach", str(folder), ref], f"{ref}: no worktree")
    try:
        yield folder
    finally:
        _run([*git, "remove", "--force", str(folder)], f"{folder} could not be removed")


def _run(command: list[str], problem: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
    result = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ValueError(": ".join(filter(None, [problem, result.stderr.strip()])))
