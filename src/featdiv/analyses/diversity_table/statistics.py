"""The statistics that scores share, each made once and only if a score asks for it.

Where there are labels, one reading into class moments gives the moments of all rows too. Rows go to parts that the
jackknife leaves out: the user's groups whole, else contiguous slabs, with labels a slab of every class to each part.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from featdiv import io
from featdiv.analyses.diversity_table.selection import FUNCTION
from featdiv.analyses.spectral import plan
from featdiv.errors import InputError, NotEnoughData
from featdiv.io.progress import Progress
from featdiv.metrics.geometric import rows as row_sets
from featdiv.metrics.jackknife import Rests
from featdiv.metrics.labelled import inputs as labelled
from featdiv.metrics.spectral.eigenvalues import Eigenvalues
from featdiv.metrics.spectral.inputs import FLOOR_SHARE
from featdiv.metrics.spectral.left_out import LeftOut, leave_one_out
from featdiv.stats import ClassMoments, Moments, class_parts, grouped, partition

CHEAP_PRODUCTS = 2e9
"""Rows that take no more multiply-adds are read in float64."""


BY_CLASS = (
    "each part that the jackknife leaves out holds a slab of every class, so that its intervals take the shares of the "
    "classes as given; featdiv.spectrum, which sees no labels, leaves out slabs of rows as they stand"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The arguments of one call, checked."""

    interval: str | None
    precision: str
    backend: str
    memory: int
    sample: int | None
    seed: int
    progress: Progress | None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """Moments of all rows and of the parts of them, of one kind of rows.

    Attributes:
        total: of all rows.
        parts: of the parts; one where no intervals are wanted.
        classes: class moments of all rows, where there are labels.
        class_parts: those of the parts.
    """

    total: Moments
    parts: Sequence[Moments]
    classes: ClassMoments | None = None
    class_parts: Sequence[ClassMoments] = ()


class Shared:
    """What the scores of one call are computed from.

    Attributes:
        source: the rows, or None where only a statistic was given.
        options: arguments of the call.
        passes: what each reading of the rows was for.
        backends: op to the backend that ran it.
        notes: remarks for the provenance.
    """

    def __init__(self, source: io.Embeddings | None, options: Options, *, of_classes: bool, of_pairs: bool) -> None:
        self.source = source
        self.options = options
        self.passes: list[str] = []
        self.backends: dict[str, str] = {}
        self.notes: list[str] = []
        self._of_classes = of_classes and source is not None and source.labels is not None
        # Beside n^2 d operations on pairs of rows the jackknife costs little, whatever share of the moments it is.
        self._of_pairs = of_pairs
        self._given: Parts | None = None
        self._made: dict[str | None, Parts] = {}
        self._left_out: dict[str | None, LeftOut | str] = {}
        self._class_rests: dict[str | None, Rests] = {}
        self._eigen: dict[str | None, tuple[Eigenvalues, Eigenvalues]] = {}
        self._rows: row_sets.Rows | None = None

    @classmethod
    def of_statistic(cls, x: Moments | ClassMoments, options: Options) -> Shared:
        """Returns what a statistic alone can give."""
        shared = cls(None, options, of_classes=False, of_pairs=False)
        if isinstance(x, ClassMoments):
            shared._given = Parts(total=x.total(), parts=(), classes=x)
        else:
            shared._given = Parts(total=x, parts=())
        return shared

    @property
    def n(self) -> int:
        """Number of rows."""
        if self._given is not None:
            return self._given.total.n
        assert self.source is not None
        assert self.source.n is not None
        return self.source.n

    @property
    def d(self) -> int:
        """Number of features."""
        if self._given is not None:
            return self._given.total.d
        assert self.source is not None
        return self.source.d

    @functools.cached_property
    def plan(self) -> plan.Plan:
        """How many parts there are, or why there are no intervals."""
        assert self.source is not None
        groups = self.source.groups
        make = functools.partial(
            plan.make,
            method="gram",
            n=self.n,
            d=self.d,
            one_pass=False,
            groups=None if groups is None else len(np.unique(groups)),
            memory=self.options.memory,
            chunk_bytes=self.source.chunk_rows() * self.source.row_bytes,
            function=FUNCTION,
        )
        if self.options.interval == "auto" and self._of_pairs:
            try:
                return make(interval="jackknife")
            except InputError:
                pass  # Too few rows or groups, or too little memory: the plan for "auto" says which.
        return make(interval=self.options.interval)

    def rows(self) -> row_sets.Rows:
        """Returns the rows that are compared with one another, in memory: all of them, or the sample asked for.

        Raises:
            NotEnoughData: if only a statistic was given.
        """
        if self.source is None:
            raise NotEnoughData("it needs the rows, and x is a statistic, which no longer holds them")
        if self._rows is None:
            options = self.options
            self._rows = row_sets.of_source(
                self.source, function="diversity", sample=options.sample, seed=options.seed, memory=options.memory
            )
            if self.source.format != "array" and not isinstance(self._rows.values, np.memmap):
                self.passes.append("rows into memory" if options.sample is None else "a sample of rows into memory")
        return self._rows

    def drawn(self) -> str:
        """Returns the remark on rows that are a sample; empty where they are all rows, or were not needed."""
        return "" if self._rows is None or self._rows.sampled is None else self._rows.provenance.notes[0]

    def moments(self, normalize: str | None) -> Parts:
        """Returns the moments of rows as they are (None) or divided by their norms (``"l2"``)."""
        if self._given is not None:
            if normalize is not None and self._given.total.normalize != normalize:
                raise NotEnoughData("it needs rows of norm one, and x holds moments of rows as they are")
            if normalize is None and self._given.total.normalize is not None:
                raise NotEnoughData("it needs rows as they are, and x holds moments of normalised rows")
            return self._given
        if normalize not in self._made:
            cheap = self.n * self.d**2 <= CHEAP_PRODUCTS
            precision = "float64" if cheap else self.options.precision
            parts = self._read(normalize, precision)
            if precision != "float64" and self._too_coarse(parts.total):
                self.notes.append(f"read again in float64: too much of the spectrum lay below the {precision} floor")
                parts = self._read(normalize, "float64")
            self.backends["scatter"] = parts.total.backend
            self._made[normalize] = parts
        return self._made[normalize]

    def eigen(self, normalize: str | None) -> tuple[Eigenvalues, Eigenvalues]:
        """Returns (centred, uncentred) eigenvalues."""
        if normalize not in self._eigen:
            found = Eigenvalues.both_of_moments(self.moments(normalize).total)
            self._eigen[normalize] = (
                dataclasses.replace(found[0], unit_rows=found[0].unit_rows or normalize == "l2"),
                dataclasses.replace(found[1], unit_rows=found[1].unit_rows or normalize == "l2"),
            )
        return self._eigen[normalize]

    def classes(self, normalize: str | None) -> ClassMoments:
        """Returns the class moments of rows as they are, or divided by their norms."""
        classes = self.moments(normalize).classes
        if classes is None:
            raise NotEnoughData("it needs labels, and x holds moments without classes")
        return classes

    def left_out(self, normalize: str | None) -> LeftOut | str:
        """Returns the statistics without each part in turn, or why there are none."""
        if normalize not in self._left_out:
            self._left_out[normalize] = self._leave_out(normalize)
        return self._left_out[normalize]

    def class_rests(self, normalize: str | None) -> Rests:
        """Returns the class moments without each part in turn, or why there are none."""
        if normalize not in self._class_rests:
            self._class_rests[normalize] = self._class_leave_out(normalize)
        return self._class_rests[normalize]

    def _class_leave_out(self, normalize: str | None) -> Rests:
        asked = self.options.interval
        reason = self.no_intervals()
        if reason:
            return Rests(asked=asked, reason=reason)
        found = self.moments(normalize)
        assert found.classes is not None
        rests = labelled.rests_of(found.class_parts, found.classes, interval=asked)
        return dataclasses.replace(rests, parts=self.plan.buckets)

    def no_intervals(self) -> str:
        """Returns why the jackknife is not to be had, or an empty text."""
        if self.options.interval is None:
            return "none were asked for"
        if self.source is None:
            return "x is a statistic, one part that cannot be divided"
        return self.plan.no_interval

    def _leave_out(self, normalize: str | None) -> LeftOut | str:
        reason = self.no_intervals()
        if reason:
            return reason
        found = self.moments(normalize)
        always = self.options.interval == "jackknife" or self._of_pairs
        exact, reason = partition.affordable(self.n, self.d, len(found.parts), always=always)
        if reason:
            return reason
        return leave_one_out(found.total, found.parts, *self.eigen(normalize), exact=exact)

    def _too_coarse(self, total: Moments) -> bool:
        try:
            return max(eigen.share_below_floor for eigen in Eigenvalues.both_of_moments(total)) > FLOOR_SHARE
        except NotEnoughData:
            return False

    def _read(self, normalize: str | None, precision: str) -> Parts:
        assert self.source is not None
        what = "class moments" if self._of_classes else "moments"
        self.passes.append(f"{what} of {'unit rows' if normalize else 'rows'} in {precision}")
        if self._of_classes:
            return self._read_classes(normalize, precision)
        read = grouped.read(
            self.source,
            function=FUNCTION,
            buckets=self.plan.buckets,
            slab=self.plan.slab,
            use_groups=self.source.groups is not None,
            normalize=normalize,
            norm_sums=None if normalize is None else False,
            precision=precision,
            backend=self.options.backend,
            seed=self.options.seed,
            progress=self.options.progress,
        )
        return Parts(total=read.total, parts=read.parts)

    def _read_classes(self, normalize: str | None, precision: str) -> Parts:
        source, options = self.source, self.options
        assert source is not None
        parts = class_parts.read(
            source,
            function=FUNCTION,
            parts=self.plan.buckets,
            normalize=normalize,
            precision=precision,
            backend=options.backend,
            memory=options.memory,
            seed=options.seed,
            progress=options.progress,
        )
        if source.groups is None and len(parts) > 1 and BY_CLASS not in self.notes:
            self.notes.append(BY_CLASS)
        total = functools.reduce(ClassMoments.merge, parts)
        return Parts(total=total.total(), parts=[part.total() for part in parts], classes=total, class_parts=parts)
