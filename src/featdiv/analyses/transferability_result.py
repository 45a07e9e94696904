"""`Transferability`: what `featdiv.transferability` returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from featdiv.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FUNCTION = "featdiv.transferability"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Transferability(Result):
    """A table of transferability scores of one representation for one labelled task.

    Higher should transfer better for every score. The scores have different units: compare a score between models,
    never two scores of one model.

    Attributes:
        definitions: named formula of each score that has several. That of the H-score is ``"shrunk"``, not the default
            of `featdiv.h_score`.
        details: what else is known of a score: shrinkage, sample, neighbours, strength of the penalty.
        classes: number of classes.
    """

    definitions: dict[str, str]
    details: dict[str, dict[str, Any]]
    classes: int

    _array_fields: ClassVar[tuple[str, ...]] = ("definitions", "details", "classes")

    def __getitem__(self, name: str) -> float:
        """Returns a score by name.

        Raises:
            NotEnoughData: if it is undefined; the message gives the reason.
            InputError: if there is none of that name.
        """
        return self.read(name)

    def table(self) -> list[dict[str, Any]]:
        """Returns one dictionary for each score: score, definition, value, low, high, method, undefined."""
        lines = []
        for name in self.names():
            interval = self.intervals.get(name)
            lines.append(
                {
                    "score": name,
                    "definition": self.definitions.get(name, ""),
                    "value": self.scores.get(name),
                    "low": interval.low if interval else None,
                    "high": interval.high if interval else None,
                    "method": interval.method if interval else "",
                    "undefined": self.undefined.get(name, ""),
                }
            )
        return lines

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draws the accuracies of the table with their intervals; the other scores have no common scale.

        Raises:
            NotEnoughData: if the table holds no accuracy.
        """
        from featdiv.analyses import transferability_plot

        return transferability_plot.accuracies(self, ax)

    def cite(self) -> str:
        """Returns the sources of the scores, one a line, and of featdiv itself."""
        from featdiv.metrics import catalogue

        return catalogue.citations(list(self.scores), definition=self.definitions)

    def _sheet(self) -> tuple[str, Sequence[str], list[list[str]]]:
        title, _, lines = super()._sheet()
        heads = ("score", "definition", "value", "95 % interval")
        return title, heads, [[name, self.definitions.get(name, ""), *cells] for name, *cells in lines]

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name}[{self.definitions[name]}]={value:.4g}" if name in self.definitions else f"{name}={value:.4g}"
            for name, value in self.scores.items()
        )
        return f"Transferability({shown})"
