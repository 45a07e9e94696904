"""Files by their path: opening, reading exactly, listing directories, and saying clearly what is missing."""

from __future__ import annotations

import abc
import difflib
import glob as globbing
import os
import re
from collections.abc import Collection
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from featdiv.errors import FormatError, InputError, SourceNotFound

WHERE = "featdiv.open: source"

FOLDER = "/"
"""Stands for a directory among suffixes of files that can be read."""

_ALIKE = 0.75
"""Least share of matching letters, as `difflib` counts them, at which a name is taken for the one that was meant."""


class File(abc.ABC):
    """A file that can be opened again and again; nothing is held open between readings.

    Attributes:
        name: the path as the user gave it, for messages.
    """

    name: str

    @property
    def suffix(self) -> str:
        """Extension in lower case, with the dot."""
        return os.path.splitext(self.name)[1].lower()

    @abc.abstractmethod
    def size(self) -> int:
        """Bytes of the file."""

    @abc.abstractmethod
    def open(self, *, exact: bool = False) -> BinaryIO:
        """Opens it for reading, unbuffered where that is possible; it can seek and ``readinto``.

        Args:
            exact: True where every read asks for just what is needed, so that reading ahead would be a waste.
        """

    @abc.abstractmethod
    def local(self) -> str | None:
        """A path that can be memory-mapped, or None where the file is not on this machine."""

    @abc.abstractmethod
    def fetched(self) -> str:
        """A path on this machine: its own, or that of a temporary copy."""

    @abc.abstractmethod
    def sibling(self, path: str) -> str:
        """Resolves a path that the file's content gives relative to the file."""


class LocalFile(File):
    """A file of this machine."""

    def __init__(self, path: str) -> None:
        self.name = path

    def size(self) -> int:
        """Bytes of the file."""
        return os.stat(self.name).st_size

    def open(self, *, exact: bool = False) -> BinaryIO:
        """Opens it without a buffer."""
        try:
            return cast(BinaryIO, open(self.name, "rb", buffering=0))
        except OSError as error:
            raise InputError(f"{WHERE}: {self.name}: cannot be opened: {error.strerror}") from None

    def local(self) -> str | None:
        """Its path."""
        return self.name

    def fetched(self) -> str:
        """Its path."""
        return self.name

    def sibling(self, path: str) -> str:
        """Resolves ``path`` relative to the directory of the file."""
        return os.path.join(os.path.dirname(self.name), os.path.expanduser(path))


def read_exactly(handle: BinaryIO, out: npt.NDArray[Any], name: str) -> None:
    """Fills ``out`` (C-ordered) from where ``handle`` stands.

    Raises:
        FormatError: if the file ends first.
    """
    view = memoryview(cast(Any, out.reshape(-1).view(np.uint8)))
    done = 0
    while done < len(view):
        try:
            got = handle.readinto(view[done:])  # type: ignore[attr-defined]
        except OSError as error:
            raise FormatError(f"{WHERE}: {name}: reading failed: {error}") from error
        if not got:
            raise FormatError(
                f"{WHERE}: {name}: the file ends {len(view) - done} bytes too early; "
                "it is truncated, or was changed while it was read"
            )
        done += got


def read_head(file: File, count: int, offset: int = 0) -> bytes:
    """Returns up to ``count`` bytes from ``offset``; fewer where the file ends."""
    parts = []
    with file.open() as handle:
        handle.seek(offset)
        while count > 0:
            part = handle.read(min(count, 1 << 20))
            if not part:
                break
            parts.append(part)
            count -= len(part)
    return b"".join(parts)


def natural(path: str) -> list[tuple[int, int, str]]:
    """Sort key that puts shard2 before shard10."""
    parts = re.split(r"(\d+)", path)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]


def is_glob(path: str) -> bool:
    """True if ``path`` is a pattern and no file has it as its literal name."""
    return any(character in path for character in "*?[") and not os.path.lexists(path)


def expand_glob(pattern: str, *, kinds: Collection[str]) -> list[str]:
    """Returns the files that match, in natural order.

    Args:
        pattern: of `glob`.
        kinds: suffixes of what the caller can read, for the message; see `not_found`.

    Raises:
        SourceNotFound: if none does.
    """
    found = sorted((path for path in globbing.glob(pattern, recursive=True) if os.path.isfile(path)), key=natural)
    if not found:
        raise SourceNotFound(f"{WHERE}: no file matches {pattern!r}{_nearby(pattern, kinds)}")
    return found


def list_directory(path: str) -> list[str]:
    """Returns the visible files of a directory, in natural order."""
    try:
        names = [entry.name for entry in os.scandir(path) if entry.is_file()]
    except OSError as error:
        raise InputError(f"{WHERE}: {path}: the directory cannot be read: {error.strerror}") from None
    visible = (name for name in names if not name.startswith((".", "_")))
    return [os.path.join(path, name) for name in sorted(visible, key=natural)]


def not_found(path: str, message: str | None = None, *, kinds: Collection[str]) -> SourceNotFound:
    """Returns the error for a path that does not exist, with names near it.

    Args:
        path: what was asked for.
        message: what to say before the names.
        kinds: suffixes of the files that could stand there, `FOLDER` among them for a directory; no other is named.
    """
    message = f"{WHERE}: no such file or directory: {path}" if message is None else message
    return SourceNotFound(message + _nearby(path, kinds))


def _nearby(path: str, kinds: Collection[str]) -> str:
    folder = os.path.dirname(path) or "."
    while folder and not os.path.isdir(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    if os.path.abspath(folder) != os.path.abspath(os.path.dirname(path) or "."):
        return f"; {folder or '.'} exists, but not what follows it"
    meant = os.path.basename(path)
    try:
        names = [entry.name for entry in os.scandir(folder) if _kind(entry) in kinds and entry.name != meant]
    except OSError:
        return ""
    # Without suffixes, which would make any two short names alike.
    alike = {name: difflib.SequenceMatcher(None, _stem(meant, kinds), _stem(name, kinds)).ratio() for name in names}
    near = sorted((name for name in names if alike[name] >= _ALIKE), key=lambda name: (-alike[name], name))
    return f"; did you mean {' or '.join(near[:3])}?" if near else ""


def _stem(name: str, kinds: Collection[str]) -> str:
    stem, suffix = os.path.splitext(name.lower())
    return stem if suffix in kinds else name.lower()


def _kind(entry: os.DirEntry[str]) -> str:
    return FOLDER if entry.is_dir() else os.path.splitext(entry.name)[1].lower()
