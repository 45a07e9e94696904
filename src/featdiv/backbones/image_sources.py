"""Where images lie: files, parquet files, arrays, and map-style datasets. Each reads one image by its number."""

from __future__ import annotations

import abc
import hashlib
import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv._optional import require
from featdiv.backbones.decoding import UnreadableImage, decode, from_array, to_rgb
from featdiv.errors import FormatError, InputError

SAMPLED = 64
"""Images whose bytes go into a fingerprint."""

CACHED_BYTES = 512 << 20
"""Encoded bytes of row groups that one process keeps for random access."""


class Source(abc.ABC):
    """Images by number; can be sent to another process."""

    n: int

    @abc.abstractmethod
    def read(self, index: int) -> Any:
        """Returns an image as 8-bit RGB, or the tensor that the source holds."""

    @abc.abstractmethod
    def id(self, index: int) -> str:
        """Returns what to call an image."""

    @abc.abstractmethod
    def encoded(self, index: int) -> bytes:
        """Returns bytes that stand for the content of an image, for the fingerprint."""

    def extent(self, index: int) -> int:
        """Returns the bytes that an image takes, where that costs nothing to know; else 0."""
        return 0


def sampled(index: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns evenly spaced entries of ``index``, both ends among them."""
    if index.size <= SAMPLED:
        return index
    return index[np.linspace(0, index.size - 1, SAMPLED).round().astype(np.int64)]


def digest_of(source: Source, index: npt.NDArray[np.int64]) -> hashlib.blake2b:
    """Returns a hash of how many images there are, how large each is, and what some of them hold."""
    digest = hashlib.blake2b(digest_size=16)
    extents = np.fromiter((source.extent(int(i)) for i in index), dtype="<i8", count=index.size)
    digest.update(f"{index.size};".encode() + extents.tobytes())
    for i in sampled(index):
        digest.update(hashlib.blake2b(source.encoded(int(i)), digest_size=16).digest())
    return digest


class Files(Source):
    """Image files.

    Args:
        paths: of the files.
        root: folder to which ids are relative, or None for the paths themselves.
    """

    def __init__(self, paths: Sequence[str], root: str | None = None) -> None:
        self.paths = list(paths)
        self.root = root
        self.n = len(self.paths)

    def read(self, index: int) -> Any:
        """Reads and decodes a file."""
        return decode(self.encoded(index), self.paths[index])

    def id(self, index: int) -> str:
        """Path relative to the root."""
        path = self.paths[index]
        return os.path.relpath(path, self.root).replace(os.sep, "/") if self.root else path

    def encoded(self, index: int) -> bytes:
        """The bytes of the file."""
        try:
            return Path(self.paths[index]).read_bytes()
        except OSError as error:
            raise UnreadableImage(self.paths[index], f"cannot be read ({error.strerror})") from None

    def extent(self, index: int) -> int:
        """Size of the file."""
        try:
            return os.stat(self.paths[index]).st_size
        except OSError as error:
            raise UnreadableImage(self.paths[index], f"cannot be read ({error.strerror})") from None


class Parquet(Source):
    """One parquet file in the Hugging Face image layout: a column of structs of bytes and path, or of bytes.

    Row groups are decompressed when an image of theirs is read, and the latest are kept.
    """

    def __init__(self, path: str, column: str) -> None:
        parquet = require("pyarrow.parquet", extra="arrow", needed_by="reading images from parquet")
        self.path = path
        self.column = column
        with parquet.ParquetFile(path) as file:
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
        self.starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        self.n = int(self.starts[-1])
        self._open: Any = None
        self._owner = -1
        self._groups: OrderedDict[int, Any] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": None, "_groups": OrderedDict()}

    def read(self, index: int) -> Any:
        """Decodes one row."""
        return decode(self.encoded(index), f"{self.path}: row {index}")

    def id(self, index: int) -> str:
        """File name and row."""
        return f"{os.path.basename(self.path)}:{index}"

    def encoded(self, index: int) -> bytes:
        """The bytes in the row, or of the file that it names."""
        group = int(np.searchsorted(self.starts, index, side="right")) - 1
        value = self._group(group)[index - int(self.starts[group])].as_py()
        if isinstance(value, dict):
            data, path = value.get("bytes"), value.get("path")
            if data is None and path:
                beside = Path(path) if os.path.isabs(path) else Path(self.path).parent / path
                try:
                    data = beside.read_bytes()
                except OSError as error:
                    raise UnreadableImage(
                        f"{self.path}: row {index}", f"names the file {path}, which cannot be read ({error.strerror})"
                    ) from None
            value = data
        if value is None:
            raise UnreadableImage(f"{self.path}: row {index}", "the row holds no image")
        return bytes(value)

    def _group(self, group: int) -> Any:
        if self._owner != os.getpid():
            # A forked process must not read through the file handle of its parent.
            self._open, self._owner = None, os.getpid()
        if group in self._groups:
            self._groups.move_to_end(group)
            return self._groups[group]
        if self._open is None:
            parquet = require("pyarrow.parquet", extra="arrow", needed_by="reading images from parquet")
            self._open = parquet.ParquetFile(self.path)
        try:
            # Without Arrow's own threads, which a forked process does not have.
            table = self._open.read_row_group(group, columns=[self.column], use_threads=False)
        except (OSError, ValueError) as error:
            raise FormatError(f"featdiv.images: {self.path}: row group {group} cannot be read: {error}") from None
        self._groups[group] = table.column(0).combine_chunks()
        while len(self._groups) > 1 and sum(kept.nbytes for kept in self._groups.values()) > CACHED_BYTES:
            self._groups.popitem(last=False)
        return self._groups[group]


class Arrays(Source):
    """An array of images: (n, h, w), (n, h, w, 3) or (n, 3, h, w), uint8."""

    def __init__(self, pixels: npt.NDArray[Any]) -> None:
        self.pixels = pixels
        self.n = int(pixels.shape[0])

    def read(self, index: int) -> Any:
        """One image."""
        return from_array(self.pixels[index], f"image {index}")

    def id(self, index: int) -> str:
        """The number."""
        return str(index)

    def encoded(self, index: int) -> bytes:
        """The pixels and their shape."""
        return f"{self.pixels.shape[1:]}".encode() + np.ascontiguousarray(self.pixels[index]).tobytes()


class MapStyle(Source):
    """Whatever has ``len()`` and ``[i]``: a torchvision, torch or Hugging Face dataset, or a list of images.

    Args:
        dataset: gives an image, (image, label, ...), or a mapping that has the image under ``key``.
        key: entry of a mapping that holds the image.
    """

    def __init__(self, dataset: Any, key: str | None = None) -> None:
        self.dataset = dataset
        self.key = key
        self.n = len(dataset)

    def item(self, index: int) -> Any:
        """What the dataset gives; its own errors about damaged images are reported as such."""
        try:
            return self.dataset[index]
        except (OSError, SyntaxError, ValueError) as error:
            raise UnreadableImage(f"item {index}", f"{type(self.dataset).__name__} raised: {error}") from None

    def image(self, index: int) -> Any:
        """The image of an item, as the dataset gives it."""
        item = self.item(index)
        if self.key is not None:
            return item[self.key]
        return item[0] if isinstance(item, (tuple, list)) else item

    def read(self, index: int) -> Any:
        """The image as RGB; floating-point tensors are handed on as they are."""
        value = self.image(index)
        id = f"item {index}"
        if isinstance(value, dict) and "bytes" in value:
            return decode(value["bytes"] or b"", id)
        if isinstance(value, (bytes, bytearray)):
            return decode(bytes(value), id)
        if hasattr(value, "convert") and hasattr(value, "mode"):
            return to_rgb(value, id)
        if hasattr(value, "is_floating_point") and value.is_floating_point():
            return value
        if hasattr(value, "shape"):
            return from_array(value, id)
        raise InputError(
            f"featdiv.images: {id}: expected a PIL image, encoded bytes, a uint8 array or a tensor; "
            f"got {type(value).__name__}"
        )

    def id(self, index: int) -> str:
        """The number."""
        return str(index)

    def encoded(self, index: int) -> bytes:
        """The bytes or pixels of the item."""
        try:
            value = self.image(index)
        except UnreadableImage as error:
            return error.reason.encode()
        if isinstance(value, dict):
            value = value.get("bytes") or b""
        if isinstance(value, (bytes, bytearray)):
            return bytes(value)
        pixels = np.asarray(value)
        return f"{pixels.shape} {pixels.dtype};".encode() + np.ascontiguousarray(pixels).tobytes()


class Joined(Source):
    """Several sources, one after the other."""

    def __init__(self, parts: Sequence[Source]) -> None:
        self.parts = list(parts)
        self.starts = np.concatenate([[0], np.cumsum([part.n for part in parts], dtype=np.int64)])
        self.n = int(self.starts[-1])

    def _at(self, index: int) -> tuple[Source, int]:
        part = int(np.searchsorted(self.starts, index, side="right")) - 1
        return self.parts[part], index - int(self.starts[part])

    def read(self, index: int) -> Any:
        """One image."""
        part, within = self._at(index)
        return part.read(within)

    def id(self, index: int) -> str:
        """As its part calls it."""
        part, within = self._at(index)
        return part.id(within)

    def encoded(self, index: int) -> bytes:
        """As its part gives it."""
        part, within = self._at(index)
        return part.encoded(within)

    def extent(self, index: int) -> int:
        """As its part gives it."""
        part, within = self._at(index)
        return part.extent(within)
