"""Images with labels beside them: parquet files in the Hugging Face layout, Hugging Face datasets, other datasets."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv._optional import require
from featdiv.backbones.image_folders import ORDER, SPLITS, WHERE, Found, refuse_new_classes
from featdiv.backbones.image_labels import numbered, present_in
from featdiv.backbones.image_sources import Arrays, Joined, MapStyle, Parquet
from featdiv.errors import FormatError, InputError
from featdiv.io import files

STEM = re.compile(
    rf"^(?P<name>.*?)[-_.]?(?P<split>{'|'.join(sorted(SPLITS, key=len, reverse=True))})(?:-\d+-of-\d+)?$", re.IGNORECASE
)
"""``train-00000-of-00005``, ``cifar10-test``, ``validation``."""

IMAGE_NAMES = ("image", "img", "jpg", "png", "pixel_values")
LABEL_NAMES = ("label", "labels", "fine_label", "class", "target", "cls")


def from_parquet(paths: Sequence[str], description: str, image: str | None, label: str | None) -> Found:
    """Opens parquet files as one set; the split is in their names.

    Raises:
        InputError: if they belong to several sets, differ in columns or class names, or hold no images.
    """
    named: dict[str, dict[str, list[str]]] = {}
    for path in sorted(paths, key=files.natural):
        match = STEM.match(os.path.splitext(os.path.basename(path))[0])
        name, split = (match["name"], SPLITS[match["split"].lower()]) if match else ("", "")
        named.setdefault(name, {}).setdefault(split, []).append(path)
    if len(named) > 1:
        sets = ", ".join(sorted(repr(name or "(unnamed)") for name in named))
        raise InputError(
            f"{WHERE}: {description}: the files belong to several data sets ({sets}); choose one by a pattern, such as "
            f"{os.path.join(os.path.dirname(paths[0]), max(named) + '*.parquet')!r}"
        )
    ((_, by_split),) = named.items()
    if "" in by_split and len(by_split) > 1:
        raise InputError(f"{WHERE}: {description}: some files name a split and {by_split[''][0]} does not")
    parts: list[Parquet] = []
    columns: list[Any] = []
    split_of: list[str] = []
    classes: tuple[str, ...] | None = None
    for split in ("", *ORDER):
        for path in by_split.get(split, []):
            part, values, names = _open_parquet(path, image, label)
            if parts and names != classes:
                raise InputError(f"{WHERE}: {path}: its class names are not those of {parts[0].path}")
            parts.append(part)
            columns.append(values)
            split_of += [split] * part.n
            classes = names
    labels, found = numbered(columns, classes, description)
    return finished(Joined(parts), labels, found, None if "" in by_split else np.array(split_of), description)


def _open_parquet(path: str, image: str | None, label: str | None) -> tuple[Parquet, Any, tuple[str, ...] | None]:
    pyarrow = require("pyarrow", extra="arrow", needed_by="reading images from parquet")
    parquet = require("pyarrow.parquet", extra="arrow", needed_by="reading images from parquet")
    try:
        schema = parquet.read_schema(path)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise FormatError(f"{WHERE}: {path}: not a complete parquet file ({error})") from None
    candidates = [
        field.name
        for field in schema
        if (pyarrow.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0)
        or pyarrow.types.is_binary(field.type)
        or pyarrow.types.is_large_binary(field.type)
    ]
    column = _column(image, candidates, IMAGE_NAMES, f"{path}: image_key", schema.names)
    if column is None:
        raise InputError(
            f"{WHERE}: {path}: no column of images (structs of bytes and path, or bytes); it has "
            f"{', '.join(map(repr, schema.names))}. Rows of numbers are for featdiv.open"
        )
    others = [name for name in schema.names if name != column]
    values = None
    target = _column(label, [name for name in others if name in LABEL_NAMES], LABEL_NAMES, f"{path}: label_key", others)
    if target is not None:
        read = parquet.read_table(path, columns=[target]).column(0)
        if read.null_count:
            raise InputError(
                f"{WHERE}: {path}: {read.null_count} rows of {target!r} are empty; expected a label in each"
            )
        values = read.to_pylist() if pyarrow.types.is_nested(read.type) else read.to_numpy()
    return Parquet(path, column), values, _class_names(schema.metadata or {}, target)


def _column(
    wanted: str | None, candidates: list[str], usual: Sequence[str], where: str, every: list[str]
) -> str | None:
    if wanted is not None:
        if wanted not in every:
            raise InputError(f"{WHERE}: {where}: no column {wanted!r}; there are {', '.join(map(repr, every))}")
        return wanted
    if len(candidates) <= 1:
        return candidates[0] if candidates else None
    found = [name for name in usual if name in candidates]
    if not found:
        raise InputError(f"{WHERE}: {where}: say which of {', '.join(map(repr, candidates))} to read")
    return found[0]


def _class_names(metadata: Mapping[bytes, bytes], label: str | None) -> tuple[str, ...] | None:
    if b"class_names" in metadata:
        return tuple(metadata[b"class_names"].decode().split(","))
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return tuple(map(str, features[label]["names"]))
    except (ValueError, KeyError, TypeError):
        return None


def finished(
    source: Any,
    labels: npt.NDArray[np.int64] | None,
    classes: tuple[str, ...],
    split: npt.NDArray[np.str_] | None,
    description: str,
) -> Found:
    """Returns what was found, once no split has classes that ``train`` lacks."""
    if labels is not None and split is not None:
        present = {
            str(name): {classes[label] for label in present_in(labels[split == name])} for name in np.unique(split)
        }
        refuse_new_classes(present, description)
    return Found(source, labels, classes, split, description)


def from_dataset(data: Any, labels: Any, classes: Sequence[str] | None, image: str | None, label: str | None) -> Found:
    """Opens a Hugging Face dataset (or a dictionary of its splits), another map-style dataset, or an array."""
    if isinstance(data, Mapping) and type(data).__module__.partition(".")[0] == "datasets":
        parts = {SPLITS.get(name, name): _opened(data[name], None, classes, image, label) for name in data}
        chosen = {name: parts[name] for name in (*ORDER, *parts) if name in parts}
        first = next(iter(chosen.values()))
        if any(part.classes != first.classes for part in chosen.values()):
            raise InputError(f"{WHERE}: the splits {', '.join(map(repr, data))} differ in class names")
        joined = [part.labels for part in chosen.values()]
        known = [part for part in joined if part is not None]
        return finished(
            Joined([part.source for part in chosen.values()]),
            np.concatenate(known) if len(known) == len(joined) else None,
            first.classes,
            np.repeat(list(chosen), [part.source.n for part in chosen.values()]),
            first.description,
        )
    return _opened(data, labels, classes, image, label)


def _opened(data: Any, labels: Any, classes: Sequence[str] | None, image: str | None, label: str | None) -> Found:
    names = tuple(map(str, classes)) if classes is not None else None
    if isinstance(data, np.ndarray) or (hasattr(data, "numpy") and hasattr(data, "ndim")):
        pixels = np.asarray(data)
        if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4):
            raise InputError(
                f"{WHERE}: data: expected uint8 images (n, h, w), (n, h, w, 3) or (n, 3, h, w); got {pixels.dtype} "
                f"of shape {pixels.shape}. Scale grey levels to 0 … 255 first"
            )
        values, found = numbered([labels], names, "labels")
        description = f"array of {pixels.shape[0]} images"
        return Found(_counted(Arrays(pixels), values, "array"), values, found, None, description)
    if not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        raise InputError(
            f"{WHERE}: data: expected a path, an array, or a dataset with len() and [i]; got {type(data).__name__}. An "
            "iterable dataset has no random access: write it to files or parquet first"
        )
    kind = type(data).__name__
    if type(data).__module__.partition(".")[0] == "datasets":
        return _huggingface(data, labels, names, image, label)
    source = MapStyle(data, image)
    given = labels if labels is not None else _own_labels(data, source, label)
    own = getattr(data, "classes", None)
    if names is None and isinstance(own, (list, tuple)) and own:
        names = tuple(map(str, own))
    values, found = numbered([given], names, kind)
    return Found(_counted(source, values, kind), values, found, None, f"{kind} of {source.n} images")


def _counted(source: Any, labels: npt.NDArray[np.int64] | None, kind: str) -> Any:
    if labels is not None and len(labels) != source.n:
        raise InputError(
            f"{WHERE}: labels: expected {source.n}, one for each image of {kind}; got shape {labels.shape}"
        )
    return source


def _huggingface(
    data: Any, labels: Any, classes: tuple[str, ...] | None, image: str | None, label: str | None
) -> Found:
    datasets = require("datasets", extra="datasets", needed_by="opening a Hugging Face dataset")
    kinds = data.features
    pictures = [name for name, kind in kinds.items() if isinstance(kind, datasets.Image)]
    column = _column(image, pictures, IMAGE_NAMES, "image_key", list(kinds))
    if column is None:
        raise InputError(f"{WHERE}: the dataset has no column of images; it has {', '.join(map(repr, kinds))}")
    target = _column(label, [name for name in kinds if name in LABEL_NAMES], LABEL_NAMES, "label_key", list(kinds))
    names = classes or (tuple(getattr(kinds[target], "names", None) or ()) or None if target else None)
    given = labels if labels is not None else _column_of(data, target) if target else None
    values, found = numbered([given], names, "dataset")
    if isinstance(kinds[column], datasets.Image):
        # Undecoded, so that a damaged image is one error with its number.
        data = data.cast_column(column, datasets.Image(decode=False))
    name = getattr(data.info, "dataset_name", None) or "dataset"
    source = MapStyle(data.with_format(None), column)
    return Found(_counted(source, values, name), values, found, None, f"Hugging Face {name} of {source.n} images")


def _column_of(data: Any, name: str) -> Any:
    """Returns a column of labels; lists, where an image has several classes, as they are."""
    values = data.with_format(None)[:1][name] if len(data) else []
    return data.with_format(None)[name] if values and isinstance(values[0], list) else data.with_format("numpy")[name]


def _own_labels(data: Any, source: MapStyle, label: str | None) -> Any:
    """Returns the labels that a dataset keeps in a list of its own, or else those that its items carry."""
    for name in ("targets", "labels", "_labels"):
        own = getattr(data, name, None)
        if own is not None and hasattr(own, "__len__") and len(own) == source.n:
            return own
    tensors = getattr(data, "tensors", None)
    if tensors is not None and len(tensors) == 2:
        return tensors[1]
    if source.n == 0:
        return None
    first = source.item(0)
    if isinstance(first, Mapping):
        target = _column(label, [name for name in first if name in LABEL_NAMES], LABEL_NAMES, "label_key", list(first))
        if source.key is None:
            source.key = _column(None, [name for name in first if name in IMAGE_NAMES], IMAGE_NAMES, "image_key", [])
        return None if target is None else [source.item(i)[target] for i in range(source.n)]
    if isinstance(first, (tuple, list)) and len(first) > 1:
        return [source.item(i)[1] for i in range(source.n)]
    return None
