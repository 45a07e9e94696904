"""Rows in memory, in the type in which they are stored, for the scores that compare them with one another."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import __version__, io
from featdiv.errors import InputError, NotEnoughData, RowError
from featdiv.io.arrays import ArrayRows
from featdiv.io.caller import called_by
from featdiv.io.collected import collected
from featdiv.io.embeddings import positive
from featdiv.metrics.spectral.eigenvalues import Eigenvalues
from featdiv.metrics.spectral.inputs import is_spectrum
from featdiv.results import Provenance
from featdiv.stats import ClassMoments, Moments, arguments, budget

PACKED_BYTES = 4
"""Bytes of an entry in the copy of the rows that the pair kernels pack."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Rows, and how they came to be.

    Attributes:
        function: name of the score, for messages.
        values: (m, d) NumPy array or torch tensor.
        groups: (m,) groups of the rows, or None.
        provenance: where they came from.
        sampled: number of rows drawn, or None for all of them.
        index: (m,) where the drawn rows lie in the source, or None for all of them.
    """

    function: str
    values: Any
    groups: npt.NDArray[Any] | None
    provenance: Provenance
    sampled: int | None
    index: npt.NDArray[np.int64] | None = None

    @property
    def n(self) -> int:
        """Number of rows at hand."""
        return int(self.values.shape[0])

    def require(self, least: int) -> None:
        """Raises NotEnoughData if there are fewer rows."""
        if self.n < least:
            raise NotEnoughData(f"{self.function}: x: expected at least {least} rows; got {self.n}")


@contextlib.contextmanager
def opened(x: Any, *, function: str, argument: str = "x", **annotations: Any) -> Iterator[io.Embeddings]:
    """Opens rows, and closes them again unless they came open.

    Raises:
        InputError: if ``x`` is a statistic, which no longer holds the rows.
    """
    if isinstance(x, (Eigenvalues, Moments, ClassMoments)) or is_spectrum(x):
        raise InputError(f"{function}: {argument}: expected rows; got {type(x).__name__}, which no longer holds them")
    with called_by(function, source=argument):
        source = io.open(x, **{name: value for name, value in annotations.items() if value is not None})
    try:
        yield source
    finally:
        if source is not x:
            source.close()


def read(
    x: Any,
    *,
    function: str,
    groups: Any = None,
    sample: int | None = None,
    seed: int = 0,
    memory: int | float | str | None = None,
) -> Rows:
    """Returns the rows of a source, or a sample of them, in memory.

    Args:
        x: an array, a path, an `Embeddings`, an iterable of chunks.
        function: name of the score.
        groups: (n,) groups; None for those that the source carries.
        sample: how many rows to draw; None for all.
        seed: which rows are drawn.
        memory: budget in bytes, or as text.

    Raises:
        InputError: if ``x`` does not hold rows, or the sample is larger than they are.
        BudgetExceeded: if the rows do not fit the budget.
    """
    with opened(x, function=function, groups=groups) as source:
        return of_source(source, function=function, sample=sample, seed=seed, memory=memory)


def of_source(
    source: io.Embeddings,
    *,
    function: str,
    sample: int | None = None,
    seed: int = 0,
    memory: int | float | str | None = None,
) -> Rows:
    """Returns the rows of an open source; see `read`."""
    arguments.check_seed(function, seed)
    if sample is not None:
        sample = positive(sample, f"{function}: sample")
        if sample < 2:
            raise InputError(f"{function}: sample: expected at least 2 rows, or None for all; got {sample}")
    limit = budget.budget_bytes(memory, function=function)

    def require(needed: int, what: str) -> None:
        advice = "Raise memory=, or pass sample= for a stated part of the rows."
        budget.require(needed, limit, function=function, what=what, advice=advice)

    if source.one_pass or source.n is None:
        source = collected(source, check=lambda held: require(held, "the rows of a source that is read only once"))
    assert source.n is not None
    count = source.n if sample is None else min(sample, source.n)
    require(count * (source.row_bytes + PACKED_BYTES * source.d), f"{count:,} rows of {source.d} features")
    index, groups = None, source.groups
    if sample is None:
        values = whole(source)
    else:
        index = _drawn(source.n, sample, seed, function)
        values = source.take(index)
        groups = None if groups is None else groups[index]
    return Rows(
        function=function,
        values=values,
        groups=groups,
        index=index,
        sampled=None if index is None else len(index),
        provenance=Provenance(
            function=f"featdiv.{function}",
            version=__version__,
            dtype=source.dtype,
            n=source.n,
            d=source.d,
            seed=seed,
            source=source.description,
            fingerprint=source.fingerprint,
            extraction=source.extraction,
            passes=1,
            notes=() if index is None else (f"a sample of {len(index):,} rows, drawn with seed {seed}",),
        ),
    )


def whole(source: io.Embeddings) -> Any:
    """Returns all rows: a view where the source is one array in memory, or a file like one."""
    assert source.n is not None
    mapped = source.mapped()
    if mapped is not None:
        return mapped
    if isinstance(source, ArrayRows):
        return next(source.chunks(source.n)).rows
    return source.take(np.arange(source.n))


def _drawn(n: int, sample: int, seed: int, function: str) -> npt.NDArray[np.int64]:
    if sample > n:
        raise InputError(f"{function}: sample: expected at most n = {n} rows, or None for all; got {sample}")
    return np.sort(np.random.default_rng(seed).choice(n, sample, replace=False)).astype(np.int64)


@contextlib.contextmanager
def speaking_for(rows: Rows) -> Iterator[None]:
    """Puts the name of the score, and the row's place in the source, into errors about rows."""
    try:
        yield
    except RowError as error:
        first = error.first_row if rows.index is None else int(rows.index[error.first_row])
        message = str(error).removeprefix("pair_sums: x: ")
        message = f"{rows.function}: x: {message}"
        if first != error.first_row:
            message += f" of the sample, row {first} of the source"
        raise type(error)(f"{message}. Leave such rows out.", count=error.count, first_row=first) from None
