"""Ranks the same models twice: the second call finds every step in the folder of the first."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from harness.registry import Data

NETWORKS = ("test_resnet", "test_efficientnet", "test_vit", "test_convnext")
IMAGES, QUICK_IMAGES = 2000, 60
CLASSES = 10
SIDE = 32
LIMIT = 10.0
"""Seconds that the second call may take."""


def pictures(n: int, *, side: int, classes: int) -> Any:
    """Returns smooth pictures whose colour tells the class, as `featdiv.images`."""
    from PIL import Image

    import featdiv

    random = np.random.default_rng(0)
    tints = random.integers(0, 60, size=(classes, 3))
    labels = np.arange(n) % classes
    coarse = random.integers(0, 190, size=(n, 8, 8, 3)) + tints[labels][:, None, None, :]
    sized = [
        np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC))
        for one in coarse.astype(np.uint8)
    ]
    return featdiv.images(np.stack(sized), labels=labels)


def rows(quick: bool) -> list[dict[str, Any]]:
    """Returns a line for each of two calls: seconds, steps that came from the folder, and whether the table is one."""
    import featdiv

    data = pictures(QUICK_IMAGES if quick else IMAGES, side=SIDE, classes=2 if quick else CLASSES)
    lines: list[dict[str, Any]] = []
    first = None
    with tempfile.TemporaryDirectory() as folder:
        for call in ("first", "again"):
            started = time.perf_counter()
            found = featdiv.rank_models(
                NETWORKS[:2] if quick else NETWORKS,
                data,
                pretrained=False,
                extraction={"transform": {"input_size": (3, SIDE, SIDE)}, "workers": 0},
                folds=2 if quick else 5,
                out=Path(folder),
            )
            seconds = time.perf_counter() - started
            first = first or found
            lines.append(
                {
                    "call": call,
                    "seconds": round(seconds, 2),
                    "steps": len(found.steps),
                    "from the folder": sum(step.cached for step in found.steps),
                    "same table": (found.values, found.p_best) == (first.values, first.p_best),
                    "kept": call == "first" or seconds <= LIMIT,
                }
            )
    return lines


def nothing(folder: Path) -> Data:
    """Tables need no data."""
    return Data(path=str(folder), n=0, d=0, dtype="float32")
