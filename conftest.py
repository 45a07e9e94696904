"""Leaves modules out of the collection of doctests whose optional package is not installed."""

from __future__ import annotations

import importlib.util

NEEDS = {
    "src/featdiv/integrations/torchmetrics_.py": "torchmetrics",
    "src/featdiv/integrations/lightning.py": "lightning",
    "src/featdiv/integrations/transformers_.py": "transformers",
}
"""Module to the package that it imports at its top."""

collect_ignore = [path for path, package in NEEDS.items() if importlib.util.find_spec(package) is None]
if importlib.util.find_spec("triton") is None:
    collect_ignore.append("src/featdiv/ops/_triton_kernels")
