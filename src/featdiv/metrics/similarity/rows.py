"""Aligned rows of two sides or of many, for the similarities that do not follow from moments."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError, NonFiniteError, ZeroNormError
from featdiv.io import Embeddings
from featdiv.metrics.similarity.inputs import make_score, named, provenance_of_sources, two_sides
from featdiv.metrics.similarity.pairs import taken
from featdiv.results import Provenance, Score
from featdiv.stats import CrossMoments, arguments, budget, cross_moments_align, cross_moments_read


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of two sides, aligned, and how they came to be.

    Attributes:
        function: name of the score.
        rows: name to (m, d) array.
        provenance: where they came from.
        sampled: the rows that were drawn, or None for all of them.
    """

    function: str
    rows: Mapping[str, npt.NDArray[Any]]
    provenance: Provenance
    sampled: int | None

    def score(
        self,
        prepare: Callable[..., Any],
        core: Callable[..., float],
        *,
        definition: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        details: Mapping[str, Any] | None = None,
        notes: tuple[str, ...] = (),
    ) -> Score:
        """Prepares each side, runs the core on both, and wraps its number; arguments as `Resolved.score`."""
        given = dict(parameters or {}) | ({"definition": definition} if definition is not None else {})
        with named(self.function):
            sides = [prepare(rows, name=name, **taken(prepare, given)) for name, rows in self.rows.items()]
            value = core(*sides, **taken(core, given))
        return make_score(
            self.function,
            value,
            self.provenance,
            definition=definition,
            parameters=parameters,
            details=details,
            notes=notes,
        )


def resolve_rows(
    x: Any,
    other: Any,
    *,
    function: str,
    normalize: str | None = None,
    sample: int | None = None,
    seed: int = 0,
) -> Rows:
    """Returns the rows of both sides, or a sample of them, in the same order.

    Args:
        x: rows.
        other: rows.
        function: name of the score.
        normalize: ``"l2"`` to divide each row by its norm.
        sample: most rows to take; None for all.
        seed: which rows are taken.

    Raises:
        InputError: if the two are not rows, or not the same rows.
        BudgetExceeded: if the rows do not fit the memory budget.
    """
    arguments.check(function, normalize=normalize)
    if isinstance(x, CrossMoments):
        raise InputError(f"{function}: x: expected rows; got CrossMoments, from which this score does not follow")
    with cross_moments_read.opened(two_sides(x, other, function), function=function) as sources:
        order = cross_moments_align.orders(sources, function=function)
        rows, index = read_rows(sources, order, function=function, normalize=normalize, sample=sample, seed=seed)
        provenance = provenance_of_sources(sources, function, normalize)
    m = len(rows["x"])
    return Rows(
        function=function,
        rows=rows,
        provenance=dataclasses.replace(provenance, method="rows", n=provenance.n or m, seed=seed),
        sampled=None if index is None else m,
    )


def read_rows(
    sources: Mapping[str, Embeddings],
    order: Mapping[str, cross_moments_align.Order | None],
    *,
    function: str,
    normalize: str | None = None,
    sample: int | None = None,
    seed: int = 0,
    memory: int | float | str | None = None,
) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[np.int64] | None]:
    """Returns (name to aligned rows in float32, or float64 where they are wider; the sample, or None for all rows).

    Raises:
        NonFiniteError: if a row holds NaN or infinity.
        ZeroNormError: with ``normalize="l2"``, if a row has norm zero.
        BudgetExceeded: if the rows do not fit the memory budget.
    """
    n = next((source.n for source in sources.values() if source.n is not None), None)
    index = None
    if sample is not None and n is not None and n > sample:
        index = _drawn(n, sample, seed)
    count = len(index) if index is not None else n
    if count is not None:
        budget.require(
            16 * count * sum(source.d for source in sources.values()),
            budget.budget_bytes(memory, function=function),
            function=function,
            what=f"{count} rows of {len(sources)} models",
            advice="This score needs the rows; give a part of them, or raise the budget.",
        )
    if index is not None and all(not source.one_pass and source.n is not None for source in sources.values()):
        found = {}
        for name, source in sources.items():
            places = order[name]
            found[name] = [source.take(index if places is None else places[index])]
    else:
        found = {name: [] for name in sources}
        for start, blocks in cross_moments_align.chunks(sources, order, 8192, function=function):
            m = int(blocks[0].shape[0])
            chosen = None if index is None else index[(index >= start) & (index < start + m)] - start
            for name, block in zip(sources, blocks, strict=True):
                found[name].append(_host(block if chosen is None else block[chosen]))
    rows = {name: np.concatenate([_host(part) for part in parts]) for name, parts in found.items()}
    read = len(next(iter(rows.values())))
    if index is None and sample is not None and read > sample:
        # Only now is it known how many rows the streams have.
        index = _drawn(read, sample, seed)
        rows = {name: values[index] for name, values in rows.items()}
    return {
        name: checked(values, name=name, function=function, normalize=normalize, index=index)
        for name, values in rows.items()
    }, index


def _drawn(n: int, sample: int, seed: int) -> npt.NDArray[np.int64]:
    return np.sort(np.random.default_rng(seed).choice(n, sample, replace=False)).astype(np.int64)


def _host(block: Any) -> npt.NDArray[Any]:
    """Returns a NumPy copy in float32, or float64 where the type is wider."""
    if isinstance(block, np.ndarray):
        wide = block.dtype.itemsize > (4 if block.dtype.kind == "f" else 2)
        return block.astype(np.float64 if wide else np.float32)
    import torch

    kind = torch.float64 if block.dtype in (torch.float64, torch.int32, torch.int64) else torch.float32
    copied: npt.NDArray[Any] = block.detach().to(device="cpu", dtype=kind).numpy().copy()
    return copied


def checked(
    rows: npt.NDArray[Any],
    *,
    name: str,
    function: str,
    normalize: str | None,
    index: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[Any]:
    """Returns the rows, divided by their norms if asked for, or raises for the first that cannot be used."""

    def place(row: int) -> int:
        return row if index is None else int(index[row])

    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        first = place(int(finite.argmin()))
        count = int((~np.isfinite(rows)).sum())
        raise NonFiniteError(
            f"{function}: {name}: expected finite rows; got {count} NaN or infinite entries, the first in row {first}. "
            "Leave such rows out of both sides",
            count=count,
            first_row=first,
        )
    if normalize != "l2":
        return rows
    largest = np.abs(rows).max(axis=1)
    if not largest.all():
        first, count = place(int(largest.argmin())), int((largest == 0.0).sum())
        raise ZeroNormError(
            f"{function}: {name}: expected rows of non-zero norm; got {count} zero rows, the first is row {first}. "
            "Leave them out of both sides",
            count=count,
            first_row=first,
        )
    unit = rows / largest[:, None]
    unit /= np.sqrt(np.einsum("ij,ij->i", unit, unit))[:, None]
    return np.asarray(unit)
