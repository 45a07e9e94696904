"""Lines of the probes of a ranking: one for each model, with bands as long as they can be told apart."""

from __future__ import annotations

import re

import pytest

import featdiv


def page_of(models, probes=("linear", "knn")):
    curves = {
        probe: {name: [[1.0, 0.5, 0.4, 0.6], [10.0, 0.7, 0.6, 0.8]] for name in models} for probe in ("knn", "linear")
    }
    content = {
        "type": "Ranking",
        "schema": 1,
        "scores": {},
        "provenance": {"version": featdiv.__version__},
        "models": models,
        "columns": list(probes),
        "values": [[0.7, 0.7] for _ in models],
        "recommendation": "Take any.",
        "curves": {probe: curves[probe] for probe in probes},
    }
    return featdiv.report({"ranking": content})


def test_each_probe_has_a_figure_with_a_line_for_each_model():
    page = page_of(["a", "b<c>"])
    section = page.partition('<section id="probes"')[2].partition("</section>")[0]
    assert section.count('class="line"') == 4 + 2  # two in each figure, and the samples of the legend
    assert section.count('class="band"') == 4
    assert "<title>b&lt;c&gt;: 0.7 at 10</title>" in section.replace("0.7000", "0.7")
    assert section.index("Linear probe, fold by fold") < section.index("k-nearest-neighbour probe, fold by fold")


def test_a_probe_that_was_not_asked_for_has_none():
    page = page_of(["a", "b"], probes=("knn",))
    assert "k-nearest-neighbour probe, fold by fold" in page
    assert "Linear probe, fold by fold" not in page


def test_bands_of_many_models_are_left_out_and_not_spoken_of():
    page = page_of([f"model {place}" for place in range(7)])
    assert 'class="band"' not in page
    assert "Bands are" not in page


@pytest.mark.parametrize("what", ["figure", "table"])
def test_numbers_go_on_from_section_to_section(page, what):
    element = {"figure": "<figcaption", "table": "<caption"}[what]
    for head in re.finditer(r'<h2 id="[a-z-]+" style="counter-reset: figure (\d+) table (\d+)">', page):
        before = page[: head.start()].count(element)
        assert int(head[1 if what == "figure" else 2]) == before
    assert before > 1
