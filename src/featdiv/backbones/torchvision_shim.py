"""Makes torchvision, and with it timm, importable beside a build of torch that its compiled operators do not fit.

The wheel of torchvision on PyPI is linked against CUDA. Beside a CPU build of torch its library cannot be loaded,
and ``import torchvision`` ends with ``operator torchvision::nms does not exist``, because the package describes the
shapes of two operators that nobody has declared. So do timm, torchmetrics, lightning and transformers, which
import it (pytorch/vision issues 9077 and 9085). Declaring the two, without code behind them, is enough for everything
but detection operators and torchvision's own image decoders.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OPERATORS = ("nms", "qnms")
"""What torchvision describes while it is imported, each ``(boxes, scores, threshold) -> kept boxes``."""

_declared: list[Any] = []


def prepare_torchvision() -> bool:
    """Declares torchvision's operators if, and only if, its compiled library cannot declare them here.

    Call it before the first import of torchvision or of a package that imports it. Calling it again costs nothing.

    Returns:
        True where the operators are declared without code behind them, False where nothing had to be done: torchvision
        is missing, already imported, or its library loads.

    Example:
        >>> from featdiv.backbones.torchvision_shim import prepare_torchvision
        >>> prepare_torchvision() == prepare_torchvision()
        True
    """
    if _declared:
        return True
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is None:
        return False
    import torch

    if any(_loads(library) for library in _libraries()):
        return False
    # The declarations live as long as the object that made them.
    fragment = torch.library.Library("torchvision", "FRAGMENT")
    for name in OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            fragment.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(fragment)
    return True


def _libraries() -> Iterator[Path]:
    spec = importlib.util.find_spec("torchvision")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for suffix in ("so", "pyd", "dylib"):
            yield from sorted(Path(folder).glob(f"_C*.{suffix}"))


def _loads(library: Path) -> bool:
    import torch

    try:
        torch.ops.load_library(str(library))
    except (OSError, ImportError):
        return False
    return True
