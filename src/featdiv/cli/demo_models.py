"""The second part of ``featdiv demo``: two small networks, trained on some digits, ranked for the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from featdiv.studies.ranking.result import Ranking

NETWORKS = ("test_resnet", "test_efficientnet")
SIZE = 32
STEPS = 60
SOURCE = range(5)
"""Digits that the networks are trained on; the others are what they are ranked for."""


def write_images(digits: Any, folder: Path) -> None:
    """Writes the digits of the target as picture files, a folder for each class."""
    import numpy as np
    from PIL import Image

    for index, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        if label in SOURCE:
            continue
        path = folder / str(label) / f"{index:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            Image.fromarray((pixels * 15.9).astype(np.uint8)).save(path)


def train(digits: Any, network: str, path: Path) -> float:
    """Trains a network on the digits of the source, writes its weights, and returns its accuracy on some held out."""
    import numpy as np
    from safetensors.torch import save_file

    import featdiv

    chosen = np.isin(digits.target, list(SOURCE))
    data = featdiv.images((digits.images[chosen] * 15.9).astype(np.uint8), labels=digits.target[chosen])
    found = featdiv.finetune(
        network,
        data,
        pretrained=False,
        transform={"input_size": (3, SIZE, SIZE)},
        augmentation="none",
        optimizer="adamw",
        lr=2e-3,
        weight_decay=1e-4,
        steps=STEPS,
        batch_size=32,
        eval_every=STEPS,
        refit=False,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in found.module.state_dict().items()}, path)
    return float(found.read("val_accuracy"))


def rank(folder: Path, weights: dict[str, Path], progress: Any) -> Ranking:
    """Ranks the networks for the images that `write_images` wrote."""
    import featdiv

    return featdiv.rank_models(
        {name: {"model": name, "checkpoint": path} for name, path in weights.items()},
        folder / "images",
        extraction={"transform": {"input_size": (3, SIZE, SIZE)}},
        repeats=2,
        out=folder / "ranking",
        progress=progress,
    )
