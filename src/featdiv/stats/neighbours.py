"""`Neighbours`: the k nearest rows of every row, found once and read by every score that is about neighbours."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import io
from featdiv.errors import InputError, NotEnoughData
from featdiv.io.embeddings import positive
from featdiv.io.progress import Progress, check_progress
from featdiv.stats import arguments, budget, neighbours_rows
from featdiv.stats.neighbours_engines import Engine, choose
from featdiv.stats.neighbours_rows import Side
from featdiv.stats.neighbours_search import BLOCK_ROWS, SPARE, Search

FUNCTION = "Neighbours.of"
DISTANCES = ("cosine", "l2")
RECALL_QUERIES = 1000
"""Queries, spread over all, on which the recall of an approximate index is measured."""

_ENTRY_BYTES = 12
"""Bytes of a neighbour in the table: a float32 and an int64."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Neighbours:
    """The k nearest rows of a gallery for every query, nearest first; an immutable value.

    Among rows equally near, those of lower index come first and are kept. Equality is that of float64 arithmetic on
    the rows themselves, rounded to float32, so that every backend gives the same table; only where more than a
    thousand rows are as near as the k-th may another of them be kept.

    Attributes:
        indices: (m, k) int64, rows of the gallery.
        values: (m, k) float32: cosines, descending, or Euclidean distances, ascending.
        n_gallery: rows of the gallery.
        d: features.
        distance: ``"cosine"`` or ``"l2"``.
        leave_one_out: whether the queries are the gallery, and no row is its own neighbour.
        backend: what searched: ``"faiss"``, or a backend of the topk op.
        index: ``"flat"`` (exact), or the FAISS factory string.
        recall: mean share of the true k neighbours found, measured on up to a thousand queries; None for an exact
            search.
        fingerprints: those of the sources, ``"gallery"`` and ``"queries"``.
        extractions: what the rows of each were extracted with (`Provenance.extraction`), or None.
        notes: remarks on the search.

    Example:
        >>> import numpy as np
        >>> from featdiv.stats.neighbours import Neighbours
        >>> x = np.array([[1.0, 0.0], [2.0, 0.2], [0.0, 3.0], [0.1, 1.0]])
        >>> near = Neighbours.of(x, k=1)
        >>> near.indices.ravel().tolist()
        [1, 0, 3, 2]
        >>> near.similarities.round(3).ravel().tolist()
        [0.9950000047683716, 0.9950000047683716, 0.9950000047683716, 0.9950000047683716]
    """

    indices: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    n_gallery: int
    d: int
    distance: str
    leave_one_out: bool
    backend: str
    index: str = "flat"
    recall: float | None = None
    fingerprints: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    extractions: Mapping[str, Mapping[str, Any] | None] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        whose = "each row's" if self.leave_one_out else f"{len(self.indices)} queries'"
        return f"Neighbours({whose} {self.k} of {self.n_gallery} rows, {self.distance}, {self.backend})"

    @classmethod
    def of(
        cls,
        gallery: Any,
        queries: Any = None,
        *,
        k: int,
        distance: str = "cosine",
        exclude_self: bool | None = None,
        index: str = "flat",
        backend: str = "auto",
        memory: int | float | str | None = None,
        progress: Progress | None = None,
    ) -> Neighbours:
        """Finds the neighbours.

        Args:
            gallery: rows to find: array, path or source, of any size; what does not fit the memory budget is read in
                shards, with the best so far kept for each query.
            queries: rows whose neighbours are wanted; None for those of the gallery, each left out of its own.
            k: neighbours of each query.
            distance: ``"cosine"``, or ``"l2"``, the Euclidean distance.
            exclude_self: whether row i of the queries is row i of the gallery and must not find itself; None: where no
                queries are given.
            index: ``"flat"`` compares every query with every row. A FAISS factory string such as ``"IVF1024,Flat"``,
                perhaps with settings after a colon (``"IVF1024,Flat:nprobe=32"``, ``"HNSW32:efSearch=128"``), is
                faster and approximate: its recall is measured and reported.
            backend: ``"faiss"``, a backend of the topk op, or ``"auto"``: the op's native backend, else FAISS where it
                is installed, else another backend of the op.
            memory: budget; None for a quarter of the machine's RAM.
            progress: called with (rows done, rows in all).

        Raises:
            InputError: if an argument cannot be used, or the two sides have different numbers of features.
            NotEnoughData: if the gallery has fewer than k rows (k + 1 in leave-one-out).
            NonFiniteError: if a row holds NaN or infinity.
            ZeroNormError: for cosines, if a row is zero.
            BudgetExceeded: if the table itself does not fit the budget.
            MissingDependency: if FAISS is asked for and not installed.
            BackendUnavailable: if the backend asked for cannot run.

        Complexity:
            n m d multiply-adds; memory: the vectors of the gallery in float32 or what fits the budget, O(m k), and
            blocks of queries.

        Source:
            FAISS: Douze et al. 2024, "The Faiss library".
        """
        k = positive(k, f"{FUNCTION}: k")
        arguments.one_of(FUNCTION, "distance", distance, DISTANCES)
        check_progress(progress, function=FUNCTION)
        allowed = budget.budget_bytes(memory, function=FUNCTION)
        with contextlib.ExitStack() as stack:
            found = asked = neighbours_rows.opened(gallery, function=FUNCTION, name="gallery", memory=allowed)
            if found is not gallery:
                stack.callback(found.close)
            if queries is not None:
                asked = neighbours_rows.opened(queries, function=FUNCTION, name="queries", memory=allowed)
                if asked is not queries:
                    stack.callback(asked.close)
            same = queries is None if exclude_self is None else exclude_self
            _check_sides(found, asked, k, same)
            engine, notes = choose(backend, index, found.device)
            search = _search(found, asked, k, same, engine, distance, index, allowed, progress)
            nearness, indices = search.run(k)
            recall = None if engine.exact else _measured_recall(search, indices, k)
        assert found.n is not None
        return cls(
            indices=indices,
            values=nearness if distance == "cosine" else _distances(nearness, search.gallery.scale),
            n_gallery=found.n,
            d=found.d,
            distance=distance,
            leave_one_out=same,
            backend=engine.name,
            index=index,
            recall=recall,
            fingerprints={"gallery": found.fingerprint, "queries": asked.fingerprint},
            extractions={"gallery": found.extraction, "queries": asked.extraction},
            notes=notes,
        )

    @property
    def n(self) -> int:
        """Number of queries."""
        return len(self.indices)

    @property
    def k(self) -> int:
        """Neighbours of each query."""
        return int(self.indices.shape[1])

    @property
    def similarities(self) -> npt.NDArray[np.float32]:
        """(m, k) cosines, descending.

        Raises:
            InputError: if the neighbours are by Euclidean distance.
        """
        return self._values_of("cosine", "similarities", "distances")

    @property
    def distances(self) -> npt.NDArray[np.float32]:
        """(m, k) Euclidean distances, ascending.

        Raises:
            InputError: if the neighbours are by cosine.
        """
        return self._values_of("l2", "distances", "similarities")

    @property
    def squared_distances(self) -> npt.NDArray[np.float32]:
        """(m, k) squared Euclidean distances, ascending."""
        return self.distances**2

    def head(self, k: int) -> Neighbours:
        """Returns the k nearest of these neighbours, without a search; the arrays are views.

        Raises:
            InputError: if k is not between 1 and the neighbours there are.
        """
        if not 1 <= k <= self.k:
            raise InputError(f"Neighbours.head: k: expected 1 to {self.k}, the neighbours found; got {k}")
        return dataclasses.replace(self, indices=self.indices[:, :k], values=self.values[:, :k])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the table to a ``.npz`` file that `load` reads; it appears under its name only when complete."""
        from featdiv.stats import neighbours_storage

        neighbours_storage.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Neighbours:
        """Reads what `save` wrote.

        Raises:
            FormatError: if the file is not a complete one of a version that this featdiv knows.
            SourceNotFound: if there is no such file.
        """
        from featdiv.stats import neighbours_storage

        return neighbours_storage.load(path)

    def _values_of(self, distance: str, name: str, other: str) -> npt.NDArray[np.float32]:
        if self.distance != distance:
            raise InputError(
                f"Neighbours.{name}: these neighbours were found with distance={self.distance!r} and have {other}; "
                f"search with distance={distance!r}"
            )
        return self.values


def _search(
    found: io.Embeddings,
    asked: io.Embeddings,
    k: int,
    same: bool,
    engine: Engine,
    distance: str,
    index: str,
    memory: int,
    progress: Progress | None,
) -> Search:
    """Returns the search of one source in another, with the shards of the gallery that fit the memory."""
    assert found.n is not None
    assert asked.n is not None
    shift, scale = neighbours_rows.frame(found) if distance == "l2" else (None, 1.0)
    left, right = (
        Side(
            function=FUNCTION,
            name=name,
            source=source,
            distance=distance,
            shift=shift,
            scale=scale,
            device=found.device,
        )
        for name, source in (("gallery", found), ("queries", asked))
    )
    table = _ENTRY_BYTES * asked.n * k + 4 * BLOCK_ROWS * found.d
    shard_rows = neighbours_rows.shard_rows(found.n, found.d, taken=table, memory=memory, function=FUNCTION)
    if shard_rows < found.n:
        _check_streaming(index)
        table += _ENTRY_BYTES * asked.n * (k + SPARE)
        shard_rows = neighbours_rows.shard_rows(found.n, found.d, taken=table, memory=memory, function=FUNCTION)
    return Search(
        gallery=left,
        queries=left if asked is found else right,
        same=same,
        engine=engine,
        shard_rows=shard_rows,
        progress=progress,
    )


def _distances(nearness: npt.NDArray[np.float32], scale: float) -> npt.NDArray[np.float32]:
    """Returns distances from negative squared ones of rows that were multiplied by ``scale``.

    Raises:
        InputError: if float32 cannot hold them.
    """
    scaled = np.sqrt(np.abs(nearness))
    if scale == 1.0:
        return scaled
    with np.errstate(over="ignore", under="ignore"):
        found = (scaled.astype(np.float64) / scale).astype(np.float32)
    if not np.isfinite(found).all() or ((found < np.finfo(np.float32).tiny) & (scaled > 0.0)).any():
        raise InputError(
            f"{FUNCTION}: gallery: expected rows whose distances float32 can hold, 1e-38 to 3e38; theirs leave that "
            "range. Multiply all rows by a constant: neighbours do not change."
        )
    return found


def _check_sides(gallery: io.Embeddings, queries: io.Embeddings, k: int, same: bool) -> None:
    if queries.d != gallery.d:
        raise InputError(f"{FUNCTION}: queries: expected d={gallery.d} features, like the gallery; got d={queries.d}")
    if same and queries.n != gallery.n:
        raise InputError(
            f"{FUNCTION}: exclude_self: expected queries that are the {gallery.n} rows of the gallery; got {queries.n}"
        )
    assert gallery.n is not None
    if k > gallery.n - same:
        raise NotEnoughData(
            f"{FUNCTION}: k: {k} neighbours need a gallery of at least {k + same} rows; got {gallery.n}. Ask for fewer"
        )


def _check_streaming(index: str) -> None:
    if index != "flat":
        raise InputError(
            f"{FUNCTION}: index={index!r} holds the whole gallery, which does not fit the memory budget; raise "
            "memory=, or use index='flat', which reads it in shards"
        )


def _measured_recall(search: Search, indices: npt.NDArray[np.int64], k: int) -> float:
    """Returns the mean share of the true neighbours that were found, for queries spread over all."""
    chosen = np.unique(np.linspace(0, search.queries.n - 1, RECALL_QUERIES).astype(np.int64))
    exact = dataclasses.replace(search, engine=choose("auto", "flat", search.gallery.device)[0], progress=None)
    truth = exact.some(chosen, k)
    both = np.sort(np.concatenate([truth, indices[chosen]], axis=1), axis=1)
    return float((both[:, 1:] == both[:, :-1]).sum() / truth.size)
