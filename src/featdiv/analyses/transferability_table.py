"""The table while it is filled: scores, reasons, intervals, in the order in which they were asked for."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from featdiv.analyses.transferability_result import FUNCTION, Transferability
from featdiv.errors import NotEnoughData
from featdiv.results import Interval, Provenance
from featdiv.stats import ClassMoments

DEFAULT = ("logme", "h_score", "transrate", "gbc", "lda", "ridge", "knn")
ALL = (*DEFAULT, "leep", "nce", "nleep", "parc")
OF_MOMENTS = ("logme", "h_score", "transrate", "gbc")
DEFINITIONS = {"h_score": "shrunk", "transrate": "tllib", "gbc": "diagonal"}


class Table:
    """Scores as they come."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.scores: dict[str, float] = {}
        self.reasons: dict[str, str] = {}
        self.intervals: dict[str, Interval] = {}
        self.details: dict[str, dict[str, Any]] = {}
        self.notes: list[str] = []
        self.jackknife: Callable[[Table], None] | None = None

    def score(self, name: str, value: float, **details: Any) -> None:
        """Takes a score, and what else is known of it."""
        self.scores[name] = value
        if details:
            self.details[name] = details

    def interval(self, name: str, interval: Interval | None) -> None:
        """Takes the interval of a score, where there is one."""
        if interval is not None:
            self.intervals[name] = interval

    def undefined(self, name: str, reason: str) -> None:
        """Takes the reason why there is no such score."""
        self.reasons[name] = reason

    @contextlib.contextmanager
    def scoring(self, name: str) -> Iterator[None]:
        """Turns a NotEnoughData into the reason why this score is undefined."""
        try:
            yield
        except NotEnoughData as error:
            self.undefined(name, str(error).removeprefix(f"{name}: "))

    def result(
        self, classes: ClassMoments, provenance: Provenance, *, interval: str | None, seed: int
    ) -> Transferability:
        """Returns the result.

        Raises:
            NotEnoughData: if no score is defined.
        """
        if not self.scores:
            raise NotEnoughData(f"{FUNCTION}: " + "; ".join(f"{name}: {why}" for name, why in self.reasons.items()))
        if interval is not None and self.jackknife is not None:
            self.jackknife(self)
        order = [name for asked in self.names for name in _with_accuracy(asked)]
        return Transferability(
            scores={name: self.scores[name] for name in order if name in self.scores},
            undefined={name: self.reasons[name] for name in order if name in self.reasons},
            intervals={name: self.intervals[name] for name in order if name in self.intervals},
            definitions={name: DEFINITIONS[name] for name in self.names if name in DEFINITIONS},
            details=self.details,
            classes=classes.c,
            provenance=dataclasses.replace(
                provenance,
                function=FUNCTION,
                arguments={**provenance.arguments, "metrics": list(self.names), "interval": interval},
                method="class moments, then rows",
                seed=seed,
                notes=(*provenance.notes, *self.notes),
            ),
        )


def _with_accuracy(name: str) -> tuple[str, ...]:
    return ("lda", "lda_accuracy") if name == "lda" else (name,)
