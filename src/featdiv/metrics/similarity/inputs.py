"""The arguments of similarities that need cross moments alone, resolved to a `Pair` and the parts of its rows."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from featdiv import __version__, io
from featdiv.errors import InputError, NotEnoughData
from featdiv.io import Embeddings
from featdiv.io.caller import called_by
from featdiv.metrics import jackknife
from featdiv.metrics.similarity import left_out
from featdiv.metrics.similarity.pairs import Models, Pair
from featdiv.results import Interval, Provenance, Score
from featdiv.stats import (
    CrossMoments,
    Moments,
    arguments,
    budget,
    cross_moments_align,
    cross_moments_read,
    partition,
)

NAMES = ("x", "other")
CHEAP_PRODUCTS = 1 << 33
"""Multiply-adds up to which products take so little time that they are made in float64 in any case."""

PARTS = 5
"""Parts of the rows for the measures that hold some out to be predicted from the others."""

LEAST_SLAB = 16
"""Least consecutive rows that go to the same of these parts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resolved:
    """A pair, and how it came to be.

    Attributes:
        function: name of the score.
        pair: the two sides.
        parts: the statistics of the parts of the rows, where they were asked for.
        provenance: how they were made.
        total: the statistic of all rows.
        asked: the interval asked for.
        no_interval: why there is no interval; empty if there can be one.
    """

    function: str
    pair: Pair
    parts: tuple[CrossMoments, ...]
    provenance: Provenance
    total: CrossMoments
    asked: str | None = None
    no_interval: str = ""

    def score(
        self,
        core: Callable[..., float],
        *,
        definition: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        details: Callable[..., Mapping[str, Any]] | None = None,
        remarks: Callable[..., tuple[str, ...]] | None = None,
        estimate: left_out.Estimate | None = None,
    ) -> Score:
        """Runs a core and wraps its number.

        Args:
            core: called with the pair and the parameters (and ``definition``, where one is given).
            definition: named formula.
            parameters: of the core; recorded as arguments.
            details: called as the core is; gives `Score.details`.
            remarks: called as the core is; notes for the provenance.
            estimate: what the jackknife estimates, where it is valid.

        Raises:
            NotEnoughData: if the core says so; the message is given the function's name.
        """
        given = dict(parameters or {}) | ({"definition": definition} if definition is not None else {})
        with named(self.function):
            value = core(self.pair, **given)
            extra = details(self.pair, **given) if details else {}
            notes = remarks(self.pair, **given) if remarks else ()
        intervals: dict[str, Interval] = {}
        if self.asked is not None and estimate is not None:
            interval, reason = self._interval(float(value), functools.partial(core, **given), estimate)
            notes = (*notes, *((f"no interval: {reason}",) if reason else ()))
            intervals = {self.function: interval} if interval is not None else {}
        return make_score(
            self.function,
            value,
            self.provenance,
            definition=definition,
            parameters=parameters,
            details=extra,
            notes=notes,
            intervals=intervals,
        )

    def _interval(
        self, value: float, core: Callable[[Pair], float], estimate: left_out.Estimate
    ) -> tuple[Interval | None, str]:
        """Returns (interval, why there is none)."""
        if self.no_interval:
            return None, self.no_interval
        names = (self.total.names[0], self.total.names[1])
        found = left_out.leave_out(self.total, self.parts, [names], core)
        interval = left_out.interval(
            names, value, found, n=self.total.n, sizes=self.total.named_sizes, estimate=estimate
        )
        if interval is None and self.asked == "jackknife":
            raise partition.refused(self.function, jackknife.UNDEFINED)
        return interval, "" if interval is not None else jackknife.UNDEFINED


def make_score(
    function: str,
    value: float,
    provenance: Provenance,
    *,
    definition: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    details: Mapping[str, Any] | None = None,
    notes: tuple[str, ...] = (),
    intervals: Mapping[str, Interval] | None = None,
) -> Score:
    """Returns a `Score`; raises NotEnoughData if the value is not finite."""
    if not math.isfinite(value):
        raise NotEnoughData(f"{function}: the value overflows float64; scale the rows down")
    return Score(
        name=function,
        scores={function: float(value)},
        intervals=intervals or {},
        details=details or {},
        provenance=dataclasses.replace(
            provenance,
            definition=definition,
            arguments={**provenance.arguments, **(parameters or {})},
            notes=(*provenance.notes, *notes),
        ),
    )


@contextlib.contextmanager
def named(function: str) -> Iterator[None]:
    """Puts the function's name before the message of NotEnoughData."""
    try:
        yield
    except NotEnoughData as error:
        if str(error).startswith(f"{function}:"):
            raise
        raise NotEnoughData(f"{function}: {error}") from None


def chosen_precision(precision: str | None, *, exact: bool, n: int | None, features: int) -> str:
    """Returns the arithmetic of the products: the one asked for, or what the measure and the amount of work suggest.

    Args:
        precision: as asked for; None to choose.
        exact: whether the measure inverts covariances or takes small differences.
        n: rows, where known.
        features: in all models together.
    """
    if precision is not None:
        return precision
    cheap = n is not None and n * features * features <= CHEAP_PRODUCTS
    return "float64" if exact or cheap else "float32"


def resolve_pair(
    x: Any,
    other: Any,
    *,
    function: str,
    normalize: str | None,
    precision: str | None,
    backend: str,
    exact: bool,
    parts: bool = False,
    interval: str | None = None,
    groups: Any = None,
    estimate: left_out.Estimate | None = None,
) -> Resolved:
    """Returns the pair that ``x`` and ``other`` stand for.

    Args:
        x: rows, or `CrossMoments` of two models.
        other: rows; None with `CrossMoments`.
        function: name of the score.
        normalize, precision, backend: as the score was given them.
        exact: whether the measure wants float64 where no precision is asked for.
        parts: whether the parts of the rows are wanted as well.
        interval: ``"auto"``, ``"jackknife"`` or None.
        groups: group of each row, in the order of x.
        estimate: what the jackknife estimates, where it is valid.

    Raises:
        InputError: if the two cannot be compared.
    """
    jackknife.check(function, interval)
    if isinstance(x, CrossMoments):
        rests = jackknife.of_statistic(x, function=function, interval=interval, groups=groups)
        resolved = _of_statistic(x, other, function=function, normalize=normalize)
        return dataclasses.replace(resolved, asked=interval, no_interval=rests.reason)
    models = two_sides(x, other, function)
    with cross_moments_read.opened(models, function=function) as sources:
        features = sum(source.d for source in sources.values())
        n = next((source.n for source in sources.values() if source.n is not None), None)
        used = chosen_precision(precision, exact=exact, n=n, features=features)
        arguments.check(function, normalize=normalize, precision=used, backend=backend)
        cross_moments_read.require_memory([source.d for source in sources.values()], None, function=function)
        order = cross_moments_align.orders(sources, function=function)
        if groups is not None:
            with called_by(function):
                sources["x"] = io.open(sources["x"], groups=groups)
        grouped = cross_moments_align.groups_of(sources, function=function)
        dealt = left_out.plan(
            n=n,
            features=features,
            widest=max(source.d for source in sources.values()),
            groups=None if grouped is None else len(np.unique(grouped)),
            interval=interval,
            memory=budget.budget_bytes(None, function=function),
            estimate=estimate,
            invalid="",
            function=function,
        )
        slab = LEAST_SLAB if n is None else max(LEAST_SLAB, -(-n // (PARTS * 8)))
        read = cross_moments_read.read(
            sources,
            order,
            function=function,
            buckets=PARTS if parts else dealt.parts,
            slab=slab if parts else dealt.slab,
            groups=grouped,
            normalize=normalize,
            precision=used,
            backend=backend,
        )
        provenance = provenance_of_sources(sources, function, normalize)
    joint = read.total.joint
    return Resolved(
        function=function,
        pair=Models(read.total).pair(*NAMES),
        parts=read.parts,
        total=read.total,
        asked=interval,
        no_interval=dealt.no_interval or jackknife.too_few(len(read.parts)),
        provenance=dataclasses.replace(
            provenance,
            n=read.total.n,
            backends={"scatter": joint.backend},
            method="cross moments",
            precision=used,
            error_bound=joint.error_bound,
            measured_error=joint.measured_error,
            dtype=joint.dtype,
        ),
    )


def two_sides(x: Any, other: Any, function: str) -> dict[str, Any]:
    """Returns the two sides by name; raises InputError if one cannot be read as rows."""
    for name, value in zip(NAMES, (x, other), strict=True):
        if isinstance(value, Moments) or hasattr(value, "eigen"):
            raise InputError(
                f"{function}: {name}: expected rows, or CrossMoments of two models; got {type(value).__name__}, which "
                "does not know which rows of the other side belong to its own"
            )
    if other is None:
        raise InputError(f"{function}: other: expected a second representation of the rows of x; got None")
    if isinstance(other, CrossMoments):
        raise InputError(f"{function}: other: expected rows, as x is; got CrossMoments. Pass CrossMoments alone, as x")
    return {"x": x, "other": other}


def _of_statistic(x: CrossMoments, other: Any, *, function: str, normalize: str | None) -> Resolved:
    if other is not None:
        raise InputError(f"{function}: other: expected None with CrossMoments, which hold both sides")
    if len(x.names) != 2:
        raise InputError(
            f"{function}: x: expected CrossMoments of two models; got {len(x.names)}: {', '.join(x.names)}. "
            "Choose two with select(name, other), or use featdiv.compare for all pairs"
        )
    if normalize is not None and normalize != x.normalize:
        raise InputError(
            f"{function}: normalize: expected None with CrossMoments of rows as they are; got {normalize!r}. "
            "Make the CrossMoments with normalize='l2'"
        )
    if x.n == 0:
        raise NotEnoughData(f"{function}: x: expected at least 2 rows; got 0")
    pair = Models(x).pair(*x.names)
    provenance = Provenance(
        function=f"featdiv.{function}",
        version=__version__,
        arguments={"normalize": x.normalize, "other": x.names[1], "other_d": x.sizes[1]},
        backends={"scatter": x.joint.backend} if x.joint.backend else {},
        method="cross moments",
        error_bound=x.joint.error_bound,
        measured_error=x.joint.measured_error,
        dtype=x.joint.dtype or None,
        n=x.n,
        d=x.sizes[0],
        source="CrossMoments",
        passes=0,
    )
    return Resolved(function=function, pair=pair, parts=(), provenance=provenance, total=x)


def provenance_of_sources(sources: Mapping[str, Embeddings], function: str, normalize: str | None) -> Provenance:
    """Returns where the rows of two open sides came from."""
    x, other = sources["x"], sources["other"]
    return Provenance(
        function=f"featdiv.{function}",
        version=__version__,
        arguments={
            "normalize": normalize,
            "other": other.description,
            "other_d": other.d,
            "aligned_by": "ids" if x.ids is not None and other.ids is not None else "position",
        },
        dtype=x.dtype,
        n=x.n,
        d=x.d,
        source=x.description,
        fingerprint=x.fingerprint,
        extraction=x.extraction,
        passes=1,
    )
