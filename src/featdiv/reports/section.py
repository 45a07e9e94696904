"""What a section of the page is, and what its builder is given."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from featdiv.reports.entries import Entry
from featdiv.reports.markup import Markup


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the page.

    Attributes:
        name: its anchor; letters and hyphens.
        title: its heading.
        body: its content.
    """

    name: str
    title: str
    body: Markup


@dataclasses.dataclass(frozen=True, kw_only=True)
class Palette:
    """Which colour a model has: the same one in every figure.

    Attributes:
        models: names in the order in which they first appear.
    """

    models: tuple[str, ...]

    def style(self, model: str) -> int:
        """Returns the index of a model's colour."""
        return self.models.index(model) if model in self.models else len(self.models)


Build = Callable[[Sequence[Entry], Palette], Section | None]
"""Makes a section of the entries of its kinds, in the order given; None if there is nothing to show."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Builder:
    """How results of certain kinds are shown.

    Attributes:
        kinds: class names of the results that it takes; ``("*",)`` for those of all kinds.
        build: makes the section.
    """

    kinds: tuple[str, ...]
    build: Build

    def takes(self, entry: Entry) -> bool:
        """Whether an entry is one that it shows."""
        return "*" in self.kinds or entry.kind in self.kinds
