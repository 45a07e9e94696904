"""What is on the page, and that it is HTML without faults that needs nothing from outside."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re

import numpy as np
import pytest

import featdiv
from featdiv.reports.markup import VOID
from featdiv.reports.sections.directions import PICTURES_BUDGET

NEVER_INSIDE = {"p": {"p", "div", "ul", "table", "figure", "section", "h2", "h3"}, "button": {"button", "a"}}
"""Element to elements that may not stand inside it."""


class Checker(html.parser.HTMLParser):
    """Collects the elements of a page, and every fault of its form."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.faults, self.elements, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        if len(set(names)) != len(names):
            self.faults.append(f"an attribute twice in {tag}")
        for outer in self.open:
            if tag in NEVER_INSIDE.get(outer, ()):
                self.faults.append(f"{tag} inside {outer}")
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes something else, at {self.getpos()}")

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data)

    def of(self, tag, **wanted):
        return [
            attributes
            for name, attributes in self.elements
            if name == tag and all(attributes.get(key) == value for key, value in wanted.items())
        ]


def read(page):
    checker = Checker()
    checker.feed(page)
    checker.close()
    return checker


@pytest.fixture(scope="session")
def parsed(page):
    return read(page)


def test_the_page_is_well_formed(parsed):
    assert not parsed.faults
    assert not parsed.open
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [link["href"].removeprefix("#") for link in parsed.of("a")]
    assert targets
    assert set(targets) <= set(ids)


def test_the_checker_sees_faults():
    assert read("<p><b>x</p></b>").faults
    assert read("<p><div></div></p>").faults == ["div inside p"]
    assert read("<div>").open == ["div"]


def test_nothing_is_loaded_from_outside(page, parsed):
    for tag, attributes in parsed.elements:
        for name in ("src", "href", "srcset", "data", "action", "xlink:href"):
            if name in attributes:
                assert attributes[name].startswith(("data:image/", "#")), (tag, attributes)
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", page)
    (policy,) = [meta["content"] for meta in parsed.of("meta") if meta.get("http-equiv")]
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_what_one_can_only_press_is_not_printed(page, parsed):
    printed = page.partition("@media print {")[2].partition("</style>")[0]
    (hidden,) = re.findall(r"\n  ([^{}]*#theme[^{}]*) \{ display: none; \}", printed)
    assert set(hidden.split(", ")) == {".contents", "#theme", ".skip", "summary", ".arrow"}
    assert parsed.of("button", id="theme")
    assert parsed.of("nav", **{"class": "contents"})
    assert parsed.of("summary")
    # Headings lose the button and keep its text; the buttons of legends are the keys of the lines.
    assert "th button { display: contents; }" in printed
    assert {button.get("id") or button["type"] for button in parsed.of("button")} <= {"theme", "button"}
    wide = [cell for cell in parsed.of("th") + parsed.of("td") if "wide" in (cell.get("class") or "").split()]
    assert {cell.get("scope") for cell in wide} == {"col", None}


def test_what_comes_from_data_is_text(page, parsed, models):
    attack = next(name for name in models if name.startswith("<script>"))
    assert page.count("<script>") == 1
    assert attack not in page
    assert attack in "".join(parsed.text)
    assert "<title>A &lt;report&gt; &amp; more</title>" in page


def test_every_section_is_there_and_in_the_contents(parsed):
    sections = [attributes["id"] for attributes in parsed.of("section") if "id" in attributes]
    assert sections == [
        "ranking",
        "scores",
        "remarks",
        "spectra",
        "diversity",
        "similarity",
        "probes",
        "directions",
        "runs",
        "definitions",
    ]
    assert [link["href"] for link in parsed.of("a")[1:]] == [f"#{name}" for name in sections]


def test_tables_and_pictures_say_what_they_are(page, parsed):
    assert page.count("<caption>") == len(parsed.of("table"))
    assert all(head.get("scope") in ("col", "row") for head in parsed.of("th"))
    drawings = [svg for svg in parsed.of("svg") if svg.get("aria-hidden") != "true"]
    assert drawings
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in drawings)
    pictures = parsed.of("img")
    assert len(pictures) == 3 * 2 * 2 * 3  # models, directions, ends, rows
    assert all(picture["alt"] for picture in pictures)


def test_numbers_on_the_page_are_those_of_the_results(parsed, models):
    numbers = [float(cell["data-sort"]) for cell in parsed.of("td") if "data-sort" in cell]
    for rows in models.values():
        variances = np.linalg.eigvalsh(np.cov(rows.T))
        assert any(value == pytest.approx(variances.sum() ** 2 / (variances**2).sum(), rel=1e-6) for value in numbers)


def test_the_ranking_says_what_it_was_given(parsed):
    text = "".join(parsed.text)
    for expected in ("Take narrow.", "no weights <here>", "How long it took: 1 min 1 s in 1 steps", "0.80"):
        assert expected in text


def test_sources_and_remarks(parsed):
    text = "".join(parsed.text)
    assert "Roy & Vetterli (2007)" in text
    assert "5 folds" in text


def test_files_give_the_page_that_results_give(models, tmp_path):
    results = {name: featdiv.spectrum(rows, interval=None) for name, rows in models.items()}
    paths = {}
    for place, (name, result) in enumerate(results.items()):
        paths[name] = tmp_path / f"{place}.json"
        paths[name].write_text(result.to_json())
    assert featdiv.report(paths) == featdiv.report(results)


def test_the_page_is_written_whole(models, tmp_path):
    page = featdiv.report(featdiv.spectrum(models["broad"], interval=None), tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_result_of_an_unknown_kind_is_shown_as_a_table():
    novel = {"type": "Novel", "schema": 1, "scores": {"my_score": 1.25}, "provenance": {"version": "0.1.0"}}
    text = "".join(read(featdiv.report({"resnet18": novel})).text)
    assert "Novel of resnet18." in text
    assert "my score" in text
    assert "1.250" in text


def test_times_are_shown(models):
    page = featdiv.report({"broad": featdiv.spectrum(models["broad"], interval=None)}, seconds={"broad": 75.0})
    assert "1 min 15 s" in page


def test_a_picture_that_is_none_is_refused(models, pictures):
    content = featdiv.directions(models["broad"], pictures, k=1, extremes=1).to_dict()
    row = next(iter(content["thumbnails"]))
    content["thumbnails"][row] = "javascript:alert(1)"
    with pytest.raises(featdiv.FormatError, match="thumbnails: expected a PNG, JPEG or WebP as a data URI"):
        featdiv.report({"broad": content})


def test_directions_get_their_pictures_late(models, pictures):
    found = featdiv.directions(models["broad"], k=1, extremes=2)
    assert not read(featdiv.report({"broad": found})).of("img")
    assert len(read(featdiv.report({"broad": found}, images=pictures)).of("img")) == 4


def test_twenty_models_stay_under_five_megabytes(results):
    _, one, *_ = results
    (name,) = one
    spectrum, probe, directions = (json.loads(result.to_json()) for result in one[name])
    picture = "data:image/jpeg;base64," + "A" * 4000
    k, m = 5, 8
    rows = [[100 * i + j for j in range(m)] for i in range(k)]
    directions |= {"low": rows, "high": rows, "low_values": rows, "high_values": rows, "shares": [0.1] * k}
    directions["thumbnails"] = {str(row): picture for line in rows for row in line}
    size = 2048
    spectrum["eigenvalues"] = [1.0 / (i + 1) for i in range(size)]
    spectrum["singular_values"] = [(1.0 / (i + 1)) ** 0.5 for i in range(size)]
    names = [f"model_{i}" for i in range(20)]
    matrix = [[1.0 if i == j else 0.5 for j in range(20)] for i in range(20)]
    comparison = {
        "type": "Comparison",
        "schema": 1,
        "scores": {},
        "provenance": {"version": "0.1.0"},
        "metric": "cka",
        "rows": names,
        "columns": names,
        "values": matrix,
    }
    page = featdiv.report([*({name: [spectrum, probe, directions]} for name in names), comparison])
    assert len(page.encode()) < 5_000_000
    assert sum(len(image["src"]) for image in read(page).of("img")) <= PICTURES_BUDGET


@pytest.mark.parametrize(
    ("results", "error", "message"),
    [
        ([], featdiv.InputError, "results: expected at least one result; got none"),
        (3, featdiv.InputError, "results: expected results, their dictionaries or JSON files; got int"),
        ([3], featdiv.InputError, "results: expected a result, its dictionary or a file; got int"),
        ({"a": 3}, featdiv.InputError, r"results\['a'\]: expected results"),
        ({"a": {"type": "Spectrum"}}, featdiv.FormatError, "expected schema 1; got None"),
        ("none.json", featdiv.SourceNotFound, "none.json: there is no such file"),
    ],
)
def test_what_is_no_result(results, error, message):
    with pytest.raises(error, match=message):
        featdiv.report(results)


def test_a_title_is_needed(models):
    with pytest.raises(featdiv.InputError, match="title: expected some text"):
        featdiv.report(featdiv.spectrum(models["broad"], interval=None), title=" ")
