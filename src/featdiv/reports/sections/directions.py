"""What each leading direction shows: the images at its two ends."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from featdiv.analyses.principal import thumbnails
from featdiv.analyses.principal.run import IMAGE_BUDGET, SIDE
from featdiv.errors import FormatError
from featdiv.reports import parts
from featdiv.reports.entries import Entry
from featdiv.reports.markup import Markup, join, tag
from featdiv.reports.numbers import shown
from featdiv.reports.section import Palette, Section

KINDS = ("Directions",)

PICTURES_BUDGET = 3_000_000
"""Bytes of all pictures of a page; where they are more, the rows nearest the middle are left out."""

_PICTURE = re.compile(r"data:image/(?:png|jpeg|webp);base64,[A-Za-z0-9+/]+={0,2}")


def build(entries: Sequence[Entry], palette: Palette) -> Section | None:
    """Returns the section, or None where there are no directions.

    Raises:
        FormatError: if a picture is not a data URI of one.
    """
    if not entries:
        return None
    for entry in entries:
        _check_pictures(entry)
    widest = max(len(line) for entry in entries for line in entry.content["low"])
    most = next((m for m in range(widest, 1, -1) if _bytes(entries, m) <= PICTURES_BUDGET), 1)
    blocks = [
        parts.paragraph(
            "Each direction has two ends. The rows at the ends, side by side, show what the model tells apart along "
            "it. The sign of a direction is arbitrary."
        )
    ]
    if most < widest:
        blocks.append(
            parts.paragraph(
                f"Of the {widest} rows found at each end, {most} are shown, to keep this page small.", class_="small"
            )
        )
    blocks += [_model(entry, most) for entry in entries]
    return Section(name="directions", title="What the leading directions show", body=parts.stacked(*blocks))


def with_pictures(entry: Entry, images: Any) -> Entry:
    """Returns directions with the pictures of their rows, unless they have some already."""
    if entry.content.get("thumbnails"):
        return entry
    rows = sorted({int(row) for end in ("low", "high") for line in entry.content[end] for row in line})
    pictures = thumbnails.encode(images, rows, side=SIDE, budget=IMAGE_BUDGET)
    content = {**entry.content, "thumbnails": {str(row): uri for row, uri in pictures.items()}}
    return dataclasses.replace(entry, content=content)


def _check_pictures(entry: Entry) -> None:
    for row, uri in (entry.content.get("thumbnails") or {}).items():
        if not isinstance(uri, str) or not _PICTURE.fullmatch(uri):
            raise FormatError(
                f"featdiv.report: {entry.name}: thumbnails: expected a PNG, JPEG or WebP as a data URI for row {row}; "
                f"got {str(uri)[:60]!r}"
            )


def _bytes(entries: Sequence[Entry], most: int) -> int:
    return sum(
        len(entry.content.get("thumbnails", {}).get(str(row), ""))
        for entry in entries
        for end in ("low", "high")
        for line in entry.content[end]
        for row in line[:most]
    )


def _model(entry: Entry, most: int) -> Markup:
    content = entry.content
    other = content.get("other")
    title = f"{entry.name}: what {other} lacks" if other else f"{entry.name}"
    explained = content.get("explained") or [None] * len(content["shares"])
    centred = entry.content["provenance"].get("arguments", {}).get("center", True)
    lines = [
        tag(
            "tr",
            _head(place, share, told, other, centred),
            _end(content, "low", place, most),
            _end(content, "high", place, most),
        )
        for place, (share, told) in enumerate(zip(content["shares"], explained, strict=True))
    ]
    caption = (
        f"Directions in which {entry.name} varies most beyond what {other} tells."
        if other
        else f"The leading {len(lines)} principal directions of {entry.name}{'' if centred else ', mean included'}."
    )
    heads = [tag("th", name, scope="col") for name in ("direction", "one end", "the other end")]
    grid = tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", *heads)),
        tag("tbody", *lines),
        class_="directions",
    )
    frame = tag("div", grid, class_="scroll", tabindex="0", role="region", aria_label="table, scrolls sideways")
    return tag("section", tag("h3", title), frame)


def _head(place: int, share: float, told: float | None, other: Any, centred: bool) -> Markup:
    facts = f"{shown(100.0 * share, 3)} % of the {'variance' if centred else 'sum of squares'}"
    if told is not None:
        facts += f"; {other} explains {shown(100.0 * max(0.0, told), 2)} % of it"
    return tag("th", str(place + 1), tag("small", facts), scope="row")


def _end(content: Mapping[str, Any], end: str, place: int, most: int) -> Markup:
    rows, values = content[end][place][:most], content[f"{end}_values"][place][:most]
    pictures = content.get("thumbnails") or {}
    items = []
    for row, value in zip(rows, values, strict=True):
        uri = pictures.get(str(row))
        label = f"row {row}"
        shape = tag("img", src=uri, alt=f"image of {label}", loading="lazy") if uri else None
        items.append(tag("li", shape, tag("small", label), title=f"{label}, at {shown(value, 3)}"))
    return tag("td", tag("ul", join(items), class_="pictures" if pictures else "pictures rows"))
