"""Image folders: a folder for each class, perhaps within ``train``, ``val`` and ``test``."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from featdiv.backbones.image_sources import Files, Source
from featdiv.errors import InputError

WHERE = "featdiv.images"

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".jp2", ".avif")

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Names that folders and files use to the name of the split."""

ORDER = ("train", "val", "test")


class Found(NamedTuple):
    """Images, and what is known about each.

    Attributes:
        source: the images.
        labels: (n,) numbers of classes, -1 where unknown, or None.
        classes: names.
        split: (n,) names of splits, or None.
        description: where they come from.
    """

    source: Source
    labels: npt.NDArray[np.int64] | None
    classes: tuple[str, ...]
    split: npt.NDArray[np.str_] | None
    description: str


def is_image(path: str) -> bool:
    """True for a visible file with the extension of an image."""
    name = os.path.basename(path)
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def find(root: str) -> Found:
    """Finds the images of a folder, in the order of splits, class names and paths.

    Raises:
        InputError: for a folder without images, images beside the folders of the classes, classes without images,
            and classes that only ``val`` or ``test`` has.
    """
    folders, images = _listed(root)
    splits = {SPLITS[name.lower()]: name for name in folders if name.lower() in SPLITS}
    if splits and len(splits) != len(folders):
        others = ", ".join(repr(name) for name in folders if name.lower() not in SPLITS)
        raise InputError(
            f"{WHERE}: {root}: it holds splits ({', '.join(map(repr, splits.values()))}) and other folders ({others}); "
            "expected one or the other. Move the others away, or pass the folder of one split"
        )
    if not splits:
        by_class = _by_class(root, folders, images)
        return _joined(root, {"": by_class})
    if images:
        raise InputError(
            f"{WHERE}: {root}: {len(images)} images lie beside the folders of the splits; move them into one"
        )
    parts = {}
    for split in ORDER:
        if split in splits:
            folder = os.path.join(root, splits[split])
            parts[split] = _by_class(folder, *_listed(folder))
    return _joined(root, parts)


def _listed(folder: str) -> tuple[list[str], list[str]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{WHERE}: {folder}: the folder cannot be read: {error.strerror}") from None
    visible = [entry for entry in entries if not entry.name.startswith(".")]
    return (
        [entry.name for entry in visible if entry.is_dir()],
        [entry.path for entry in visible if entry.is_file() and is_image(entry.path)],
    )


def _below(folder: str) -> list[str]:
    found = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [os.path.join(parent, name) for name in sorted(names) if is_image(name)]
    return found


def _by_class(root: str, folders: list[str], images: list[str]) -> dict[str | None, list[str]]:
    """Returns the files of each class, or under None the files of a folder without classes."""
    if images and folders and any(_below(os.path.join(root, name)) for name in folders):
        raise InputError(
            f"{WHERE}: {root}: {len(images)} images, such as {os.path.basename(images[0])}, lie beside the folders of "
            f"classes ({', '.join(map(repr, folders[:5]))}); expected each image in the folder of its class"
        )
    if images:
        return {None: images}
    found: dict[str | None, list[str]] = {name: _below(os.path.join(root, name)) for name in folders}
    empty = [name for name, paths in found.items() if not paths]
    if len(empty) == len(found):
        raise InputError(
            f"{WHERE}: {root}: expected images ({' '.join(SUFFIXES)}), directly or in a folder for "
            "each class; found none"
        )
    if empty:
        raise InputError(
            f"{WHERE}: {root}: the folders {', '.join(map(repr, empty[:5]))} hold no images; a class without images "
            "cannot be scored. Remove them"
        )
    return found


def _joined(root: str, parts: dict[str, dict[str | None, list[str]]]) -> Found:
    labelled = [split for split, part in parts.items() if None not in part]
    if labelled and len(labelled) != len(parts):
        bare = next(split for split, part in parts.items() if None in part)
        raise InputError(
            f"{WHERE}: {root}: {labelled[0]!r} has folders of classes and {bare!r} has none; expected the same in all"
        )
    classes = sorted({name for part in parts.values() for name in part if name is not None})
    refuse_new_classes({split: {str(name) for name in part} for split, part in parts.items()}, root)
    number = {name: index for index, name in enumerate(classes)}
    paths, labels, split_of = [], [], []
    for split, part in parts.items():
        for name in sorted(part, key=str):
            paths += part[name]
            labels += [number[name] if name is not None else -1] * len(part[name])
            split_of += [split] * len(part[name])
    return Found(
        Files(paths, root),
        np.array(labels, dtype=np.int64) if labelled else None,
        tuple(classes),
        np.array(split_of) if set(parts) != {""} else None,
        root,
    )


def refuse_new_classes(classes: dict[str, set[str]], where: str) -> None:
    """Raises InputError if ``val`` or ``test`` has classes that ``train`` lacks."""
    for split in ("val", "test"):
        new = sorted(classes.get(split, set()) - classes["train"]) if "train" in classes else []
        if new:
            raise InputError(
                f"{WHERE}: {where}: {split!r} has {len(new)} classes that 'train' lacks, such as "
                f"{', '.join(map(repr, new[:5]))}; no model trained on 'train' can predict them. Check the names of "
                "the folders, or remove these classes"
            )
