"""HTML and SVG as text: every text that is not markup already is escaped, wherever it comes from."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Any

VOID = frozenset({"br", "col", "hr", "img", "input", "link", "meta", "wbr"})
"""Elements of HTML that have no end tag."""

_NOT_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


class Markup(str):
    """Text that is markup already, and is not escaped again."""

    __slots__ = ()


def escape(value: Any) -> Markup:
    """Returns a value as text that is safe between tags and inside a quoted attribute.

    What no HTML document may hold (control characters, lone surrogates) becomes U+FFFD.

    Example:
        >>> escape("<script>a & 'b'</script>")
        '&lt;script&gt;a &amp; &#x27;b&#x27;&lt;/script&gt;'
        >>> escape(Markup("<b>kept</b>"))
        '<b>kept</b>'
    """
    if isinstance(value, Markup):
        return value
    return Markup(html.escape(_NOT_TEXT.sub("\N{REPLACEMENT CHARACTER}", str(value)), quote=True))


def join(children: Iterable[Any], separator: str = "") -> Markup:
    """Returns the children one after the other, each escaped unless it is markup; None is left out."""
    return Markup(separator.join(escape(child) for child in children if child is not None))


def tag(element: str, *children: Any, **attributes: Any) -> Markup:
    """Returns one element.

    Args:
        element: its name.
        *children: markup, or text to escape; None is left out.
        **attributes: an underscore at the end is dropped, the others become hyphens (``class_``, ``data_sort``).
            None and False leave the attribute out, True writes it without a value.

    Example:
        >>> tag("td", "a < b", class_="number", data_sort=3)
        '<td class="number" data-sort="3">a &lt; b</td>'
    """
    written = []
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = name.removesuffix("_").replace("_", "-")
        written.append(f" {attribute}" if value is True else f' {attribute}="{escape(value)}"')
    start = f"<{element}{''.join(written)}>"
    return Markup(start if element in VOID else f"{start}{join(children)}</{element}>")
