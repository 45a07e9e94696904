"""`Features`, what an extraction returns, and the sinks that collect its rows: memory, shards on disk, moments."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv import io
from featdiv.backbones.cache import Directory
from featdiv.errors import InputError, NonFiniteError, NotEnoughData
from featdiv.io.embeddings import SAMPLE_BLOCKS, Embeddings
from featdiv.stats import ClassMoments, Moments

if TYPE_CHECKING:
    import torch

    from featdiv.backbones.images import Images

    Rows = npt.NDArray[Any] | torch.Tensor


class Features(Embeddings):
    """Extracted features: `Embeddings` with labels and ids that know what they were extracted from.

    Attributes:
        classes: names of the classes; label i means ``classes[i]``.
        extraction: what shaped the numbers: model, weights hash, layer, pool, transform, data fingerprint, types.
        directory: where the features lie on disk, or None.
    """

    extraction: Mapping[str, Any]

    def __init__(
        self,
        rows: Embeddings | None,
        *,
        n: int,
        d: int,
        dtype: str,
        images: Images,
        extraction: Mapping[str, Any],
        directory: Directory | None,
        moments: Moments | ClassMoments | None = None,
    ) -> None:
        parts = [extraction["layer"], "of", extraction["model"], f"({extraction['weights']})", "on", images.description]
        super().__init__(
            n=n,
            d=d,
            dtype=dtype,
            description=" ".join(map(str, parts)),
            format="features" if rows is None else rows.format,
            path=None if directory is None else str(directory.path),
        )
        self._rows = rows
        self._moments = moments
        self.labels = images.labels
        self.ids = images.ids
        self.classes = images.classes
        self.extraction = dict(extraction)
        self.directory = None if directory is None else directory.path

    @property
    def stored(self) -> bool:
        """Whether there are rows to read; with ``store=False`` there are only moments."""
        return self._rows is not None

    @property
    def shards(self) -> int:
        """Number of files."""
        return 1 if self._rows is None else self._rows.shards

    @property
    def rows(self) -> Embeddings:
        """The rows.

        Raises:
            InputError: if they were not stored.
        """
        if self._rows is None:
            raise InputError(
                "featdiv.extract: these features were not stored (store=False); use their .moments or .class_moments, "
                "or extract with store=True"
            )
        return self._rows

    @property
    def moments(self) -> Moments:
        """Moments of the rows: accumulated during the extraction with ``store=False``, else read from the rows."""
        if isinstance(self._moments, ClassMoments):
            return self._moments.total()
        if self._moments is None:
            self._moments = Moments.from_source(self)
        return self._moments

    @property
    def class_moments(self) -> ClassMoments:
        """Moments of each class, likewise.

        Raises:
            NotEnoughData: if some image has no label, or images have several.
        """
        if self.labels is not None and np.ndim(self.labels) == 2:
            raise NotEnoughData(
                "featdiv.extract: class_moments: images with several classes have no class of their own"
            )
        if self.labels is None or (self.labels < 0).any():
            raise NotEnoughData("featdiv.extract: class_moments: expected a label for each image; some have none")
        if isinstance(self._moments, ClassMoments):
            return self._moments
        return ClassMoments.from_source(self)

    def _blocks(self, rows: int) -> Iterator[tuple[int, Rows]]:
        return self.rows._blocks(rows)

    def _gather(self, index: npt.NDArray[np.int64]) -> Rows:
        return self.rows._gather(index)

    def _digest(self, blocks: int = SAMPLE_BLOCKS) -> str | None:
        return None if self._rows is None else self._rows._digest(blocks)

    def __repr__(self) -> str:
        stored = "" if self.stored else ", moments only"
        return f"<Features {self.n} x {self.d} {self.dtype}{stored}: {self.description}>"


class Sink(abc.ABC):
    """Takes the rows of one layer, shard by shard."""

    def __init__(self, images: Images, extraction: Mapping[str, Any], *, dtype: str, shard_rows: int) -> None:
        self.images = images
        self.extraction = extraction
        self.dtype = dtype
        self.n = len(images)
        self.shard_rows = shard_rows
        self.done: set[int] = set()
        """Shards that need not be computed."""

    @property
    def shards(self) -> int:
        """Number of shards in all."""
        return -(-self.n // self.shard_rows)

    @property
    def complete(self) -> bool:
        """Whether nothing has to be computed."""
        return len(self.done) == self.shards

    def begin(self, d: int) -> None:  # noqa: B027 - not every sink prepares
        """Prepares for rows of ``d`` features; called before the first."""

    def take(self, shard: int, rows: torch.Tensor) -> None:
        """Takes the rows of a shard, on the CPU.

        Raises:
            NonFiniteError: if some hold NaN or infinity.
        """
        import torch

        finite = torch.isfinite(rows).all(dim=1)
        if not bool(finite.all()):
            bad = (~finite).nonzero().flatten()
            first = shard * self.shard_rows + int(bad[0])
            half = " float16 overflows above 65504: use bfloat16." if "float16" in self._types() else ""
            raise NonFiniteError(
                f"featdiv.extract: {len(bad)} images of shard {shard} have features that are NaN or infinite, the "
                f"first image {first} ({self.images.ids[first]}) in layer {self.extraction['layer']!r}.{half} Are the "
                "weights finite?",
                count=len(bad),
                first_row=first,
            )
        self.keep(shard, rows)
        self.done.add(shard)

    def _types(self) -> tuple[Any, ...]:
        return self.dtype, self.extraction.get("autocast")

    @abc.abstractmethod
    def keep(self, shard: int, rows: torch.Tensor) -> None:
        """Keeps the rows of a shard."""

    @abc.abstractmethod
    def finish(self, extra: Mapping[str, Any]) -> Features:
        """Returns what was collected."""


class Memory(Sink):
    """Keeps the rows in memory."""

    def begin(self, d: int) -> None:
        """Makes room for all rows."""
        import torch

        self.rows = torch.empty((self.n, d), dtype=getattr(torch, self.dtype))

    def keep(self, shard: int, rows: torch.Tensor) -> None:
        """Copies them to their place."""
        start = shard * self.shard_rows
        self.rows[start : start + len(rows)] = rows

    def finish(self, extra: Mapping[str, Any]) -> Features:
        """Wraps the rows."""
        rows = io.open(self.rows)
        return Features(
            rows, n=self.n, d=rows.d, dtype=rows.dtype, images=self.images, extraction=self.extraction, directory=None
        )


class Disk(Sink):
    """Writes each shard as a file."""

    def __init__(self, images: Images, extraction: Mapping[str, Any], directory: Directory) -> None:
        super().__init__(images, extraction, dtype=directory.dtype, shard_rows=directory.shard_rows)
        self.directory = directory
        self.done = directory.finished()

    def begin(self, d: int) -> None:
        """Describes what will be written, and makes sure that there is room."""
        left = sum(len(self.directory.rows_of(shard)) for shard in range(self.shards) if shard not in self.done)
        self.directory.check_room(d, left)
        self.directory.describe(d=d, complete=False, extra={})

    def keep(self, shard: int, rows: torch.Tensor) -> None:
        """Writes the file."""
        import torch

        bits = rows.contiguous().view(torch.int16) if rows.dtype == torch.bfloat16 else rows.contiguous()
        self.directory.write_shard(shard, bits.numpy())

    def finish(self, extra: Mapping[str, Any]) -> Features:
        """Writes what lies beside the shards, once, and opens them."""
        directory = self.directory
        if not directory.complete:
            if self.images.labels is not None:
                directory.write_array("labels.npy", self.images.labels)
            directory.write_array("ids.npy", self.images.ids)
            if self.images.classes:
                directory.write("classes.txt", ("\n".join(self.images.classes) + "\n").encode())
            names = [directory.shard_path(shard).name for shard in range(self.shards)]
            directory.write("manifest.txt", ("\n".join(names) + "\n").encode())
            directory.describe(d=directory.d or 0, complete=True, extra=extra)
        rows = directory.open_shards()
        return Features(
            rows,
            n=self.n,
            d=rows.d,
            dtype=rows.dtype,
            images=self.images,
            extraction=self.extraction,
            directory=directory,
        )


class Accumulate(Sink):
    """Adds the rows to moments, of the classes where all are labelled, and forgets them.

    With a directory, the moments so far are saved after each shard, and a later call goes on from them.
    """

    def __init__(
        self, images: Images, extraction: Mapping[str, Any], *, dtype: str, shard_rows: int, directory: Directory | None
    ) -> None:
        super().__init__(
            images, extraction, dtype=dtype, shard_rows=shard_rows if directory is None else directory.shard_rows
        )
        self.directory = directory
        self.labelled = images.labels is not None and not images.multilabel and not bool((images.labels < 0).any())
        self.moments: Moments | ClassMoments | None = None
        if directory is not None and (directory.path / "moments.npz").exists():
            kind = ClassMoments if self.labelled else Moments
            self.moments = self._explained(kind.load(directory.path / "moments.npz"))
            self.done = set(range(-(-self.moments.n // self.shard_rows)))

    def _explained(self, moments: Any) -> Any:
        return dataclasses.replace(moments, extraction=self.extraction)

    def begin(self, d: int) -> None:
        """Describes what will be written."""
        if self.directory is not None:
            self.directory.describe(d=d, complete=False, extra={"stored": False})

    def keep(self, shard: int, rows: torch.Tensor) -> None:
        """Merges the moments of the rows."""
        part: Any
        if self.labelled and self.images.labels is not None:
            start = shard * self.shard_rows
            part = ClassMoments.of(rows, self.images.labels[start : start + len(rows)])
        else:
            part = Moments.of(rows)
        part = self._explained(part)
        self.moments = part if self.moments is None else self.moments.merge(part)
        if self.directory is not None:
            with self.directory._room():
                self.moments.save(self.directory.path / "moments.npz")

    def finish(self, extra: Mapping[str, Any]) -> Features:
        """Wraps the moments."""
        assert self.moments is not None
        if self.directory is not None and not self.directory.complete:
            self.directory.describe(d=self.moments.d, complete=True, extra={"stored": False, **extra})
        return Features(
            None,
            n=self.n,
            d=self.moments.d,
            dtype=self.dtype,
            images=self.images,
            extraction=self.extraction,
            directory=self.directory,
            moments=self.moments,
        )
