"""`Diversity`: what `featdiv.diversity` returns."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from featdiv.results import Interval, Result, significant

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the table.

    Attributes:
        name: of the score.
        metric: catalogue name of the metric that it belongs to.
        value: the number, or None where it is undefined.
        interval: its interval, or None where none was asked for or none is valid.
        noise: value of isotropic noise at this n and d, or None where it is not known.
        direction: how to read it.
        definition: named formula.
        source: authors and year.
        undefined: why there is no value, or empty.
    """

    name: str
    metric: str
    value: float | None
    interval: Interval | None
    noise: float | None
    direction: str
    definition: str
    source: str
    undefined: str


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Diversity(Result):
    """An ordered table of scores: value, interval, what noise would give, direction, definition, source.

    Attributes:
        lines: the table, in the order asked for, undefined scores included.
        parts: metric to the result that gave its scores, for those that have more to tell: ``"sparsity"``,
            ``"neural_collapse"``, ``"pair_histogram"``, ...

    Example:
        >>> import featdiv
        >>> from sklearn.datasets import load_digits
        >>> table = featdiv.diversity(load_digits().data, metrics=["effective_rank", "mean_cosine"])
        >>> [(line.name, round(line.value, 2), line.direction) for line in table.lines]
        [('effective_rank', 39.71, 'higher is more diverse'), ('mean_cosine', 0.69, 'lower is more diverse')]
    """

    lines: tuple[Line, ...]
    parts: Mapping[str, Result] = dataclasses.field(default_factory=dict)

    _array_fields: ClassVar[tuple[str, ...]] = ("lines",)

    @property
    def baselines(self) -> dict[str, float]:
        """Score name to the value that isotropic noise of the same n and d gives, where it is known."""
        return {line.name: line.noise for line in self.lines if line.noise is not None}

    def __getitem__(self, name: str) -> float:
        """Returns the score of that name; see `read`."""
        return self.read(name)

    def to_pandas(self) -> pd.DataFrame:
        """Returns a data frame, one row a score: value, low, high, noise, direction, definition, source, undefined.

        Raises:
            MissingDependency: if pandas is not installed.
        """
        from featdiv._optional import require

        pandas = require("pandas", extra="pandas", needed_by="Diversity.to_pandas")
        return pandas.DataFrame([_flat(line) for line in self.lines]).set_index("score")

    def to_markdown(self) -> str:
        """Returns the table as Markdown: score, value with interval, noise, direction, definition, source."""
        rows = ["| score | value | 95 % interval | noise | direction | definition | source |", "| --- " * 7 + "|"]
        for line in self.lines:
            cells = [line.name, *_shown(line), line.direction, line.definition, line.source]
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        rows += [f"\n{line.name} is undefined: {line.undefined}." for line in self.lines if line.value is None]
        return "\n".join(rows)

    def to_latex(self) -> str:
        """Returns the table as a LaTeX ``tabular``: score, value, interval, noise, source.

        Why a score is undefined stands in comments below it.
        """
        lines = [r"\begin{tabular}{lrlrl}", r"score & value & 95\,\% interval & noise & source \\ \hline"]
        for line in self.lines:
            numbers = [re.sub(r"-?\d[-+.\de]*", r"$\g<0>$", cell) for cell in _shown(line)]
            cells = [_escaped(line.name), *(cell.replace("…", r"\ldots{}") for cell in numbers), _escaped(line.source)]
            lines.append(" & ".join(cells) + r" \\")
        reasons = [f"% {line.name} is undefined: {line.undefined}" for line in self.lines if line.value is None]
        return "\n".join([*lines, r"\end{tabular}", *reasons])

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draws a bar for each score, with its interval and a mark where noise lies.

        Args:
            ax: axes to draw every score on, over its upper bound or largest number; None for a new figure with one
                panel for each unit.

        Returns:
            The figure that was drawn on.
        """
        from featdiv.analyses.diversity_table import plot

        return plot.draw(self, ax)

    def _sheet(self) -> tuple[str, Sequence[str], list[list[str]]]:
        heads = ("score", "value", "95 % interval", "noise", "direction", "source")
        lines = [[one.name, *_shown(one), one.undefined or one.direction, one.source] for one in self.lines]
        drawn = self.provenance.arguments.get("sample")
        sample = f", pairs and neighbours of a sample of {drawn} rows" if drawn else ""
        return f"Diversity of {self.provenance.n} x {self.provenance.d}{sample}", heads, lines

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value:.5g}" for name, value in list(self.scores.items())[:4])
        return f"Diversity({self.provenance.n} x {self.provenance.d}, {shown}, … {len(self.lines)} scores)"


def _shown(line: Line) -> list[str]:
    """Returns value, interval and noise as text, with four significant digits."""
    if line.value is None:
        return ["undefined", "", ""]
    ends = [significant(end, 4) for end in (line.interval.low, line.interval.high)] if line.interval else []
    return [significant(line.value, 4), " … ".join(ends), "" if line.noise is None else significant(line.noise, 4)]


def _escaped(text: str) -> str:
    for character in "&%_#$":
        text = text.replace(character, f"\\{character}")
    return text


def _flat(line: Line) -> dict[str, Any]:
    return {
        "score": line.name,
        "value": math.nan if line.value is None else line.value,
        "low": line.interval.low if line.interval else math.nan,
        "high": line.interval.high if line.interval else math.nan,
        "noise": math.nan if line.noise is None else line.noise,
        "direction": line.direction,
        "definition": line.definition,
        "source": line.source,
        "undefined": line.undefined,
    }
