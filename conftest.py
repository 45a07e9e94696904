"""Leaves modules out of the collection of doctests whose optional package is not installed, and collects fast."""

from __future__ import annotations

import gc
import importlib.util
from collections.abc import Generator

import pytest

NEEDS = {
    "src/featdiv/backbones/estimate.py": "timm",
    "src/featdiv/backbones/extract.py": "timm",
    "src/featdiv/backbones/finetune.py": "timm",
    "src/featdiv/backbones/models.py": "timm",
    "src/featdiv/studies/ranking/run.py": "timm",
    "src/featdiv/integrations/torchmetrics_.py": "torchmetrics",
    "src/featdiv/integrations/lightning.py": "lightning",
    "src/featdiv/integrations/transformers_.py": "transformers",
}
"""Module to the package that it, or its examples, import."""

collect_ignore = [path for path, package in NEEDS.items() if importlib.util.find_spec(package) is None]
if importlib.util.find_spec("triton") is None:
    collect_ignore.append("src/featdiv/ops/_triton_kernels")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Looks for no garbage among what collection loads, which stays: neither during collection nor in any test."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_unconfigure() -> None:
    """Lets the end of the process find what would be garbage then."""
    gc.unfreeze()
