"""What the catalogue says about a metric."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from featdiv.errors import InputError

TRANSFORMATIONS = (
    "row permutation",
    "feature permutation",
    "rotation",
    "translation",
    "isotropic scaling",
    "feature scaling",
    "row scaling",
)
"""What may be done to rows: reorder them, reorder features, multiply by an orthogonal matrix, add a constant
vector, multiply by one positive number, by one for each feature, by one for each row."""

NEEDS = (
    "eigenvalues",
    "uncentred eigenvalues",
    "unit eigenvalues",
    "moments",
    "unit moments",
    "two moments",
    "rows",
    "class moments",
    "unit class moments",
    "labelled rows",
    "weights",
    "cross moments",
    "parts of cross moments",
    "aligned rows",
    "source probabilities",
)
"""What a core takes: `Eigenvalues` (of either kind, uncentred, uncentred of unit rows), `Moments`, `Moments`
of unit rows, two `Moments`, rows, `ClassMoments`, those of unit rows, rows and their labels, the weights of a layer,
filters as rows, a pair of models from `CrossMoments`, the `CrossMoments` of parts of the rows, the rows of two
models side by side, or the probabilities that a classifier gives them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A publication.

    Attributes:
        authors: family names, as they are cited.
        year: of publication.
        title: title.
        venue: where it appeared.
        where: equation, definition or section, where known.
    """

    authors: str
    year: int
    title: str
    venue: str
    where: str = ""

    @property
    def short(self) -> str:
        """Authors and year, with the place: ``"Garrido et al. 2023, equation 1"``."""
        return f"{self.authors} {self.year}" + (f", {self.where}" if self.where else "")

    @property
    def full(self) -> str:
        """The whole reference, without the place."""
        stop = "" if self.title.endswith(("?", "!")) else "."
        return f"{self.authors} ({self.year}). {self.title}{stop} {self.venue}."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Definition:
    """A formula that stands under a name.

    Attributes:
        name: what ``definition=`` takes, or ``"default"`` where the metric has one formula only.
        formula: as plain text.
        source: publication or software that defines it.
        defect: what is known to be wrong with it, or empty.
    """

    name: str
    formula: str
    source: Source
    defect: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bounds:
    """The range of a metric at n rows of d features, in default arguments.

    Attributes:
        text: as shown, for example ``"1 <= value <= min(n, d)"``.
        lower: lower bound from (n, d), or None for none.
        upper: upper bound from (n, d), or None for none.
    """

    text: str
    lower: Callable[[int, int], float] | None = None
    upper: Callable[[int, int], float] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric: everything that documentation, command line, report and law tests need to know.

    Attributes:
        name: public name; `featdiv.<name>` is the function.
        summary: one sentence.
        family: ``"spectral"``, ``"labelled"``, ``"weights"``.
        function: dotted name of the public function.
        core: dotted name of the pure core.
        needs: what the core takes, one of `NEEDS`.
        definitions: the named formulas; the first is the default.
        sources: publications beyond those of the definitions.
        bounds: range, by the name of the score (a metric of one score: its own name).
        direction: how to read it, for example ``"higher is more diverse"``.
        directions: the same by score, where scores of one metric are read differently.
        score_sources: publication by score, where it is not that of the default definition.
        unit: of the value.
        invariances: members of `TRANSFORMATIONS` that leave it as it is.
        contrasts: members of `TRANSFORMATIONS` that change it; with the invariances, they are all.
        parameters: argument to what it means, beyond those that all functions share.
        jackknife: why a jackknife interval is never valid; empty where it is.
        jackknife_check: dotted name of a function from the statistic to the reason why a jackknife interval
            is not valid for it, or None; empty where there is nothing to check.
        score_prefix: what the names of scores that a composite result derives from it begin with, or empty.
        alias_of: the metric that this is another name of.
        note: what a reader of the number should know.
    """

    name: str
    summary: str
    family: str
    function: str
    core: str
    needs: str
    definitions: tuple[Definition, ...]
    bounds: Mapping[str, Bounds]
    direction: str
    unit: str
    invariances: tuple[str, ...]
    contrasts: tuple[str, ...]
    sources: tuple[Source, ...] = ()
    directions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    score_sources: Mapping[str, Source] = dataclasses.field(default_factory=dict)
    parameters: Mapping[str, str] = dataclasses.field(default_factory=dict)
    jackknife: str = ""
    jackknife_check: str = ""
    score_prefix: str = ""
    alias_of: str | None = None
    note: str = ""

    def __post_init__(self) -> None:
        unknown = {*self.invariances, *self.contrasts} ^ set(TRANSFORMATIONS)
        if unknown or set(self.invariances) & set(self.contrasts):
            raise InputError(
                f"Metric {self.name!r}: invariances and contrasts: expected each transformation in exactly one of the "
                f"two; {', '.join(sorted(unknown)) or 'some are in both'} are not"
            )
        if self.needs not in NEEDS:
            raise InputError(f"Metric {self.name!r}: needs: expected one of {NEEDS}; got {self.needs!r}")
        if not self.definitions:
            raise InputError(f"Metric {self.name!r}: definitions: expected at least one")
        strangers = {*self.directions, *self.score_sources} - set(self.bounds)
        if strangers:
            raise InputError(
                f"Metric {self.name!r}: directions and score_sources: expected scores that have bounds; got "
                f"{', '.join(sorted(strangers))}"
            )

    @property
    def formula(self) -> str:
        """Formula of the default definition."""
        return self.definitions[0].formula

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of the scores that its result holds."""
        return tuple(self.bounds)

    @property
    def units(self) -> dict[str, str]:
        """Unit of each score, in words."""
        units = [
            unit.removeprefix("1 (").removesuffix(")") if unit != "1" else "none" for unit in self.unit.split("; ")
        ]
        return dict(zip(self.bounds, units if len(units) > 1 else units * len(self.bounds), strict=True))

    def direction_of(self, score: str) -> str:
        """Returns how to read one of its scores."""
        return self.directions.get(score, self.direction)

    def source_of(self, score: str) -> Source:
        """Returns where one of its scores, in the default definition, comes from."""
        return self.score_sources.get(score, self.definitions[0].source)

    def references(self, definition: str | None = None) -> tuple[Source, ...]:
        """Returns what to cite for a definition (None or unknown: the default one), each source once."""
        named = {known.name: known.source for known in self.definitions}
        found = (named.get(definition or "", self.definitions[0].source), *self.sources)
        return tuple(dict.fromkeys(found))

    def load(self) -> Callable[..., Any]:
        """Imports and returns the public function."""
        return _load(self.function)

    def load_core(self) -> Callable[..., float]:
        """Imports and returns the pure core."""
        return _load(self.core)

    def no_jackknife(self, statistic: Any) -> str | None:
        """Returns why a jackknife interval of this metric would be wrong here, or None if it is valid."""
        if self.jackknife:
            return self.jackknife
        if not self.jackknife_check:
            return None
        reason: str | None = _load(self.jackknife_check)(statistic)
        return reason


def _load(dotted: str) -> Callable[..., Any]:
    module, _, name = dotted.rpartition(".")
    loaded: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return loaded
