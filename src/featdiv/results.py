"""What every featdiv call returns: frozen results that carry their numbers, intervals and provenance.

A scalar function returns a `Score`. A call that computes many things returns a named subclass of `Result`
whose scalars live in `Result.scores`. A score that is undefined for the input does not spoil the others: it is
listed in `Result.undefined` with the reason, reading it raises `NotEnoughData`, and `to_dict` gives null.
"""

from __future__ import annotations

import dataclasses
import html
import json
import math
import re
import textwrap
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from featdiv.errors import InputError, NotEnoughData

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
"""Version of the layout that `Result.to_dict` writes; raised when a key changes its meaning."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """A confidence interval.

    Attributes:
        low: lower end.
        high: upper end.
        level: nominal coverage.
        standard_error: standard error behind the interval, in the units of the score.
        method: how it was computed, for example ``"jackknife"``.
        estimand: what it covers, for example ``"population"`` or ``"expected at n=2000"``.
        groups: number of groups left out in turn (jackknife) or resampled (bootstrap).
    """

    low: float
    high: float
    level: float = 0.95
    standard_error: float
    method: str
    estimand: str
    groups: int

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"[{self.low:.6g}, {self.high:.6g}]"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Provenance:
    """How a result was made: enough to repeat it, and to doubt it.

    Attributes:
        function: public name of the function, for example ``"featdiv.spectrum"``.
        version: featdiv version.
        definition: named formula (``"garrido2023"``), or None where the name fixes the only one.
        arguments: the arguments that shaped the numbers.
        backends: op name to the backend that ran it.
        method: algorithm that produced the numbers, for example ``"gram"`` or ``"svd"``.
        precision: arithmetic asked for.
        error_bound: stated relative error of the accumulated second moments in that precision.
        measured_error: the largest relative error seen in this run's own spot checks, if any were made.
        dtype: element type of the rows that were read.
        n: number of rows.
        d: number of features.
        seed: seed of every random choice made.
        source: where the rows came from.
        fingerprint: fingerprint of the source; see `featdiv.Embeddings.fingerprint`.
        extraction: what the rows were extracted with, where `featdiv.extract` did it: model, hash of its weights,
            layer, pooling, transform, fingerprint of the images.
        passes: how often the rows were read.
        notes: remarks that a reader of the number should know.
    """

    function: str
    version: str
    definition: str | None = None
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    backends: Mapping[str, str] = dataclasses.field(default_factory=dict)
    method: str | None = None
    precision: str | None = None
    error_bound: float | None = None
    measured_error: float | None = None
    dtype: str | None = None
    n: int | None = None
    d: int | None = None
    seed: int | None = None
    source: str | None = None
    fingerprint: str | None = None
    extraction: Mapping[str, Any] | None = None
    passes: int | None = None
    notes: tuple[str, ...] = ()


def outside(scores: Mapping[str, float], intervals: Mapping[str, Interval]) -> str:
    """Returns a remark on scores that lie outside their own intervals, which looks like a mistake; nothing without any.

    Only intervals that were corrected for a bias can leave their score outside by intent.

    Example:
        >>> corrected = {"method": "jackknife, bias-corrected", "estimand": "population", "groups": 7}
        >>> outside({"alpha_req": 1.76}, {"alpha_req": Interval(low=1.6, high=1.7, standard_error=0.02, **corrected)})
        'alpha_req lies outside its interval, which is for the population, corrected for the bias of a finite sample'
    """
    names = [
        name
        for name, interval in intervals.items()
        if name in scores and scores[name] not in interval and "bias-corrected" in interval.method
    ]
    if not names:
        return ""
    where = "lies outside its interval, which is" if len(names) == 1 else "lie outside their intervals, which are"
    return f"{', '.join(names)} {where} for the population, corrected for the bias of a finite sample"


def significant(value: float, digits: int) -> str:
    """Returns a number as a table shows it: so many significant digits, trailing zeros among them; a count as it is.

    Example:
        >>> [significant(value, 4) for value in (306.0012, 0.43, 28.0, -3.5812, 1.5e-7)]
        ['306.0', '0.4300', '28', '-3.581', '1.500e-07']
    """
    if float(value).is_integer() and abs(value) < 1e9:
        return str(int(value))
    return f"{value:#.{digits}g}".rstrip(".")


def aligned(lines: Sequence[Sequence[str]], *, right: Container[int] = ()) -> list[str]:
    """Returns a table as lines of text with two blanks between columns; those numbered in ``right`` end alike.

    Example:
        >>> aligned([["score", "value"], ["rankme", "29.6"]], right=[1])
        ['score   value', 'rankme   29.6']
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def as_latex(cell: str) -> str:
    r"""Returns a cell of a table as LaTeX: numbers and intervals in math mode, powers of ten set as such, text escaped.

    Example:
        >>> for cell in ("effective_rank", "[-0.25, 2.5]", "1.5e-07"):
        ...     print(as_latex(cell))
        effective\_rank
        $[-0.25, 2.5]$
        $1.5\times10^{-7}$
    """
    if not re.fullmatch(r"[\[\]\s,…+-]*\d[\[\]\s,….e+\d-]*", cell):
        return cell.translate(_IN_LATEX)
    powers = re.sub(r"e([-+]?\d+)", lambda found: rf"\times10^{{{int(found[1])}}}", cell)
    return "$" + powers.replace("…", r"\ldots") + "$"


_IN_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%_#${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"…": r"\ldots{}", "±": r"$\pm$", "²": "$^2$"}
)


def _is_number(cell: str) -> bool:
    if cell in ("", "undefined"):
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _jsonable(value: Any) -> Any:
    """Reduces a value to what JSON can hold; NaN and infinity, which it cannot, become null."""
    if isinstance(value, np.ndarray):
        return [_jsonable(item) for item in value.tolist()]
    if isinstance(value, np.generic):
        return _jsonable(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Result):
        return value.to_dict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """Base of all results.

    Attributes:
        scores: name to value, in the order in which they are shown.
        undefined: name to the reason why that score does not exist for this input.
        intervals: name to `Interval`, for the scores that have one.
        provenance: how the result was made.
    """

    scores: Mapping[str, float]
    undefined: Mapping[str, str] = dataclasses.field(default_factory=dict)
    intervals: Mapping[str, Interval] = dataclasses.field(default_factory=dict)
    provenance: Provenance

    _array_fields: ClassVar[tuple[str, ...]] = ()
    """Names of the fields that `to_dict` adds beside the scores."""

    def read(self, name: str) -> float:
        """Returns the score of that name.

        Raises:
            NotEnoughData: if the score is undefined for this input; the message gives the reason.
            InputError: if the result has no such score.
        """
        if name in self.scores:
            return self.scores[name]
        if name in self.undefined:
            raise NotEnoughData(f"{type(self).__name__}.{name} is undefined: {self.undefined[name]}")
        raise InputError(f"{type(self).__name__}: no score named {name!r}; it has {', '.join(self.names())}")

    def names(self) -> Iterator[str]:
        """Yields every score name, defined ones first."""
        yield from self.scores
        yield from self.undefined

    def to_dict(self) -> dict[str, Any]:
        """Returns a JSON-safe dictionary; an undefined score is null, its reason is under ``undefined``."""
        scores: dict[str, Any] = {name: _jsonable(value) for name, value in self.scores.items()}
        scores.update(dict.fromkeys(self.undefined))
        content = {
            "type": type(self).__name__,
            "schema": SCHEMA_VERSION,
            "scores": scores,
            "undefined": dict(self.undefined),
            "intervals": _jsonable(self.intervals),
        }
        content.update({name: _jsonable(getattr(self, name)) for name in self._array_fields})
        content["provenance"] = _jsonable(self.provenance)
        return content

    def to_json(self, *, indent: int | None = 2) -> str:
        """Returns `to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)

    def to_pandas(self) -> pd.DataFrame:
        """Returns a data frame, one row a score: value, low, high, undefined (the reason, or empty).

        Raises:
            MissingDependency: if pandas is not installed.
        """
        from featdiv._optional import require

        pandas = require("pandas", extra="pandas", needed_by=f"{type(self).__name__}.to_pandas")
        rows = []
        for name in self.names():
            interval = self.intervals.get(name)
            rows.append(
                {
                    "score": name,
                    "value": self.scores.get(name, math.nan),
                    "low": interval.low if interval else math.nan,
                    "high": interval.high if interval else math.nan,
                    "undefined": self.undefined.get(name, ""),
                }
            )
        return pandas.DataFrame(rows).set_index("score")

    def to_scalars(self, prefix: str = "") -> dict[str, float]:
        """Returns a flat ``prefix + name -> float`` mapping of the defined scores, for experiment loggers."""
        return {f"{prefix}{name}": float(value) for name, value in self.scores.items()}

    def _sheet(self) -> tuple[str, Sequence[str], list[list[str]]]:
        """Returns what a notebook and `print` show: a title, headings (or none) and lines of as many cells."""
        lines = []
        for name in self.names():
            interval = self.intervals.get(name)
            shown = f"{self.scores[name]:.6g}" if name in self.scores else "undefined"
            lines.append([name, shown, self.undefined.get(name, str(interval) if interval else "")])
        shape = " x ".join(str(size) for size in (self.provenance.n, self.provenance.d) if size is not None)
        level = next((interval.level for interval in self.intervals.values()), None)
        heads = () if level is None else ("score", "value", f"{100 * level:g} % interval")
        return f"{type(self).__name__} of {shape}" if shape else type(self).__name__, heads, lines

    def _repr_html_(self) -> str:
        title, heads, lines = self._sheet()
        head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in line)}</tr>" for line in lines)
        beneath = "".join(f"<p>{html.escape(line)}</p>" for line in self._beneath())
        table = f"<table><caption>{html.escape(title)}</caption>{f'<tr>{head}</tr>' if head else ''}{body}</table>"
        return table + beneath

    def __str__(self) -> str:
        """The table that a notebook shows, as text: one score a line, unless the result says otherwise."""
        title, heads, lines = self._sheet()
        numbers = [i for i in range(len(lines[0]) if lines else 0) if all(_is_number(line[i]) for line in lines)]
        table = aligned([heads, *lines] if heads else lines, right=numbers)
        return "\n".join([textwrap.fill(title, 100), *table, *self._beneath()])

    def _beneath(self) -> list[str]:
        """Returns what stands under the table: why a score lies outside the interval that is printed beside it."""
        heads = self._sheet()[1]
        printed = not heads or any("interval" in head for head in heads)
        remark = outside(self.scores, self.intervals) if printed else ""
        return [remark] if remark else []

    def to_markdown(self) -> str:
        """Returns the table that `print` shows, as Markdown."""
        heads, lines = self._columns()
        rows = [heads, ["---"] * len(heads), *lines]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)

    def to_latex(self) -> str:
        """Returns the table that `print` shows, as a LaTeX ``tabular``; its title stands in a comment above it."""
        heads, lines = self._columns()
        aligned = "".join("r" if all(_is_number(line[i]) for line in lines) else "l" for i in range(len(heads)))
        rows = [" & ".join(map(as_latex, row)) + r" \\" for row in (heads, *lines)]
        title = " ".join(self._sheet()[0].split())
        return "\n".join(
            [f"% {title}", rf"\begin{{tabular}}{{{aligned}}}", f"{rows[0]} \\hline", *rows[1:], r"\end{tabular}"]
        )

    def _columns(self) -> tuple[Sequence[str], list[list[str]]]:
        """Returns headings, those of a score a line where the table has none of its own, and lines."""
        _, heads, lines = self._sheet()
        return heads or ("score", "value", "interval"), lines

    def cite(self) -> str:
        """Returns the sources of the definitions used, one a line, and of featdiv itself."""
        from featdiv.metrics import catalogue

        return catalogue.citations(list(self.scores), definition=self.provenance.definition)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Score(Result):
    """One number with its name, interval and provenance; ``float(score)`` is the number, ``f"{score:.2f}"`` its text.

    Attributes:
        name: catalogue name of the score.
        details: further numbers that belong to the value, for example the range of a fit.
    """

    name: str
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    _array_fields: ClassVar[tuple[str, ...]] = ("name", "details")

    @property
    def value(self) -> float:
        """The number."""
        return self.scores[self.name]

    @property
    def interval(self) -> Interval | None:
        """The confidence interval, or None where none was asked for or none is valid."""
        return self.intervals.get(self.name)

    def _sheet(self) -> tuple[str, Sequence[str], list[list[str]]]:
        title, heads, lines = super()._sheet()
        return self.provenance.function.removeprefix("featdiv.") + title.removeprefix("Score"), heads, lines

    def __float__(self) -> float:
        return float(self.value)

    def __format__(self, spec: str) -> str:
        """Formats the number: ``f"{score:.2f}"``; without a specification, as `str` does."""
        return format(float(self), spec) if spec else str(self)

    def __str__(self) -> str:
        return repr(self)

    def __repr__(self) -> str:
        interval = f", {self.interval}" if self.interval else ""
        corrected = " bias-corrected" if outside(self.scores, self.intervals) else ""
        return f"Score({self.name}={self.value:.6g}{interval}{corrected})"
