"""Reading several sources side by side: row i of each is the same sample, whatever their chunks are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError

if TYPE_CHECKING:
    import torch

    from featdiv.io import Embeddings

    Rows = npt.NDArray[Any] | torch.Tensor

Order = npt.NDArray[np.int64]


def orders(sources: Mapping[str, Embeddings], *, function: str) -> dict[str, Order | None]:
    """Returns, for each source, the order in which to take its rows; None for the order in which they are stored.

    Where all sources carry ids, rows with the same id belong together, in the order of the first source. Otherwise
    rows belong together by position.

    Raises:
        InputError: if the numbers of rows differ, an id occurs twice, the ids are not the same set, or a source
            whose order differs can be read only forwards.
    """
    names = list(sources)
    first = sources[names[0]]
    for name in names[1:]:
        n, expected = sources[name].n, first.n
        if n is not None and expected is not None and n != expected:
            raise InputError(
                f"{function}: {name}: expected {expected} rows, as {names[0]} has; got {n}. Both must hold the same "
                "samples; leave out the rows that only one of them has"
            )
    found: dict[str, Order | None] = dict.fromkeys(names)
    ids = [sources[name].ids for name in names]
    if any(values is None for values in ids):
        return found
    reference = _sorted(ids[0], names[0], function)
    for name, values in zip(names[1:], ids[1:], strict=True):
        if values is not None and values.shape == reference[0].shape and _equal(values, ids[0]):
            continue
        found[name] = _matching(reference, _sorted(values, name, function), names[0], name, function)
        if sources[name].one_pass or sources[name].n is None:
            raise InputError(
                f"{function}: {name}: its ids are in another order than those of {names[0]}, and it can be read only "
                "forwards; write it to a file first, or give both in the same order"
            )
    return found


def _equal(a: npt.NDArray[Any], b: Any) -> bool:
    return a.dtype.kind == b.dtype.kind and bool((a == b).all())


def _sorted(ids: Any, name: str, function: str) -> tuple[npt.NDArray[Any], Order]:
    """Returns (sorted ids, where each of them lies)."""
    places = np.argsort(ids, kind="stable")
    values = ids[places]
    twice = values[1:] == values[:-1]
    if twice.any():
        example = values[1:][twice][0]
        raise InputError(
            f"{function}: ids: expected a different id for every row of {name}; {example!s} and perhaps others "
            f"occur more than once ({int(twice.sum())} rows repeat one)"
        )
    return values, places


def _matching(
    first: tuple[npt.NDArray[Any], Order],
    second: tuple[npt.NDArray[Any], Order],
    first_name: str,
    name: str,
    function: str,
) -> Order:
    """Returns the rows of the second source in the order of the first."""
    kinds = [
        "text" if part[0].dtype.kind in "US" else "numbers" if part[0].dtype.kind in "biuf" else "?"
        for part in (first, second)
    ]
    if kinds[0] != kinds[1]:
        raise InputError(
            f"{function}: ids: expected those of {name} to be {kinds[0]}, as those of {first_name} are; got {kinds[1]}"
        )
    if first[0].shape != second[0].shape or not (first[0] == second[0]).all():
        missing = np.setdiff1d(first[0], second[0])
        extra = np.setdiff1d(second[0], first[0])
        example = f"{missing[0]!s} is missing" if missing.size else f"{extra[0]!s} is not in {first_name}"
        raise InputError(
            f"{function}: ids: expected the same ids in {first_name} and {name}; {missing.size} of {first_name} are "
            f"missing in {name} and {extra.size} are new ({example}). Leave out the rows that only one of them has"
        )
    order = np.empty(len(first[0]), dtype=np.int64)
    order[first[1]] = second[1]
    return order


def groups_of(sources: Mapping[str, Embeddings], *, function: str) -> npt.NDArray[Any] | None:
    """Returns the groups of the rows, in the order of the first source, or None if it carries none.

    Raises:
        InputError: if another source carries groups that differ, or groups and the first source none.
    """
    names = list(sources)
    first = sources[names[0]].groups
    for name in names[1:]:
        other = sources[name].groups
        if other is not None and (first is None or first.shape != other.shape or not (first == other).all()):
            raise InputError(
                f"{function}: groups: expected them with {names[0]}, whose order of rows counts; {name} carries others"
            )
    return first


def chunks(
    sources: Mapping[str, Embeddings], order: Mapping[str, Order | None], rows: int, *, function: str
) -> Iterator[tuple[int, list[Rows]]]:
    """Yields (start, the same rows of every source), at most ``rows`` at a time, until all have ended.

    What is yielded is valid only until the next step.

    Raises:
        InputError: if one source ends before another.
    """
    readers = [_blocks(source, order[name], rows) for name, source in sources.items()]
    held: list[Rows | None] = [None] * len(readers)
    start = 0
    while True:
        for place, reader in enumerate(readers):
            if held[place] is None:
                held[place] = next(reader, None)
        present = [block for block in held if block is not None]
        if not present:
            return
        if len(present) < len(held):
            ended = [name for name, block in zip(sources, held, strict=True) if block is None]
            longer = [name for name, block in zip(sources, held, strict=True) if block is not None]
            raise InputError(
                f"{function}: {ended[0]}: expected as many rows as {longer[0]} has; it ended after {start}"
            )
        m = min(rows, *(int(block.shape[0]) for block in present))
        yield start, [block[:m] for block in present]
        held = [block[m:] if int(block.shape[0]) > m else None for block in present]
        start += m


def _blocks(source: Embeddings, order: Order | None, rows: int) -> Iterator[Rows]:
    if order is None:
        for chunk in source.chunks(rows):
            yield chunk.rows
        return
    for start in range(0, len(order), rows):
        yield source.take(order[start : start + rows])


def joint_dtype(blocks: Sequence[Rows]) -> npt.DTypeLike:
    """Returns the NumPy type that holds the values of all blocks; bfloat16 becomes float32."""
    return np.result_type(*(block.dtype if isinstance(block, np.ndarray) else np.dtype(np.float32) for block in blocks))
