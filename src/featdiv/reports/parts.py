"""Parts that several sections use: numbered figures, legends, folded details, remarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from featdiv.reports.figures import frame
from featdiv.reports.markup import Markup, join, tag
from featdiv.reports.section import Palette


def figure(*drawings: Any, caption: Any, wide: bool = False) -> Markup:
    """Returns a figure with its caption; the style sheet numbers it."""
    return tag(
        "figure",
        tag("div", *drawings, class_="panels" if len(drawings) > 1 else "scroll panel"),
        tag("figcaption", caption),
        class_="wide" if wide else None,
    )


def legend(models: Sequence[str], palette: Palette) -> Markup:
    """Returns a legend: the names of the models with their lines, as buttons that highlight one model."""
    items = []
    for model in models:
        index = palette.style(model)
        swatch = tag(
            "svg",
            frame.line(1, 5, 25, 5, class_="line"),
            viewBox="0 0 26 10",
            width=26,
            height=10,
            aria_hidden="true",
            class_=f"series {frame.style(index)}",
        )
        button = tag("button", swatch, tag("span", model), type="button", aria_pressed="false", data_series=index)
        items.append(tag("li", button))
    return tag("ul", *items, class_="legend", aria_label="Models; press one to make it stand out")


def paragraph(*content: Any, class_: str | None = None) -> Markup:
    """Returns a paragraph."""
    return tag("p", *content, class_=class_)


def folded(summary: Any, *content: Any) -> Markup:
    """Returns content that unfolds; print shows it unfolded."""
    return tag("details", tag("summary", summary), *content)


def listed(items: Sequence[Any], *, class_: str | None = None) -> Markup:
    """Returns a list."""
    return tag("ul", *(tag("li", item) for item in items), class_=class_)


def sentence(items: Sequence[str]) -> str:
    """Returns names as a sentence has them.

    Example:
        >>> sentence(["a"]), sentence(["a", "b", "c"])
        ('a', 'a, b and c')
    """
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last


def code(content: Any) -> Markup:
    """Returns a name of the program."""
    return tag("code", content)


def stacked(*content: Any) -> Markup:
    """Returns blocks one below the other."""
    return join(content)
