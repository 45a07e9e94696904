"""A named matrix as coloured cells."""

from __future__ import annotations

from collections.abc import Sequence

from featdiv.reports.figures import frame
from featdiv.reports.figures.bar_chart import LETTER, cut
from featdiv.reports.markup import Markup, tag
from featdiv.reports.numbers import MINUS, shown

MOST_NUMBERED = 24
"""A matrix of more rows or columns has no room for numbers in its cells."""

DARK_FROM = 0.55
"""Share of the range from which a cell is so strong that its number stands in the other colour."""


def heat_map(
    values: Sequence[Sequence[float | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str,
    low: float,
    high: float,
) -> Markup:
    """Returns the matrix as a picture; stronger colour stands for greater values.

    Args:
        values: row by row; None where a value is undefined.
        rows: names of the rows.
        columns: names of the columns.
        title: what a screen reader announces.
        low: value of the weakest colour.
        high: value of the strongest colour.
    """
    side = 44.0 if len(columns) <= 10 else 34.0 if len(columns) <= MOST_NUMBERED else 18.0
    tall = min(side, 34.0)
    left = 12 + LETTER * max(len(cut(name)) for name in rows)
    # Column names stand at 45 degrees.
    top = 14 + 0.72 * LETTER * max(len(cut(name)) for name in columns)
    numbered = max(len(rows), len(columns)) <= MOST_NUMBERED
    parts = []
    for j, name in enumerate(columns):
        x, y = left + side * (j + 0.5), top - 8
        parts.append(
            tag(
                "text",
                cut(name),
                class_="bar-name",
                transform=f"translate({frame.place(x)} {frame.place(y)}) rotate(-45)",
            )
        )
    for i, (name, line) in enumerate(zip(rows, values, strict=True)):
        y = top + tall * i
        parts.append(frame.text(left - 8, y + tall / 2 + 4, cut(name), class_="bar-name", anchor="end"))
        for j, value in enumerate(line):
            parts.append(_cell(value, left + side * j, y, side, tall, f"{name}, {columns[j]}", low, high, numbered))
    # Room at the right for the last of the slanting names.
    room = max(8.0, 0.72 * LETTER * len(cut(columns[-1])) - side / 2 + 8)
    return frame.drawing(
        *parts,
        width=left + side * len(columns) + room,
        height=top + tall * len(rows) + 8,
        title=title,
        description=f"{len(rows)} by {len(columns)} cells; the table below it holds the numbers",
    )


def _cell(
    value: float | None,
    x: float,
    y: float,
    side: float,
    tall: float,
    pair: str,
    low: float,
    high: float,
    numbered: bool,
) -> Markup:
    share = 0.0 if value is None else min(1.0, max(0.0, (value - low) / (high - low)))
    square = tag(
        "rect",
        x=frame.place(x + 0.5),
        y=frame.place(y + 0.5),
        width=frame.place(side - 1),
        height=frame.place(tall - 1),
        class_="cell empty" if value is None else "cell",
        style=None if value is None else f"--share:{100 * share:.1f}%",
    )
    number = None
    if numbered:
        content = "–" if value is None else f"{round(value, 2) + 0.0:.2f}".replace("-", MINUS)
        number = frame.text(
            x + side / 2,
            y + tall / 2 + 4,
            content,
            class_="cell-number strong" if share >= DARK_FROM else "cell-number",
            anchor="middle",
        )
    return tag("g", tag("title", f"{pair}: {'undefined' if value is None else shown(value)}"), square, number)
