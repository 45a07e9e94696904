"""`images`: whatever holds images, as an `Images` data set with labels, class names and splits."""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from featdiv.backbones import image_folders, image_tables
from featdiv.backbones.decoding import UnreadableImage
from featdiv.backbones.image_folders import ORDER, WHERE, Found
from featdiv.backbones.image_sources import Files, digest_of
from featdiv.errors import InputError
from featdiv.io import files
from featdiv.io.progress import Progress, check_progress

CORRUPT = ("raise", "skip")
KINDS = (".parquet", files.FOLDER)


class Skipped(NamedTuple):
    """An image that was left out.

    Attributes:
        id: its path, or its row.
        reason: why it cannot be read.
    """

    id: str
    reason: str


class Images:
    """Images with what is known about them; a map-style dataset for torch's DataLoader. `featdiv.images` makes them.

    ``images[i]`` is ``(image, label)``: a PIL image in 8-bit RGB (or the tensor that the data set holds) and the number
    of its class, -1 where it has none, or (c,) 0 and 1 where images have several.

    Attributes:
        labels: (n,) int64 numbers of classes; a (n, c) table of 0 and 1 where images have several; or None where
            nothing is labelled.
        classes: names; label i means ``classes[i]``. A part of the data keeps all names.
        skipped: images that were left out because they cannot be read.
        description: where the images come from.
    """

    def __init__(self, found: Found, *, skipped: Sequence[Skipped] = ()) -> None:
        self._source = found.source
        self._index = np.arange(found.source.n, dtype=np.int64)
        self._split = found.split
        self.labels = found.labels
        self.classes = found.classes
        self.skipped = tuple(skipped)
        self.description = found.description
        self._fingerprint: str | None = None

    def __len__(self) -> int:
        return int(self._index.size)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"featdiv.Images: expected an index below {n}; got {index}")
        label: Any = -1
        if self.labels is not None:
            label = self.labels[index] if self.multilabel else int(self.labels[index])
        return self._source.read(int(self._index[index])), label

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return (self[index] for index in range(len(self)))

    @property
    def multilabel(self) -> bool:
        """Whether an image may have several classes: ``labels`` is a (n, c) table then."""
        return self.labels is not None and self.labels.ndim == 2

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, in the order train, val, test, others; empty where the data is not divided."""
        if self._split is None:
            return ()
        present = dict.fromkeys(self._split.tolist())
        return tuple(name for name in (*ORDER, *(name for name in present if name not in ORDER)) if name in present)

    @property
    def ids(self) -> npt.NDArray[np.str_]:
        """What each image is called, its path in the folder or its file and row, as (n,) text."""
        return np.array([self._source.id(int(index)) for index in self._index], dtype=str)

    @property
    def counts(self) -> dict[str, int]:
        """Class name to the number of its images."""
        if self.labels is None:
            return {}
        if self.multilabel:
            return dict(zip(self.classes, self.labels.sum(axis=0).tolist(), strict=True))
        seen = Counter(self.labels.tolist())
        return {name: seen.get(index, 0) for index, name in enumerate(self.classes)}

    @property
    def fingerprint(self) -> str:
        """``"sampled-blake2b:<hex>"`` of the number of images, their sizes, labels, and the bytes of up to 64 of them.

        It does not depend on where the files lie, nor on their dates. It reads little, and so misses a change of an
        image that is not among the 64 and keeps its size.
        """
        if self._fingerprint is None:
            digest = digest_of(self._source, self._index)
            digest.update("\0".join(self.classes).encode() + (b"\0several" if self.multilabel else b""))
            if self.labels is not None:
                digest.update(self.labels.astype("<i8").tobytes())
            self._fingerprint = f"sampled-blake2b:{digest.hexdigest()}"
        return self._fingerprint

    def split(self, name: str) -> Self:
        """Returns the images of one split.

        Raises:
            InputError: if there is no such split.
        """
        if self._split is None or name not in self.splits:
            known = ", ".join(map(repr, self.splits)) or "none: the data is not divided"
            raise InputError(f"featdiv.Images.split: name: expected one of the splits ({known}); got {name!r}")
        part = self.subset(np.flatnonzero(self._split == name))
        part._split = None
        part.description = f"{self.description} [{name}]"
        return part

    def subset(self, rows: npt.ArrayLike) -> Self:
        """Returns chosen images, in the order given.

        Args:
            rows: indices, or a boolean mask of length n.

        Raises:
            InputError: if an index is out of range.
        """
        index = np.asarray(rows)
        if index.dtype.kind == "b" and index.shape == (len(self),):
            index = np.flatnonzero(index)
        if index.size == 0:
            index = index.astype(np.int64)
        if (
            index.ndim != 1
            or index.dtype.kind not in "iu"
            or (index.size and not 0 <= index.min() <= index.max() < len(self))
        ):
            raise InputError(
                f"featdiv.Images.subset: rows: expected indices from 0 to {len(self) - 1} or a mask; got {index.dtype} "
                f"of shape {index.shape}"
            )
        part = copy.copy(self)
        part._index = self._index[index]
        part._split = None if self._split is None else self._split[index]
        part.labels = None if self.labels is None else self.labels[index]
        part._fingerprint = None
        return part

    def unreadable(self, *, workers: int | None = None, progress: Progress | None = None) -> list[Skipped]:
        """Decodes every image and returns those that cannot be read.

        Args:
            workers: threads; None for one a core.
            progress: called with (images done, images in all).
        """
        return [Skipped(error.id, error.reason) for _, error in self._errors(workers, progress)]

    def _errors(self, workers: int | None, progress: Progress | None) -> Iterator[tuple[int, UnreadableImage]]:
        check_progress(progress, function=WHERE, told="images done, images in all")

        def attempt(index: int) -> UnreadableImage | None:
            try:
                self._source.read(int(self._index[index]))
            except UnreadableImage as error:
                return error
            return None

        # Sources of rows keep their latest row groups, which threads would fight over.
        threads = (workers or os.cpu_count() or 1) if isinstance(self._source, Files) else 1
        with ThreadPoolExecutor(threads) as pool:
            for index, error in enumerate(pool.map(attempt, range(len(self)))):
                if progress is not None:
                    progress(index + 1, len(self))
                if error is not None:
                    yield index, error

    def without_unreadable(self, *, progress: Progress | None = None) -> Self:
        """Returns the images that can be read; the others are in ``skipped``.

        Raises:
            InputError: if none can.
        """
        bad = dict(self._errors(None, progress))
        if len(bad) == len(self):
            raise InputError(
                f"{WHERE}: {self.description}: none of the {len(self)} images can be read: {_listing(bad)}"
            )
        kept = self.subset(np.setdiff1d(np.arange(len(self)), np.array(sorted(bad), dtype=np.int64)))
        kept.skipped = (*self.skipped, *(Skipped(error.id, error.reason) for error in bad.values()))
        return kept

    def __repr__(self) -> str:
        classes = f", {len(self.classes)} classes" if self.classes else ""
        splits = f", {'/'.join(self.splits)}" if self.splits else ""
        skipped = f", {len(self.skipped)} skipped" if self.skipped else ""
        return f"<Images {len(self)}{classes}{splits}{skipped} from {self.description}>"


def _listing(errors: dict[int, UnreadableImage]) -> str:
    return "; ".join(f"{error.id}: {error.reason}" for error in list(errors.values())[:3])


def images(
    data: Any,
    *,
    labels: Any = None,
    classes: Sequence[str] | None = None,
    image_key: str | None = None,
    label_key: str | None = None,
    corrupt: str = "raise",
    progress: Progress | None = None,
) -> Images:
    """Opens images, wherever they are, without reading them.

    Args:
        data: one of

            * a folder with a folder for each class, or with ``train``, ``val`` and ``test`` folders of such; or with
              images alone, which have no labels then;
            * parquet files in the Hugging Face image layout (extra ``arrow``): a path, a directory or a pattern. A
              column holds structs of bytes and path, or bytes, another the labels; ``train``, ``val`` or ``test`` in
              the name of a file is its split;
            * a Hugging Face dataset or a ``DatasetDict`` of splits (extra ``datasets``), or ``"hf:name"`` to load one;
            * a torchvision dataset, or anything with ``len()`` and ``[i]`` that gives images, (image, label) pairs or
              mappings: PIL images, encoded bytes, uint8 arrays, or tensors that are prepared already;
            * uint8 arrays (n, h, w), (n, h, w, 3) or (n, 3, h, w), with ``labels=``;
            * `Images`, which pass through.
        labels: (n,) numbers or names of classes, for data that does not carry them. Where images have several classes:
            a (n, c) table of 0 and 1, or for each image a list of numbers or names; columns of parquet files and of
            datasets may hold such lists too.
        classes: names of the classes, where the data does not have them.
        image_key: column of the images, where several can be meant.
        label_key: column of the labels, likewise.
        corrupt: ``"raise"``: an image that cannot be decoded is an error when it is read. ``"skip"``: all are decoded
            once now, and those that cannot be are left out and listed in ``skipped``.
        progress: called with (images done, images in all) while ``corrupt="skip"`` reads.

    Returns:
        The images, in the order of splits, class names (sorted as text) and paths, or of rows.

    Raises:
        SourceNotFound: nothing is there.
        InputError: no images; a class in ``val`` or ``test`` that ``train`` lacks; a class without images; files of
            several data sets.
        FormatError: a parquet file is damaged; with its subclass ``UnreadableImage``, an image is (when it is read).
        MissingDependency: an extra is not installed.

    Example:
        >>> import featdiv
        >>> from sklearn.datasets import load_digits
        >>> digits = load_digits()
        >>> data = featdiv.images((digits.images * 15.9).astype("uint8"), labels=digits.target)
        >>> data
        <Images 1797, 10 classes from array of 1797 images>
        >>> image, label = data[3]
        >>> image.size, image.mode, label, data.classes[label]
        ((8, 8), 'RGB', 3, '3')
    """
    if corrupt not in CORRUPT:
        raise InputError(f"{WHERE}: corrupt: expected 'raise' or 'skip'; got {corrupt!r}")
    check_progress(progress, function=WHERE, told="images done, images in all")
    if isinstance(data, Images):
        for name, value in (
            ("labels", labels),
            ("classes", classes),
            ("image_key", image_key),
            ("label_key", label_key),
        ):
            if value is not None:
                raise InputError(f"{WHERE}: {name}: data that is opened already has its own; leave {name}= out")
        opened = data
    else:
        found = _find(data, labels, classes, image_key, label_key)
        if found.source.n == 0:
            raise InputError(f"{WHERE}: {found.description}: expected at least one image, got none")
        opened = Images(found)
    return opened.without_unreadable(progress=progress) if corrupt == "skip" else opened


def _find(data: Any, labels: Any, classes: Sequence[str] | None, image: str | None, label: str | None) -> Found:
    if isinstance(data, str) and data.startswith("hf:"):
        from featdiv._optional import require

        loader = require("datasets", extra="datasets", needed_by=f"loading {data}")
        return image_tables.from_dataset(loader.load_dataset(data.removeprefix("hf:")), labels, classes, image, label)
    if not isinstance(data, (str, os.PathLike)):
        return image_tables.from_dataset(data, labels, classes, image, label)
    path = os.path.expanduser(os.fspath(data))
    if labels is not None or classes is not None:
        raise InputError(
            f"{WHERE}: labels, classes: files carry their own; leave both out, or pass an array or a dataset"
        )
    if files.is_glob(path):
        return _tables(files.expand_glob(path, kinds=KINDS), path, image, label)
    if os.path.isdir(path):
        tables = [name for name in files.list_directory(path) if name.lower().endswith(".parquet")]
        inner = os.path.join(path, "data")
        if not tables and os.path.isdir(inner) and len(os.listdir(path)) <= 3:
            # A snapshot of a Hugging Face repository keeps its files there.
            tables = [name for name in files.list_directory(inner) if name.lower().endswith(".parquet")]
        return _tables(tables, path, image, label) if tables else image_folders.find(path)
    if not os.path.exists(path):
        raise files.not_found(path, f"{WHERE}: no such file or folder: {path}", kinds=KINDS)
    return _tables([path], path, image, label)


def _tables(paths: list[str], description: str, image: str | None, label: str | None) -> Found:
    other = next((path for path in paths if not path.lower().endswith(".parquet")), None)
    if other is not None:
        raise InputError(
            f"{WHERE}: {other}: expected a folder of images, or parquet files; single image files go into a folder"
        )
    return image_tables.from_parquet(paths, description, image, label)
