from __future__ import annotations

import pytest

from featdiv.reports.markup import Markup, escape, join, tag


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<script>alert('x')</script>", "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;"),
        ('a "b" & c', "a &quot;b&quot; &amp; c"),
        ("null \x00 bell \x07", "null \N{REPLACEMENT CHARACTER} bell \N{REPLACEMENT CHARACTER}"),
        ("half \ud800", "half \N{REPLACEMENT CHARACTER}"),
        ("Käse\tλ\n", "Käse\tλ\n"),
        (3.5, "3.5"),
    ],
)
def test_text_is_escaped(text, expected):
    assert escape(text) == expected


def test_markup_is_escaped_once():
    once = tag("b", "a < b")
    assert tag("p", once, " & more") == "<p><b>a &lt; b</b> &amp; more</p>"


def test_attributes():
    assert tag("td", class_="x", data_sort=1.5, hidden=True, title=None, open=False) == (
        '<td class="x" data-sort="1.5" hidden></td>'
    )
    assert tag("img", alt='" onerror="alert(1)') == '<img alt="&quot; onerror=&quot;alert(1)">'


def test_none_is_left_out():
    assert tag("p", None, "a", None) == "<p>a</p>"
    assert join(["a", None, Markup("<br>")], ", ") == "a, <br>"
