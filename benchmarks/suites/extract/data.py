"""The inputs: smooth pictures as JPEG files, and the same pictures as the tensors that the network gets."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from harness.registry import Data, UnavailableError

SIDE = 160
IMAGES = 512
QUICK_IMAGES = 64
FEATURES = 512


def photographs(folder: Path, quick: bool) -> Data:
    """JPEG files of a few kilobytes each, in two classes."""
    return _written(folder, QUICK_IMAGES if quick else IMAGES)


def primer(folder: Path) -> Data:
    """A small input that goes the same way."""
    folder = folder / "primer"
    folder.mkdir()
    return _written(folder, 8)


def tensors(job: Data) -> str:
    """Returns the file of the tensors, beside the folder of the images."""
    return str(Path(job.path).parent / "tensors.npy")


def _written(folder: Path, n: int) -> Data:
    for package in ("timm", "PIL"):
        if importlib.util.find_spec(package) is None:
            raise UnavailableError(f"{package} is not installed")
    from PIL import Image

    from featdiv.backbones import load_model
    from featdiv.backbones.transforms import prepare

    random = np.random.default_rng(0)
    config = load_model("resnet18", pretrained=False).data_config
    transform = prepare({"input_size": (3, SIDE, SIDE)}, config, function="benchmark").transform
    assert transform is not None
    prepared = np.lib.format.open_memmap(folder / "tensors.npy", mode="w+", dtype=np.float32, shape=(n, 3, SIDE, SIDE))
    for index in range(n):
        coarse = Image.fromarray(random.integers(0, 256, size=(12, 12, 3), dtype=np.uint8))
        path = folder / "images" / f"class{index % 2}" / f"{index:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path, quality=90)
    order = sorted((folder / "images").rglob("*.jpg"))
    for index, path in enumerate(order):
        prepared[index] = transform(Image.open(path).convert("RGB")).numpy()
    prepared.flush()
    return Data(path=str(folder / "images"), n=n, d=FEATURES, dtype="float32")
