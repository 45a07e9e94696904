"""Moments of the processes of a ``torch.distributed`` group, merged.

Every rank sends a header of fixed size first, so that ranks which do not belong together find out
everywhere, and nobody waits. The states then go to the first rank of the group, one packed float64 vector
each, are merged there in rank order, and the result is sent to all: each rank has the same bits, whatever
its own arithmetic would have
given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError
from featdiv.stats.class_moments import ClassMoments
from featdiv.stats.moments import Float64Array, Moments, NormSums
from featdiv.stats.storage import facts_as_text, facts_of_text, packed, unpacked

if TYPE_CHECKING:
    import torch
    import torch.distributed

_KINDS = ("Moments", "ClassMoments")
_NORMALIZE = (None, "l2")
_LABELS = ("no labels", "integers", "strings")
_HEADER = ("kind", "d", "normalize", "extra", "labels", "n", "c", "width", "dropped", "facts")
_TEXT_BYTES = 64

Arrays = tuple["npt.NDArray[np.float64]", "npt.NDArray[np.int64]", "npt.NDArray[np.uint8]"]


def all_reduce_moments(moments: Moments, group: torch.distributed.ProcessGroup | None = None) -> Moments:
    """Merges the `Moments` of all ranks; see `Moments.all_reduce`."""
    merged = _Exchange(group, "Moments.all_reduce").merged(moments)
    assert isinstance(merged, Moments)
    return merged


def all_reduce_class_moments(
    moments: ClassMoments, group: torch.distributed.ProcessGroup | None = None
) -> ClassMoments:
    """Merges the `ClassMoments` of all ranks; see `ClassMoments.all_reduce`."""
    merged = _Exchange(group, "ClassMoments.all_reduce").merged(moments)
    assert isinstance(merged, ClassMoments)
    return merged


class _Exchange:
    """The messages of one reduction."""

    def __init__(self, group: torch.distributed.ProcessGroup | None, function: str) -> None:
        import torch
        import torch.distributed

        available = torch.distributed.is_available() and torch.distributed.is_initialized()
        if not available:
            raise InputError(
                f"{function}: group: expected a running process group; torch.distributed is not initialised. "
                "Call torch.distributed.init_process_group first."
            )
        self._torch = torch
        self._dist = torch.distributed
        self._group = group
        self._function = function
        self._rank = self._dist.get_rank(group)
        self._size = self._dist.get_world_size(group)
        if self._rank < 0:
            raise InputError(f"{function}: group: expected a group with this process in it; it is not a member")
        self._device = "cuda" if self._dist.get_backend(group) == "nccl" else "cpu"

    def merged(self, moments: Moments | ClassMoments) -> Moments | ClassMoments:
        """Returns the merge of what the ranks bring, in rank order."""
        headers = self._gathered(_header(moments))
        self._check(headers)
        if self._rank:
            for array in _packed(moments):
                self._send(array, to=0)
            header = self._broadcast(np.zeros(len(_HEADER), dtype=np.int64))
            state, integers, text = _room_for(header)
            return _unpacked(header, self._broadcast(state), self._broadcast(integers), self._broadcast(text))
        result = moments
        for rank in range(1, self._size):
            state, integers, text = _room_for(headers[rank])
            received = (self._receive(state, rank), self._receive(integers, rank), self._receive(text, rank))
            result = _merge(result, _unpacked(headers[rank], *received))
        self._broadcast(_header(result))
        for array in _packed(result):
            self._broadcast(array)
        return result

    def _check(self, headers: list[npt.NDArray[np.int64]]) -> None:
        ranks = [dict(zip(_HEADER, header.tolist(), strict=True)) for header in headers]
        words = [
            {
                "statistic": _KINDS[rank["kind"]],
                "d": str(rank["d"]),
                "normalize": repr(_NORMALIZE[rank["normalize"]]),
                "norm_sums" if rank["kind"] == 0 else "per_class": str(bool(rank["extra"])),
            }
            for rank in ranks
        ]
        for rank, mine in enumerate(words):
            for name, value in words[0].items():
                if mine.get(name) != value:
                    self._refuse(name, 0, value, rank, mine.get(name, "another statistic"))
        # A rank without rows has no labels to be of a kind.
        labelled = [number for number, rank in enumerate(ranks) if rank["labels"]]
        for number in labelled:
            first, here = (_LABELS[ranks[one]["labels"]] for one in (labelled[0], number))
            if first != here:
                self._refuse("labels", labelled[0], first, number, here)

    def _refuse(self, name: str, first: int, expected: str, other: int, got: str) -> NoReturn:
        raise InputError(
            f"{self._function}: {name}: expected the same on every rank; rank {first} has {expected} and "
            f"rank {other} has {got}. Make the moments with the same arguments everywhere."
        )

    def _tensor(self, array: npt.NDArray[Any]) -> torch.Tensor:
        return self._torch.from_numpy(np.array(array)).to(self._device)

    def _gathered(self, header: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
        mine = self._tensor(header)
        headers = [self._torch.empty_like(mine) for _ in range(self._size)]
        self._dist.all_gather(headers, mine, group=self._group)
        return [one.cpu().numpy() for one in headers]

    def _global(self, rank: int) -> int:
        return rank if self._group is None else self._dist.get_global_rank(self._group, rank)

    def _send(self, array: npt.NDArray[Any], *, to: int) -> None:
        if array.size:
            self._dist.send(self._tensor(array), self._global(to), group=self._group)

    def _receive(self, array: npt.NDArray[Any], rank: int) -> npt.NDArray[Any]:
        if not array.size:
            return array
        tensor = self._tensor(array)
        self._dist.recv(tensor, self._global(rank), group=self._group)
        received: npt.NDArray[Any] = tensor.cpu().numpy()
        return received

    def _broadcast(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if not array.size:
            return array
        tensor = self._tensor(array)
        self._dist.broadcast(tensor, self._global(0), group=self._group)
        received: npt.NDArray[Any] = tensor.cpu().numpy()
        return received


def _merge(a: Moments | ClassMoments, b: Moments | ClassMoments) -> Moments | ClassMoments:
    if isinstance(a, Moments) and isinstance(b, Moments):
        return a.merge(b)
    assert isinstance(a, ClassMoments)
    assert isinstance(b, ClassMoments)
    return a.merge(b)


def _header(moments: Moments | ClassMoments) -> npt.NDArray[np.int64]:
    normalize = _NORMALIZE.index(moments.normalize)
    facts = len(facts_as_text(moments.extraction).encode())
    if isinstance(moments, Moments):
        extra = moments.norm_sums is not None
        return np.array([0, moments.d, normalize, extra, 0, moments.n, 0, 0, 0, facts], dtype=np.int64)
    strings = moments.classes.dtype.kind == "U"
    kind = 0 if not moments.c else 2 if strings else 1
    width = moments.classes.dtype.itemsize // 4 if kind == 2 else 1
    extra = moments.scatters is not None
    return np.array(
        [1, moments.d, normalize, extra, kind, moments.n, moments.c, width, moments.dropped, facts], dtype=np.int64
    )


def _packed(moments: Moments | ClassMoments) -> Arrays:
    """Returns the state as (numbers, counts and labels, names), of the sizes that `_room_for` gives."""
    parts: list[Float64Array] = []
    integers = np.zeros(0, dtype=np.int64)
    if isinstance(moments, Moments):
        parts += [moments.mean, packed(moments.scatter)]
        if moments.norm_sums is not None:
            parts += [moments.norm_sums.weighted, np.array([moments.norm_sums.fourth])]
    else:
        parts += [moments.means.ravel(), packed(moments.within)]
        if moments.scatters is not None:
            parts += [packed(moments.scatters).ravel()]
        labels = moments.classes
        if labels.dtype.kind == "U":
            # Code points, each a number, so that no text is parsed on the other side.
            labels = np.frombuffer(labels.astype(labels.dtype.newbyteorder("=")).tobytes(), dtype=np.uint32)
        integers = np.concatenate([moments.counts, labels.astype(np.int64)])
    measured = np.nan if moments.measured_error is None else moments.measured_error
    parts += [np.array([moments.error_bound, measured])]
    text = b"".join(name.encode().ljust(_TEXT_BYTES, b"\0") for name in (moments.dtype, moments.backend))
    text += facts_as_text(moments.extraction).encode()
    return np.concatenate(parts), integers, np.frombuffer(text, dtype=np.uint8)


def _room_for(header: npt.NDArray[np.int64]) -> Arrays:
    kind, d, _, extra, _, _, c, width, _, facts = header.tolist()
    triangle = d * (d + 1) // 2
    numbers = d + triangle + extra * (d + 1) if kind == 0 else c * d + triangle + extra * c * triangle
    integers = c + c * width if kind == 1 else 0
    return (
        np.zeros(numbers + 2),
        np.zeros(integers, dtype=np.int64),
        np.zeros(2 * _TEXT_BYTES + facts, dtype=np.uint8),
    )


def _unpacked(
    header: npt.NDArray[np.int64],
    state: npt.NDArray[np.float64],
    integers: npt.NDArray[np.int64],
    text: npt.NDArray[np.uint8],
) -> Moments | ClassMoments:
    kind, d, normalize, extra, labels, n, c, width, dropped, _ = header.tolist()
    triangle = d * (d + 1) // 2
    error_bound, measured = state[-2:].tolist()
    names = [bytes(part).rstrip(b"\0").decode() for part in (text[:_TEXT_BYTES], text[_TEXT_BYTES : 2 * _TEXT_BYTES])]
    provenance: dict[str, Any] = {
        "normalize": _NORMALIZE[normalize],
        "error_bound": error_bound,
        "measured_error": None if np.isnan(measured) else measured,
        "dtype": names[0],
        "backend": names[1],
        "extraction": facts_of_text(bytes(text[2 * _TEXT_BYTES :]).decode()),
    }
    if kind == 0:
        mean, upper, rest = np.split(state[:-2], [d, d + triangle])
        norm_sums = NormSums(weighted=rest[:d].copy(), fourth=float(rest[d])) if extra else None
        return Moments(n=n, mean=mean.copy(), scatter=unpacked(upper, d), norm_sums=norm_sums, **provenance)
    means, upper, rest = np.split(state[:-2], [c * d, c * d + triangle])
    classes: npt.NDArray[Any] = integers[c:].copy()
    if labels == 2:
        classes = np.frombuffer(classes.astype(np.uint32).tobytes(), dtype=f"=U{width}").copy()
    return ClassMoments(
        classes=classes,
        counts=integers[:c].copy(),
        means=means.reshape(c, d).copy(),
        within=unpacked(upper, d),
        scatters=unpacked(rest.reshape(c, triangle), d) if extra else None,
        dropped=dropped,
        **provenance,
    )
