"""The laws that every mergeable statistic keeps; one call checks them all.

The statistic is made by ``make(*data)``, ``data`` being arrays with one entry for each row (rows; labels). It
must be a dataclass with ``merge``, ``save`` and ``load``. Each law is also a function of its own, so that a
test can require one to fail.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
import pickle
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.testing.compare import PROVENANCE, assert_close_statistic

Array = npt.NDArray[Any]
Make = Callable[..., Any]

_LARGE_MEAN = 2.0**24
_RESOLUTION = 2.0**-16
_LARGE_MEAN_RTOL = 1e-7
_LOCATION = ("mean", "means")


def check_laws(
    make: Make,
    *data: Array,
    empty: Any,
    rtol: float = 1e-12,
    translates: bool = True,
    seed: int = 0,
) -> None:
    """Requires every law of a statistic.

    Args:
        make: builds the statistic from as many arrays as ``data`` has, in float64.
        data: rows (n, d) first, n at least 40, then whatever else has one entry for each row.
        empty: the identity.
        rtol: how far regrouping the rows may move a number; see `assert_close_statistic`.
        translates: whether adding a constant to the rows may change nothing but the mean; False for
            statistics of normalised rows.
        seed: seed of the orders and cuts.

    Raises:
        AssertionError: naming the law that does not hold.

    Example:
        >>> from functools import partial
        >>> from featdiv import Moments
        >>> from featdiv.testing import cases
        >>> rows = cases.make("gaussian", 60, 4, dtype="float64").rows
        >>> check_laws(partial(Moments.of, precision="float64"), rows, empty=Moments.empty(4))
    """
    check_inputs_untouched(make, *data)
    check_identity(make, *data, empty=empty)
    check_merge(make, *data, rtol=rtol)
    check_order_and_chunks(make, *data, empty=empty, rtol=rtol, seed=seed)
    check_peers_untouched(make, *data, empty=empty)
    check_round_trips(make, *data, empty=empty)
    if translates:
        check_large_mean(make, *data, empty=empty, seed=seed)


def check_inputs_untouched(make: Make, *data: Array) -> None:
    """Requires that making the statistic changes no input, and changing an input later changes nothing."""
    mine = [array.copy() for array in data]
    before = [array.tobytes() for array in mine]
    statistic = make(*mine)
    for place, (array, content) in enumerate(zip(mine, before, strict=True)):
        _require(array.tobytes() == content, "inputs untouched", f"argument {place} was changed")
    held = snapshot(statistic)
    for array in mine:
        array[...] = np.zeros_like(array) if array.dtype.kind != "U" else ""
    _require(snapshot(statistic) == held, "inputs untouched", "the statistic keeps a view of the caller's buffer")


def check_identity(make: Make, *data: Array, empty: Any) -> None:
    """Requires that merging with no rows changes nothing, on either side, not even a bit."""
    statistic = make(*data)
    for merged, side in ((empty.merge(statistic), "left"), (statistic.merge(empty), "right")):
        with _law(f"identity on the {side}"):
            assert_close_statistic(merged, statistic, 0.0, skip=())
    with _law("identity with itself"):
        assert_close_statistic(empty.merge(empty), empty, 0.0, skip=())


def check_merge(make: Make, *data: Array, rtol: float) -> None:
    """Requires associativity and commutativity, that parts merge to the whole, and that ``+`` and `sum` are merge."""
    n = len(data[0])
    cuts = [0, n // 7, n // 2, n]
    a, b, c = (make(*(array[start:stop] for array in data)) for start, stop in itertools.pairwise(cuts))
    whole = make(*data)
    with _law("parts merge to the whole"):
        assert_close_statistic(a.merge(b).merge(c), whole, rtol)
    with _law("associativity"):
        assert_close_statistic(a.merge(b).merge(c), a.merge(b.merge(c)), rtol)
    with _law("commutativity"):
        assert_close_statistic(a.merge(b), b.merge(a), rtol)
    with _law("+ is merge"):
        assert_close_statistic(a + b, a.merge(b), 0.0, skip=())
    with _law("sum is merge"):
        assert_close_statistic(sum([a, b, c]), a.merge(b).merge(c), 0.0, skip=())
        _require(a.__radd__(1) is NotImplemented, "sum is merge", "1 was added to the statistic")


def check_order_and_chunks(make: Make, *data: Array, empty: Any, rtol: float, seed: int) -> None:
    """Requires the same for every order of the rows, size of the chunks and order of the merges."""
    random = np.random.default_rng(seed)
    n = len(data[0])
    whole = make(*data)
    order = random.permutation(n)
    shuffled = [array[order] for array in data]
    with _law("order independence"):
        assert_close_statistic(make(*shuffled), whole, rtol)
    for size in (1, 3, n // 5, n):
        chunks = [make(*(array[start : start + size] for array in shuffled)) for start in range(0, n, size)]
        with _law(f"chunking independence, chunks of {size}"):
            assert_close_statistic(_fold(chunks, empty), whole, rtol)
        with _law(f"order of merging, chunks of {size} last to first"):
            assert_close_statistic(_fold(chunks[::-1], empty), whole, rtol)
        with _law(f"order of merging, chunks of {size} as a tree"):
            assert_close_statistic(_tree(chunks), whole, rtol)


def check_peers_untouched(make: Make, *data: Array, empty: Any) -> None:
    """Requires that merging changes neither peer, then or when the result is merged on or written to."""
    half = len(data[0]) // 2
    a, b = make(*(array[:half] for array in data)), make(*(array[half:] for array in data))
    peers = {"the identity": empty, "the left peer": a, "the right peer": b}
    before = {name: snapshot(peer) for name, peer in peers.items()}
    for first, second in ((a, b), (empty, a), (a, empty)):
        merged = first.merge(second)
        merged.merge(b)
        merged.merge(a)
        for array in _arrays(merged):
            if array.flags.writeable:
                array[...] = np.zeros_like(array)
        for name, peer in peers.items():
            _require(
                snapshot(peer) == before[name],
                "peers untouched",
                f"{name} was changed by a merge or after it",
            )


def check_round_trips(make: Make, *data: Array, empty: Any) -> None:
    """Requires that saving, pickling and copying bring back every bit, in a statistic that still merges."""
    for statistic in (make(*data), empty):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "statistic.npz"
            statistic.save(path)
            left_over = sorted(item.name for item in Path(folder).iterdir())
            _require(left_over == [path.name], "save", f"left {left_over} behind")
            loaded = type(statistic).load(path)
        copies = {
            "save and load": loaded,
            "pickle": pickle.loads(pickle.dumps(statistic)),
            "copy": copy.deepcopy(statistic),
        }
        for name, again in copies.items():
            with _law(name):
                assert_close_statistic(again, statistic, 0.0, skip=())
                assert_close_statistic(again.merge(again), statistic.merge(statistic), 0.0, skip=())
            frozen = [array.flags.writeable for array in _arrays(statistic)]
            _require(
                [array.flags.writeable for array in _arrays(again)] == frozen,
                name,
                "made arrays writable that were not",
            )


def check_large_mean(make: Make, *data: Array, empty: Any, seed: int = 0) -> None:
    """Requires that a mean of 2^24 standard deviations costs the central moments nothing.

    The rows are first rounded so that adding the offset is exact: a sum that is not kept about the mean loses
    48 of the 53 bits of float64, one that is kept about it loses none.
    """
    spread = float(data[0].std()) or 1.0
    unit = 2.0 ** round(np.log2(spread))
    rows = np.round(np.asarray(data[0], dtype=np.float64) / unit / _RESOLUTION) * _RESOLUTION
    far = rows + _LARGE_MEAN
    assert ((far - _LARGE_MEAN) == rows).all()
    near_statistic = make(rows, *data[1:])
    skip = (*PROVENANCE, *_LOCATION)
    with _law("large mean, all rows at once"):
        assert_close_statistic(make(far, *data[1:]), near_statistic, _LARGE_MEAN_RTOL, skip=skip)
    size = max(1, len(rows) // 6)
    chunks = [
        make(far[start : start + size], *(array[start : start + size] for array in data[1:]))
        for start in range(0, len(rows), size)
    ]
    chunks = [chunks[place] for place in np.random.default_rng(seed).permutation(len(chunks))]
    with _law("large mean, merged chunks"):
        assert_close_statistic(_fold(chunks, empty), near_statistic, _LARGE_MEAN_RTOL, skip=skip)


def snapshot(statistic: Any) -> list[bytes]:
    """Returns the bytes of every array and number that a statistic holds."""
    return [value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode() for value in _values(statistic)]


def _values(statistic: Any) -> Iterator[Any]:
    for field in dataclasses.fields(statistic):
        value = getattr(statistic, field.name)
        if dataclasses.is_dataclass(value):
            yield from _values(value)
        else:
            yield value


def _arrays(statistic: Any) -> list[Array]:
    return [value for value in _values(statistic) if isinstance(value, np.ndarray)]


def _fold(parts: Sequence[Any], empty: Any) -> Any:
    return functools.reduce(lambda a, b: a.merge(b), parts, empty)


def _tree(parts: Sequence[Any]) -> Any:
    while len(parts) > 1:
        pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
        parts = [pair[0].merge(pair[1]) if len(pair) == 2 else pair[0] for pair in pairs]
    return parts[0]


def _require(holds: bool, law: str, complaint: str) -> None:
    assert holds, f"law broken: {law}: {complaint}"


class _law:  # noqa: N801
    """Names the law in the failure of a comparison."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, AssertionError):
            raise AssertionError(f"law broken: {self._name}: {error}") from None
