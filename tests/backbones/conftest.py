"""Small image folders whose pixels say what they are."""

from __future__ import annotations

import io

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed; pip install 'featdiv[vision]' installs it")


def encoded(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def picture(seed, size=12):
    """An RGB image of noise."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, size=(size, size, 3), dtype=np.uint8))


@pytest.fixture
def write():
    """Writes an image file of noise, and the folders above it."""

    def written(path, seed=0, **options):
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(seed).save(path, **options)
        return path

    return written


@pytest.fixture
def folder(tmp_path, write):
    """train: 3 cats, 2 dogs; test: 1 cat, 2 dogs."""
    counts = {"train": {"cat": 3, "dog": 2}, "test": {"cat": 1, "dog": 2}}
    seed = 0
    for split, classes in counts.items():
        for name, count in classes.items():
            for index in range(count):
                write(tmp_path / "pets" / split / name / f"{index}.png", seed)
                seed += 1
    return tmp_path / "pets"
