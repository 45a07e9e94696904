"""Files behind a URL (``s3://``, ``hf://``, ``https://``, ...) by fsspec: ranges are read, not whole files."""

from __future__ import annotations

import io
import posixpath
import shutil
import tempfile
import weakref
from typing import Any, BinaryIO, cast

from featdiv._optional import require
from featdiv.errors import FeatdivError, InputError, MissingDependency, SourceNotFound
from featdiv.io.files import WHERE, File, natural
from featdiv.io.sources import shard_files


class RemoteFile(File):
    """A file of an fsspec file system."""

    def __init__(self, system: Any, path: str) -> None:
        self.system = system
        self.path = path
        self.name = str(system.unstrip_protocol(path))
        self._copy: str | None = None

    def size(self) -> int:
        """Bytes of the file."""
        try:
            return int(self.system.size(self.path))
        except Exception as error:
            raise _unreachable(self.name, error) from error

    def open(self, *, exact: bool = False) -> BinaryIO:
        """Opens it; each read fetches a range."""
        try:
            handle = self.system.open(self.path, "rb", **({"cache_type": "none"} if exact else {}))
            if isinstance(handle, io.BytesIO):
                # The memory file system hands the same object to everyone, with one position for all readers.
                return io.BytesIO(handle.getvalue())
            return cast(BinaryIO, handle)
        except Exception as error:
            raise _unreachable(self.name, error) from error

    def local(self) -> str | None:
        """None: it is not on this machine."""
        return None

    def fetched(self) -> str:
        """A temporary copy, removed with this object."""
        if self._copy is None:
            folder = tempfile.mkdtemp(prefix="featdiv-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            self._copy = posixpath.join(folder, posixpath.basename(self.path))
            try:
                self.system.get_file(self.path, self._copy)
            except Exception as error:
                self._copy = None
                raise _unreachable(self.name, error) from error
        return self._copy

    def sibling(self, path: str) -> str:
        """Resolves ``path`` relative to the directory of the file."""
        if path.startswith("/"):
            return str(self.system.unstrip_protocol(path))
        return posixpath.join(posixpath.dirname(self.name), path)


def _unreachable(url: str, error: Exception) -> FeatdivError:
    if isinstance(error, FileNotFoundError):
        return SourceNotFound(f"{WHERE}: nothing at {url}")
    return InputError(f"{WHERE}: {url}: cannot be read ({type(error).__name__}: {error}); check address and access")


def _system(url: str) -> tuple[Any, str]:
    core = require("fsspec.core", extra="remote", needed_by="reading from a URL")
    try:
        system, path = core.url_to_fs(url)
    except ImportError as error:
        raise MissingDependency(f"{WHERE}: {url}: the file system of this URL needs a package: {error}") from None
    except Exception as error:
        raise _unreachable(url, error) from error
    return system, path


def open_remote(url: str) -> RemoteFile:
    """Returns the file at ``url``.

    Raises:
        SourceNotFound: if nothing is there.
    """
    found = RemoteFile(*_system(url))
    try:
        exists = found.system.exists(found.path)
    except Exception as error:
        raise _unreachable(url, error) from error
    if not exists:
        raise SourceNotFound(f"{WHERE}: nothing at {url}")
    return found


def expand(url: str) -> tuple[list[File], bool]:
    """Returns the files that ``url`` means, in natural order, and whether it means a single one.

    Raises:
        SourceNotFound: if there are none.
    """
    system, path = _system(url)
    try:
        if any(character in path for character in "*?["):
            names, single = [name for name in system.glob(path) if system.isfile(name)], False
        elif system.isdir(path):
            names, single = [name for name in system.ls(path, detail=False) if system.isfile(name)], False
            visible = sorted((name for name in names if posixpath.basename(name)[:1] not in (".", "_")), key=natural)
            return shard_files([RemoteFile(system, name) for name in visible], url), False
        else:
            names, single = ([path] if system.exists(path) else []), True
    except FeatdivError:
        raise
    except Exception as error:
        raise _unreachable(url, error) from error
    if not names:
        raise SourceNotFound(f"{WHERE}: nothing at {url}")
    return [RemoteFile(system, name) for name in sorted(names, key=natural)], single
