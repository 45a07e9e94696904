"""What searches: FAISS or featdiv's own topk op, behind one call."""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from featdiv._optional import require
from featdiv.errors import BackendUnavailable, InputError, NotEnoughData
from featdiv.ops import _dispatch
from featdiv.ops.topk import topk

Found = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
"""(m, k) nearness (inner products, or negative squared distances), descending, and the rows of the gallery."""

TRAINED_ROWS = 200_000


class Engine(Protocol):
    """A way to search a gallery that is in memory."""

    @property
    def name(self) -> str:
        """Name of the backend."""
        ...

    @property
    def exact(self) -> bool:
        """Whether it finds the true neighbours, up to rounding."""
        ...

    @property
    def interruptible(self) -> bool:
        """Whether Ctrl-C ends a search on the CPU at once."""
        ...

    def search(self, queries: Any, gallery: Any, k: int, *, measure: str) -> Found:
        """Returns the k nearest rows of the gallery; arguments as `featdiv.ops.topk.topk`."""
        ...


@dataclasses.dataclass(frozen=True)
class OwnOp:
    """The topk op, through one of its backends."""

    name: str
    exact: bool = True

    @property
    def interruptible(self) -> bool:
        """Native searches watch for it."""
        return self.name == "native"

    def search(self, queries: Any, gallery: Any, k: int, *, measure: str) -> Found:
        """Returns the k nearest rows of the gallery."""
        found = topk(queries, gallery, k=k, measure=measure, backend=self.name)
        return (found.values if measure == "inner" else -found.values), found.indices


@dataclasses.dataclass(frozen=True)
class FaissFlat:
    """FAISS, every query against every row.

    Attributes:
        gpu: number of the CUDA device that searches; None for the CPU.
    """

    gpu: int | None = None
    name: str = "faiss"
    exact: bool = True
    interruptible: bool = False

    def search(self, queries: Any, gallery: Any, k: int, *, measure: str) -> Found:
        """Returns the k nearest rows of the gallery."""
        faiss = _faiss()
        metric = faiss.METRIC_INNER_PRODUCT if measure == "inner" else faiss.METRIC_L2
        queries, gallery = _on_host(queries), _on_host(gallery)
        if self.gpu is None:
            values, indices = faiss.knn(queries, gallery, k, metric)
        else:
            resources = faiss.StandardGpuResources()
            values, indices = faiss.knn_gpu(resources, queries, gallery, k, metric=metric, device=self.gpu)
        return (values if measure == "inner" else -values), indices


class FaissIndex:
    """A FAISS index made from a factory string; it is trained and filled by the first search.

    Args:
        factory: the factory string, perhaps with settings after a colon.
        gpu: number of the CUDA device that holds the index and searches; None for the CPU.
    """

    name = "faiss"
    exact = False
    interruptible = False

    def __init__(self, factory: str, gpu: int | None = None) -> None:
        self._factory, _, self._settings = factory.partition(":")
        self._gpu = gpu
        self._index: Any = None
        self._resources: Any = None

    def search(self, queries: Any, gallery: Any, k: int, *, measure: str) -> Found:
        """Returns what the index takes for the k nearest rows of the gallery.

        Raises:
            InputError: if FAISS does not know the factory string, or cannot train on so few rows.
            NotEnoughData: if the index finds fewer than k rows for a query.
        """
        if self._index is None:
            self._index = self._filled(_on_host(gallery), measure)
        values, indices = self._index.search(_on_host(queries), k)
        short = (indices < 0).any(axis=1)
        if short.any():
            raise NotEnoughData(
                f"Neighbours.of: index={self._factory!r} finds fewer than {k} neighbours for {int(short.sum())} of "
                f"{len(short)} queries; let it look further, for example index='{self._factory}:nprobe=32'"
            )
        return (values if measure == "inner" else -values), indices

    def _filled(self, gallery: Any, measure: str) -> Any:
        faiss = _faiss()
        metric = faiss.METRIC_INNER_PRODUCT if measure == "inner" else faiss.METRIC_L2
        try:
            index = faiss.index_factory(int(gallery.shape[1]), self._factory, metric)
            space = faiss.ParameterSpace
            if self._gpu is not None:
                # The index frees what it allocated through these, so they have to live as long.
                self._resources = faiss.StandardGpuResources()
                index = faiss.index_cpu_to_gpu(self._resources, self._gpu, index)
                space = faiss.GpuParameterSpace
            step = max(1, len(gallery) // TRAINED_ROWS)
            index.train(np.ascontiguousarray(gallery[::step]))
            if self._settings:
                space().set_index_parameters(index, self._settings)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise InputError(
                f"Neighbours.of: index: expected 'flat' or a FAISS factory string, perhaps with settings after a "
                f"colon, such as 'IVF1024,Flat:nprobe=32'; FAISS refuses {self._factory!r} with settings "
                f"{self._settings!r} for {gallery.shape[0]} x {gallery.shape[1]} rows: {reason}"
            ) from None
        index.add(gallery)
        return index


def choose(backend: str, index: str, device: str) -> tuple[Engine, tuple[str, ...]]:
    """Returns what will search, and notes on the choice.

    ``auto`` takes the first that can of the native topk op, FAISS, and another backend of the op, with a note on what
    is missing.

    Raises:
        BackendUnavailable: if the backend asked for cannot.
        MissingDependency: if FAISS is asked for, by name or by an index, and is not installed.
    """
    # A backend of other ops is no mistake of spelling: why it cannot search is said where it is chosen.
    if backend not in {"auto", "faiss"}.union(*_dispatch.OPS.values()):
        known = ", ".join(("auto", "faiss", *_dispatch.OPS["topk"]))
        raise InputError(f"Neighbours.of: backend: expected one of {known}; got {backend!r}")
    if index != "flat" and backend not in ("auto", "faiss"):
        raise InputError(f"Neighbours.of: index={index!r} is one of FAISS; use backend='faiss', not {backend!r}")
    wanted = "faiss" if index != "flat" or backend == "faiss" else _dispatch.requested(backend)
    request = _dispatch.Request(op="topk", device=device.partition(":")[0])
    slow: tuple[str, ...] = ()
    if wanted == "auto" and device == "cpu":
        reason = _dispatch.unsupported_reason(request, "native")
        if reason is None:
            wanted = "native"
        elif importlib.util.find_spec("faiss") is not None:
            wanted = "faiss"
        else:
            slow = (f"neither the native module nor FAISS is there, which search faster: {reason}",)
    if wanted != "faiss":
        return OwnOp(_dispatch.choose(request, wanted)), slow
    faiss, gpu = _faiss(), None
    if device != "cpu":
        reason = gpu_reason(faiss, device)
        if reason is not None:
            raise BackendUnavailable(f"Neighbours.of: backend 'faiss': {reason}", reasons={"faiss": reason})
        gpu = int(device.partition(":")[2] or 0)
    return (FaissFlat(gpu) if index == "flat" else FaissIndex(index, gpu)), ()


def gpu_reason(faiss: Any, device: str) -> str | None:
    """Returns why this FAISS cannot search rows on a device other than the CPU, or None if it can."""
    elsewhere = "Move the rows to the CPU, or leave the search to another backend"
    if device.partition(":")[0] != "cuda":
        return f"it works on rows of the CPU or of a CUDA device; these are on {device!r}. {elsewhere}"
    if not hasattr(faiss, "StandardGpuResources"):
        return f"the FAISS that is installed was built without GPU support, and rows are on {device!r}. {elsewhere}"
    if faiss.get_num_gpus() <= int(device.partition(":")[2] or 0):
        return f"FAISS sees {faiss.get_num_gpus()} GPUs, and rows are on {device!r}. {elsewhere}"
    return None


def _on_host(vectors: Any) -> npt.NDArray[np.float32]:
    """Returns vectors as an array: FAISS takes its copy to the GPU itself."""
    return vectors if isinstance(vectors, np.ndarray) else np.ascontiguousarray(vectors.cpu().numpy())


def _faiss() -> Any:
    return require("faiss", extra="faiss", needed_by="Neighbours.of with backend='faiss' or an index of FAISS")
