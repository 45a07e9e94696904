"""Sparsity: how few entries of a row, or rows of a unit, carry the activity."""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from featdiv import __version__, io
from featdiv.errors import InputError, NotEnoughData, RowError
from featdiv.metrics.geometric.rows import opened
from featdiv.ops.scatter import reference
from featdiv.results import Interval, Provenance, Result
from featdiv.stats import arguments, partition, resampling
from featdiv.stats.grouped import located
from featdiv.stats.resampling import Float64Array

EPSILON = 1e-3
SLAB_ROWS = partition.MIN_SLAB
BUCKETS = 20


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Sparsity(Result):
    """Result of `sparsity`.

    Attributes:
        eps: magnitude below which an entry of a unit row counts as zero.
        silent: units that are zero in every row: they have no Treves-Rolls ratio and are left out.

    Example:
        >>> import featdiv, numpy as np
        >>> featdiv.sparsity(np.eye(4, 6)).silent
        2
    """

    eps: float
    silent: int

    _array_fields = ("eps", "silent")

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value:.6g}" for name, value in self.scores.items())
        return f"Sparsity({shown})"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Sums:
    """What the scores follow from; sums of parts add up.

    Attributes:
        n: rows.
        d: features.
        small: entries below eps after normalising rows.
        hoyer: sum over rows of Hoyer's measure.
        by_row: sum over rows of the Treves-Rolls activity ratio.
        absolute: (d,) sum of abs(x) of each unit.
        squares: (d,) sum of x^2.
    """

    n: int
    d: int
    small: int
    hoyer: float
    by_row: float
    absolute: Float64Array
    squares: Float64Array

    @classmethod
    def of(cls, rows: Any, eps: float) -> Sums:
        """Returns the sums of some rows.

        Raises:
            NonFiniteError: if an entry is NaN or infinite.
            ZeroNormError: if a row is zero.
        """
        x = np.abs(reference.to_float64(rows))
        reference.check_finite(x)
        reference.check_norms(x)
        n, d = x.shape
        largest = x.max(axis=1)
        # Scaled by a power of two, which is exact, squares neither overflow nor vanish.
        exponent = np.frexp(largest)[1]
        scaled = np.ldexp(x, -exponent[:, None])
        sums, squares = scaled.sum(axis=1), np.einsum("ij,ij->i", scaled, scaled)
        norms = np.sqrt(squares)
        ratio = sums / norms
        root = math.sqrt(d)
        return cls(
            n=n,
            d=d,
            small=int(np.count_nonzero(scaled < eps * norms[:, None])),
            hoyer=float(((root - ratio) / (root - 1.0)).sum()) if d > 1 else 0.0,
            by_row=float((ratio**2 / d).sum()),
            absolute=x.sum(axis=0),
            squares=np.einsum("ij,ij->j", x, x),
        )

    def __add__(self, other: Sums) -> Sums:
        names = [field.name for field in dataclasses.fields(self) if field.name != "d"]
        return Sums(d=self.d, **{name: getattr(self, name) + getattr(other, name) for name in names})


def share_below(sums: Sums) -> float:
    """Returns the share of entries below eps."""
    return sums.small / (sums.n * sums.d)


def hoyer(sums: Sums) -> float:
    """Returns the mean over rows of (sqrt(d) - |x|_1/|x|_2) / (sqrt(d) - 1)."""
    if sums.d < 2:
        raise NotEnoughData("Hoyer's measure divides by sqrt(d) - 1, and there is one feature")
    return min(1.0, max(0.0, sums.hoyer / sums.n))


def by_sample(sums: Sums) -> float:
    """Returns the mean over rows of the Treves-Rolls activity ratio."""
    return min(1.0, sums.by_row / sums.n)


def by_unit(sums: Sums) -> float:
    """Returns the mean over live units of (mean |x|)^2 / mean x^2."""
    live = sums.squares > 0.0
    if not live.any():
        raise NotEnoughData("the squares of all entries are smaller than float64 can hold; scale the rows up")
    if not np.isfinite(sums.squares).all():
        raise NotEnoughData("the squares of some entries are larger than float64 can hold; scale the rows down")
    # Each root is divided first: the square of a sum may be out of range where the sum of squares is not.
    ratios = (sums.absolute[live] / np.sqrt(sums.squares[live])) ** 2
    return min(1.0, float(np.mean(ratios)) / sums.n)


CORES: dict[str, Callable[[Sums], float]] = {
    "sparsity": share_below,
    "hoyer": hoyer,
    "treves_rolls_per_sample": by_sample,
    "treves_rolls_per_unit": by_unit,
}
"""Score name to its pure core."""


def core(x: Float64Array, *, eps: float = EPSILON) -> float:
    """Returns the share of entries below eps, of rows in memory."""
    return share_below(Sums.of(x, eps))


def sparsity(x: Any, *, eps: float = EPSILON, groups: Any = None, interval: str | None = "auto") -> Sparsity:
    """Sparsity: the share of small entries, Hoyer's measure, and the Treves-Rolls activity ratio by row and by unit.

    With u = x/|x|: the share of entries with abs(u) < eps; the mean over rows of (sqrt(d) - |x|_1/|x|_2)/(sqrt(d) - 1),
    0 for rows of constant magnitude and 1 for rows with one entry; and a = (mean |x|)^2 / mean x^2, over the entries of
    a row or over the rows of a unit (feature), then averaged: small where few carry the activity, 1 where all do.

    Args:
        x: rows (array, path, source).
        eps: magnitude below which an entry of a unit row counts as zero. Entries have a root mean square of
            1/sqrt(d), so compare at equal d.
        groups: (n,) group ids (video, patient, document): the jackknife leaves out whole groups.
        interval: ``"auto"`` (95 % jackknife where there are at least 5 slabs of 256 rows, or 5 groups),
            ``"jackknife"`` (always, or an error that says why there is none), or None for no interval.

    Returns:
        A `Sparsity`: ``sparsity``, ``hoyer``, ``treves_rolls_per_sample``, ``treves_rolls_per_unit``.

    Raises:
        ZeroNormError: if a row is zero.
        InputError: if an argument is out of range.

    Complexity:
        O(n d), in one pass, in float64.

    Source:
        Hoyer 2004, section 3.1; Treves & Rolls 1991.

    Example:
        >>> import featdiv, numpy as np
        >>> one_hot = featdiv.sparsity(np.eye(4))
        >>> one_hot.scores["sparsity"], one_hot.scores["hoyer"], one_hot.scores["treves_rolls_per_unit"]
        (0.75, 1.0, 0.25)
    """
    eps = check_epsilon(eps)
    arguments.one_of("sparsity", "interval", interval, ("auto", "jackknife", None))
    with opened(x, function="sparsity", groups=groups) as source:
        return of_source(source, eps=eps, interval=interval)


def check_epsilon(eps: Any) -> float:
    """Returns eps; raises InputError unless it is between 0 and 1."""
    return arguments.number("sparsity", "eps", eps, "a magnitude between 0 and 1", lambda size: 0.0 < size < 1.0)


def of_source(source: io.Embeddings, *, eps: float, interval: str | None) -> Sparsity:
    """Returns the scores of an open source."""
    parts = _read(source, eps)
    total = functools.reduce(operator.add, parts)
    scores, undefined = {}, {}
    for name, function in CORES.items():
        try:
            scores[name] = function(total)
        except NotEnoughData as error:
            undefined[name] = str(error)
    notes: tuple[str, ...] = ()
    intervals: dict[str, Interval] = {}
    if interval is not None and len(parts) < partition.LEAST_PARTS:
        few = partition.few_rows(total.n) if source.groups is None else partition.few_groups(len(parts))
        if interval == "jackknife":
            raise InputError(f"sparsity: interval: 'jackknife' cannot be had here: {few}")
        notes = (f"no intervals: {few}",)
    elif interval is not None:
        intervals = _intervals(scores, total, parts)
    return Sparsity(
        scores=scores,
        undefined=undefined,
        intervals=intervals,
        eps=eps,
        silent=int(np.count_nonzero(total.squares == 0.0)),
        provenance=Provenance(
            function="featdiv.sparsity",
            version=__version__,
            arguments={"eps": eps, "interval": interval},
            method="one pass",
            precision="float64",
            dtype=source.dtype,
            n=total.n,
            d=source.d,
            source=source.description,
            fingerprint=source.fingerprint,
            extraction=source.extraction,
            passes=1,
            notes=notes,
        ),
    )


def _read(source: io.Embeddings, eps: float) -> list[Sums]:
    """Returns the sums of slabs dealt round-robin to buckets, or of the groups."""
    parts: dict[int, Sums] = {}
    dealt: dict[Any, int] = {}
    step = SLAB_ROWS
    for chunk in source.chunks(step):
        try:
            if chunk.groups is None:
                pieces = [(chunk.start // step % BUCKETS, chunk.rows)]
            else:
                buckets = np.array([dealt.setdefault(name, len(dealt)) % BUCKETS for name in chunk.groups.tolist()])
                pieces = [(int(b), chunk.rows[np.flatnonzero(buckets == b)]) for b in np.unique(buckets)]
            for bucket, rows in pieces:
                sums = Sums.of(rows, eps)
                parts[bucket] = parts[bucket] + sums if bucket in parts else sums
        except RowError as error:
            raise located(error, chunk.rows, chunk.start, "l2", "sparsity", source=source) from None
    return list(parts.values())


def _intervals(scores: dict[str, float], total: Sums, parts: list[Sums]) -> dict[str, Interval]:
    shares = np.array([part.n / total.n for part in parts])
    rests = [functools.reduce(operator.add, parts[:place] + parts[place + 1 :]) for place in range(len(parts))]
    found = {}
    for name, value in scores.items():
        without = np.array([CORES[name](rest) for rest in rests])
        corrected, error = resampling.jackknife(value, without, shares)
        found[name] = resampling.symmetric(
            corrected, error, groups=len(parts), method="jackknife, bias-corrected", estimand="population"
        )
    return found
