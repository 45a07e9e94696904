"""`featdiv.report`: from results to one self-contained page."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from featdiv import __version__
from featdiv.errors import InputError
from featdiv.io.writers import replacing
from featdiv.reports import parts
from featdiv.reports.entries import Entry, gather
from featdiv.reports.markup import Markup, join, tag
from featdiv.reports.section import Palette, Section
from featdiv.reports.sections.directions import with_pictures
from featdiv.reports.sections.registry import BUILDERS

TITLE = "Report on representations"
MOST_NAMED = 6

NOT_ONE_MODEL = ("Comparison", "Ranking")
"""Kinds of results that name the models themselves."""


def report(
    results: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    title: str | None = None,
    images: Any = None,
    seconds: Mapping[str, float] | None = None,
) -> str:
    """Renders results as one HTML page that needs nothing else: no network, no files beside it.

    The page shows what the results hold: a ranking, a table of scores that sorts, spectra on common axes, diversity as
    bars with intervals, a heat map of how alike the models are, accuracy against k and C, transferability, the images
    at the ends of leading directions, what was run, every definition with its source, and all warnings. It adapts to
    light and dark, narrow screens and print.

    Args:
        results: a result; several; or a mapping from model names to a result or several. The path of a JSON file that
            ``--json`` or `Result.to_json` wrote, or the dictionary of `Result.to_dict`, stands for a result. Without
            names, a model is called after the source of its rows.
        path: where to write the page, or None. It appears there when it is complete.
        title: heading of the page; None for one that says what the page is about.
        images: ``images[i]`` is the picture of row i, as `featdiv.images` gives it: for directions that were found
            without pictures.
        seconds: model name to the time that its results took, to be shown beside them.

    Returns:
        The page.

    Raises:
        InputError: if something else than results is given, or nothing.
        FormatError: if a file does not hold a result, or one of another version.
        SourceNotFound: if there is no such file.

    Example:
        >>> import featdiv, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> models = {"narrow": rng.normal(size=(500, 16)) * 0.5 ** np.arange(16), "broad": rng.normal(size=(500, 16))}
        >>> page = featdiv.report({name: featdiv.spectrum(x, interval=None) for name, x in models.items()})
        >>> page.startswith("<!DOCTYPE html>")
        True
    """
    if title is not None and not str(title).strip():
        raise InputError(f"featdiv.report: title: expected some text; got {title!r}")
    entries = gather(results, seconds=seconds)
    if images is not None:
        entries = [with_pictures(entry, images) if entry.kind == "Directions" else entry for entry in entries]
    page = render(entries, title=title or _title(entries))
    if path is not None:
        with replacing(path) as file:
            file.write(page.encode("utf-8"))
    return page


def _title(entries: Sequence[Entry]) -> str:
    rankings = [entry for entry in entries if entry.kind == "Ranking"]
    return f"Which of {len(rankings[0].content['models'])} models to take" if len(rankings) == 1 else TITLE


def render(entries: Sequence[Entry], *, title: str) -> str:
    """Returns the page of the entries."""
    palette = Palette(models=_models(entries))
    sections = []
    for builder in BUILDERS:
        section = builder.build([entry for entry in entries if builder.takes(entry)], palette)
        if section is not None:
            sections.append(section)
    script, style = asset("page.js"), asset("page.css")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content=f"featdiv {__version__}"),
        tag("title", title),
        tag("style", style),
    )
    body = tag(
        "body",
        tag("a", "Skip to the results", href="#results", class_="skip"),
        _header(title, entries, palette),
        tag(
            "div",
            _contents(sections),
            tag("main", *_numbered(sections), id="results"),
            class_="columns",
        ),
        tag("footer", parts.paragraph(f"Made by featdiv {__version__}. This page is complete in itself.")),
        tag("div", id="announcement", role="status", aria_live="polite", class_="unseen"),
        tag("script", script),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


@cache
def asset(name: str) -> Markup:
    """Returns the style sheet or the script, which are the same on every page."""
    return Markup(files("featdiv.reports").joinpath(name).read_text(encoding="utf-8"))


def _policy(script: str) -> str:
    """Returns the policy by which a browser loads nothing from outside and runs no script but the page's own."""
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'; base-uri 'none'"
    )


def _models(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Returns the models on the page: first those of rankings and single results, then those of comparisons."""
    names: list[str] = []
    for entry in entries:
        if entry.kind == "Ranking":
            names += entry.content["models"]
    names += [entry.name for entry in entries if entry.kind not in NOT_ONE_MODEL]
    for entry in entries:
        if entry.kind == "Comparison":
            names += [*entry.content["rows"], *entry.content["columns"]]
    return tuple(dict.fromkeys(names))


def _header(title: str, entries: Sequence[Entry], palette: Palette) -> Markup:
    models = palette.models
    rows = sorted({entry.provenance["n"] for entry in entries if entry.provenance.get("n")})
    counted = f"{rows[0]:,} rows" if len(rows) == 1 else f"{rows[0]:,} to {rows[-1]:,} rows" if rows else ""
    facts = [
        f"{len(models)} model{'s' if len(models) > 1 else ''}",
        counted,
        f"{len(entries)} result{'s' if len(entries) > 1 else ''}",
        f"featdiv {__version__}",
    ]
    named = parts.sentence(
        [*models[:MOST_NAMED], *([f"{len(models) - MOST_NAMED} more"] if len(models) > MOST_NAMED else [])]
    )
    return tag(
        "header",
        tag("div", tag("h1", title), tag("button", "Theme", type="button", id="theme", hidden=True), class_="masthead"),
        parts.paragraph(named, class_="subject"),
        parts.paragraph(join(filter(None, facts), " · "), class_="facts-line"),
    )


def _contents(sections: Sequence[Section]) -> Markup:
    links = [tag("li", tag("a", section.title, href=f"#{section.name}")) for section in sections]
    return tag("nav", tag("ol", *links), aria_label="Contents", class_="contents")


def _numbered(sections: Sequence[Section]) -> list[Markup]:
    """Returns the sections, each with the numbers of the figures and tables before it.

    A browser lays a section out when it comes into sight, and so cannot count what stands before it by itself.
    """
    figures = tables = 0
    found = []
    for section in sections:
        name = f"{section.name}-title"
        heading = tag("h2", section.title, id=name, style=f"counter-reset: figure {figures} table {tables}")
        found.append(tag("section", heading, section.body, id=section.name, aria_labelledby=name))
        figures += section.body.count("<figcaption")
        tables += section.body.count("<caption")
    return found
