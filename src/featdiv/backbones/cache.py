"""Extracted features on disk: a directory for each key, with shards that appear one by one, each complete.

``DIR/<model>-<layer>-<key>/`` holds

* ``extraction.json``: what was extracted from what, and how many rows there will be;
* ``features-00000.npy``, … (``.safetensors`` for bfloat16): ``shard_rows`` rows each; or ``moments.npz`` where features
  are not stored;
* once all are there, ``labels.npy``, ``ids.npy``, ``classes.txt`` and ``manifest.txt``, with which `featdiv.open` reads
  the directory.

The key is a hash of everything that shapes the numbers, the version of this layout among it: another version of featdiv
that lays files out otherwise has other keys, and neither reads what the other wrote.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import FeatdivError, FormatError, InputError
from featdiv.io import files, sources
from featdiv.io.dtypes import ITEMSIZE
from featdiv.io.embeddings import Embeddings
from featdiv.io.writers import FORMATS, replacing
from featdiv.stats import budget

CACHE_VERSION = 1
"""Version of the layout and of what a key covers; part of every key."""

FORMAT = "featdiv.extraction"
DESCRIPTION = "extraction.json"
FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFull(FeatdivError, OSError):  # noqa: N818 - named for what is wrong, as the other errors are
    """There is no room for the features; what was finished is kept.

    Attributes:
        needed: bytes that are still to be written.
    """

    def __init__(self, message: str, *, needed: int) -> None:
        super().__init__(errno.ENOSPC, message)
        self.needed = needed

    def __str__(self) -> str:
        return str(self.args[1])


def free_bytes(path: str | os.PathLike[str]) -> int:
    """Returns the free bytes on the disk of a path; the path need not exist yet."""
    existing = os.path.abspath(os.path.expanduser(os.fspath(path)))
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    return shutil.disk_usage(existing).free


def key_of(facts: Mapping[str, Any]) -> str:
    """Returns the cache key for ``facts``, which are plain JSON values."""
    text = json.dumps({**facts, "cache_version": CACHE_VERSION}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


class Directory:
    """The directory of one extraction.

    Args:
        root: folder of the cache.
        facts: what shapes the numbers, with ``model`` and ``layer`` among it.
        shard_rows: rows a shard, where the directory is new.
        n: rows in all.
        dtype: element type of the rows.
        function: public name for messages.
    """

    def __init__(
        self, root: str, facts: Mapping[str, Any], *, shard_rows: int, n: int, dtype: str, function: str
    ) -> None:
        self.key = key_of(facts)
        name = re.sub(r"[^\w.-]+", "_", f"{facts['model']}-{facts['layer']}").strip("_")[:80]
        self.path = Path(root) / f"{name}-{self.key}"
        self.facts = dict(facts)
        self.shard_rows = shard_rows
        self.n = n
        self.d: int | None = None
        self.dtype = dtype
        self.function = function
        self.complete = False
        self._read()

    @property
    def shards(self) -> int:
        """Number of shards in all."""
        return -(-self.n // self.shard_rows)

    @property
    def kind(self) -> str:
        """Format of the shards."""
        return "safetensors" if self.dtype == "bfloat16" else "npy"

    def shard_path(self, shard: int) -> Path:
        """Returns where a shard lies."""
        return self.path / f"features-{shard:05d}.{self.kind}"

    def rows_of(self, shard: int) -> range:
        """Returns the rows of a shard."""
        return range(shard * self.shard_rows, min(self.n, (shard + 1) * self.shard_rows))

    def _read(self) -> None:
        path = self.path / DESCRIPTION
        if not path.exists():
            return
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if (content["format"], content["cache_version"], content["key"]) != (FORMAT, CACHE_VERSION, self.key):
                raise ValueError(f"it describes version {content['cache_version']}, key {content['key']}")
            self.shard_rows, self.d = int(content["shard_rows"]), int(content["d"])
            self.complete = content["complete"] is True
            if int(content["n"]) != self.n or self.shard_rows < 1:
                raise ValueError(f"it describes {content['n']} rows in shards of {self.shard_rows}, not {self.n} rows")
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(
                f"{self.function}: out: {path}: damaged, or not written by this version of featdiv ({error}); delete "
                f"the directory {self.path} to extract anew"
            ) from None

    def describe(self, *, d: int, complete: bool, extra: Mapping[str, Any]) -> None:
        """Writes ``extraction.json``."""
        from featdiv import __version__

        self.d, self.complete = d, complete
        content = {
            "format": FORMAT,
            "cache_version": CACHE_VERSION,
            "featdiv": __version__,
            "key": self.key,
            "complete": complete,
            "n": self.n,
            "d": d,
            "dtype": self.dtype,
            "shard_rows": self.shard_rows,
            **extra,
            "facts": self.facts,
        }
        self.path.mkdir(parents=True, exist_ok=True)
        self.write(DESCRIPTION, json.dumps(content, indent=2).encode() + b"\n")

    def description(self) -> dict[str, Any]:
        """Returns what ``extraction.json`` says."""
        content: dict[str, Any] = json.loads((self.path / DESCRIPTION).read_text(encoding="utf-8"))
        return content

    def finished(self) -> set[int]:
        """Returns the shards that are there and have the size that they should."""
        if self.d is None:
            return set()
        done = set()
        for shard in range(self.shards):
            path = self.shard_path(shard)
            try:
                part = sources.open_file(files.LocalFile(str(path)), None) if path.exists() else None
            except InputError:
                continue
            if part is not None and (part.n, part.d, part.dtype) == (len(self.rows_of(shard)), self.d, self.dtype):
                done.add(shard)
        return done

    def check_room(self, d: int, rows: int) -> None:
        """Refuses to begin what will not fit on the disk.

        Raises:
            DiskFull: if ``rows`` rows of ``d`` features need more than is free.
        """
        needed, free = rows * d * ITEMSIZE[self.dtype], free_bytes(self.path)
        if needed > free:
            raise DiskFull(
                f"{self.function}: out: {self.path}: {rows:,} rows of {d} {self.dtype} features need "
                f"{budget.size(needed)}, and {budget.size(free)} are free. Choose another out=, dtype='float16', or "
                "store=False for moments alone",
                needed=needed,
            )

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except DiskFull:
            raise
        except OSError as error:
            if error.errno not in FULL:
                raise
            done = len(self.finished())
            needed = (self.n - done * self.shard_rows) * (self.d or 0) * ITEMSIZE[self.dtype]
            raise DiskFull(
                f"{self.function}: out: {self.path}: the disk is full ({error.strerror}). {done} of {self.shards} "
                f"shards are finished and kept; free {budget.size(needed)} and call again, which goes on from there",
                needed=needed,
            ) from None

    def write(self, name: str, content: bytes) -> None:
        """Writes a file whole, or not at all."""
        with self._room(), replacing(str(self.path / name)) as handle:
            handle.write(content)

    def write_array(self, name: str, values: npt.NDArray[Any]) -> None:
        """Writes an array as ``.npy``, whole or not at all."""
        with self._room(), replacing(str(self.path / name)) as handle:
            np.lib.format.write_array(handle, values, allow_pickle=False)

    def write_shard(self, shard: int, bits: npt.NDArray[Any]) -> None:
        """Writes the rows of a shard, bfloat16 as 16-bit integers, whole or not at all."""
        with self._room(), replacing(str(self.shard_path(shard))) as handle:
            writer = FORMATS[self.kind][0](handle, int(bits.shape[1]), self.dtype)
            writer.write(bits)
            writer.finish()

    def open_shards(self) -> Embeddings:
        """Opens the finished shards as one source.

        Raises:
            FormatError: if they do not hold the rows that they should.
        """
        found = [files.LocalFile(str(self.shard_path(shard))) for shard in range(self.shards)]
        opened = sources.open_files(found, None, str(self.path), path=str(self.path))
        if opened.n != self.n:
            raise FormatError(
                f"{self.function}: out: {self.path}: expected {self.n} rows in its shards; got {opened.n}. Another "
                "call with other shard_rows= wrote there at the same time; delete the directory to extract anew"
            )
        return opened
