"""One reading of labelled rows into the class moments of a few parts, for the jackknife, and their merges."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import io
from featdiv.errors import NotEnoughData, RowError
from featdiv.metrics.labelled.inputs import speaking_for
from featdiv.results import Interval
from featdiv.stats import ClassMoments, grouped, resampling

PARTS = 10
SLAB = 256
MATRICES = 4
"""(d, d) matrices that a part needs while parts are merged, beside its own."""


def needed_bytes(d: int, c: int, *, parts: int, per_class: bool) -> int:
    """Returns the memory that the moments of ``parts`` parts take, with all merges that leave one out."""
    one = 8 * d * ((c if per_class else 0) * d + d + c)
    return (3 * parts + MATRICES if parts > 1 else MATRICES) * one


def read_parts(
    source: io.Embeddings,
    *,
    function: str,
    parts: int,
    per_class: bool,
    ignore: int | str | None,
    normalize: str | None,
    precision: str,
    backend: str,
    memory: int,
    progress: grouped.Progress | None,
) -> list[ClassMoments]:
    """Reads a source once; slabs of rows, or whole groups, are dealt to the parts round-robin."""
    slab = SLAB if source.n is None else max(SLAB, source.n // (8 * parts))
    dealt: dict[Any, int] = {}
    found: list[ClassMoments | None] = [None] * parts
    make = functools.partial(
        ClassMoments.of,
        per_class=per_class,
        ignore=ignore,
        normalize=normalize,
        precision=precision,
        backend=backend,
        memory=memory,
    )
    for chunk in source.chunks():
        m = int(chunk.rows.shape[0])
        if chunk.groups is None:
            part_of = (chunk.start + np.arange(m)) // slab % parts
        else:
            part_of = np.array([dealt.setdefault(name, len(dealt)) % parts for name in chunk.groups.tolist()])
        for part in np.unique(part_of).tolist():
            index = np.flatnonzero(part_of == part)
            whole = len(index) == m
            rows = chunk.rows if whole else chunk.rows[index]
            labels = chunk.labels if whole or chunk.labels is None else chunk.labels[index]
            try:
                with speaking_for(function):
                    moments = make(rows, labels)
            except RowError as error:
                raise grouped.located(error, chunk.rows, chunk.start, normalize, function, droppable=False) from None
            before = found[part]
            found[part] = moments if before is None else before.merge(moments)
        if progress is not None:
            progress(chunk.start + m, source.n)
    return [part for part in found if part is not None and part.n]


def without_each(parts: list[ClassMoments]) -> Iterator[ClassMoments]:
    """Yields the merge of all parts but one, for each part in turn: sums from both ends, nothing is subtracted."""
    after = [parts[-1]]
    for part in parts[-2:0:-1]:
        after.append(part.merge(after[-1]))
    before: ClassMoments | None = None
    for place in range(len(parts)):
        rest = after.pop() if place + 1 < len(parts) else None
        if before is None or rest is None:
            both = rest if before is None else before
            assert both is not None
            yield both
        else:
            yield before.merge(rest)
        before = parts[place] if before is None else before.merge(parts[place])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Jackknife:
    """Values without each part, and what they say."""

    values: dict[str, npt.NDArray[np.float64]]
    shares: npt.NDArray[np.float64]

    @classmethod
    def of(
        cls, parts: list[ClassMoments], total: ClassMoments, cores: dict[str, Callable[[ClassMoments], float]]
    ) -> Jackknife:
        """Runs every core without each part; a core that is undefined once gets no interval."""
        values: dict[str, list[float]] = {name: [] for name in cores}
        for rest in without_each(parts):
            for name in list(values):
                try:
                    values[name].append(cores[name](rest))
                except NotEnoughData:
                    del values[name]
        shares = np.array([part.n / total.n for part in parts])
        return cls(values={name: np.array(list_) for name, list_ in values.items()}, shares=shares)

    def interval(self, name: str, value: float, *, n: int, d: int) -> Interval | None:
        """Returns the interval of a score, or None where it has none."""
        if name not in self.values or not np.isfinite(self.values[name]).all():
            return None
        # Scores depend on n by definition, so what is covered is their expected value at this n: no correction.
        _, error = resampling.jackknife(value, self.values[name], self.shares)
        return resampling.symmetric(
            value, error, groups=len(self.shares), method="jackknife", estimand=f"expected at n={n}, d={d}"
        )
