"""Tables: captions, headings that sort, numbers with their intervals."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from featdiv.reports.markup import Markup, join, tag
from featdiv.reports.numbers import shown, span


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """A column.

    Attributes:
        name: heading.
        hint: what the heading means, shown when it is pointed at.
        numeric: whether its cells are numbers: aligned at the right, the greatest first when sorted.
        wide: whether its cells hold sentences.
    """

    name: str
    hint: str = ""
    numeric: bool = False
    wide: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell.

    Attributes:
        content: what it shows.
        key: number by which the column is sorted, or None: by its text, after all numbers.
        note: small print under it: an interval, a reason.
        strong: whether it stands out, as the best of its column does.
    """

    content: Any
    key: float | None = None
    note: str = ""
    strong: bool = False


def number(
    value: float | None,
    *,
    low: float | None = None,
    high: float | None = None,
    reason: str = "",
    strong: bool = False,
    digits: int = 4,
) -> Cell:
    """Returns the cell of a score: its value over its interval, or a dash over the reason why it has none."""
    if value is None:
        return Cell(content="–", note=reason)
    note = "" if low is None or high is None else span(low, high, digits)
    return Cell(content=shown(value, digits), key=value, note=note, strong=strong)


def table(
    caption: Any, columns: Sequence[Column], rows: Sequence[Sequence[Cell | str]], *, sorts: bool = True
) -> Markup:
    """Returns a table in a frame that scrolls sideways where the page is narrow.

    Args:
        caption: what it shows; text or markup.
        columns: headings, of which the first heads the names of the rows.
        rows: cells, as many in each row as there are columns; a string is a cell of text.
        sorts: whether the headings are buttons that sort.
    """
    heads = [_head(column, sorts=sorts) for column in columns]
    body = [
        tag(
            "tr",
            *(
                _cell(cell, column, first=place == 0)
                for place, (cell, column) in enumerate(zip(row, columns, strict=True))
            ),
        )
        for row in rows
    ]
    content = tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", *heads)),
        tag("tbody", *body),
        class_="sortable" if sorts else None,
    )
    return tag("div", content, class_="scroll", tabindex="0", role="region", aria_label="table, scrolls sideways")


def _head(column: Column, *, sorts: bool) -> Markup:
    content: Any = column.name
    if sorts:
        content = tag("button", column.name, tag("span", class_="arrow", aria_hidden="true"), type="button")
    return tag(
        "th",
        content,
        scope="col",
        class_="number" if column.numeric else "wide" if column.wide else None,
        title=column.hint or None,
        aria_sort="none" if sorts else None,
        data_numeric=sorts and column.numeric,
    )


def _breakable(name: Any) -> Any:
    """Returns the name of a model with the places at which a narrow column may break it."""
    if not isinstance(name, str) or isinstance(name, Markup):
        return name
    return join(re.split(r"(?<=[_./])(?=\w)", name), tag("wbr"))


def _cell(cell: Cell | str, column: Column, *, first: bool) -> Markup:
    found = Cell(content=cell) if isinstance(cell, str) else cell
    classes = [
        name for name, wanted in (("number", column.numeric), ("wide", column.wide), ("strong", found.strong)) if wanted
    ]
    note = tag("small", found.note) if found.note else None
    return tag(
        "th" if first else "td",
        _breakable(found.content) if first else found.content,
        note,
        scope="row" if first else None,
        class_=" ".join(classes) or None,
        data_sort=None if found.key is None else repr(float(found.key)),
    )
