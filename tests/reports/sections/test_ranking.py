"""In what order a ranking stands on the page."""

from __future__ import annotations

import re

import featdiv

MODELS = ["first", "second", "third", "fourth"]


def ranking():
    """Two models of equal accuracy, the one that is named first the less likely to be the best; one without any."""
    return {
        "type": "Ranking",
        "schema": 1,
        "scores": {},
        "provenance": {"function": "featdiv.rank_models", "version": featdiv.__version__},
        "models": MODELS,
        "columns": ["rankme", "knn"],
        "values": [[1.0, 0.8], [2.0, 0.8], [3.0, 0.4], [4.0, None]],
        "criterion": "knn",
        "best": "first",
        "p_best": [0.3, 0.6, 0.1, 0.0],
        "recommendation": "Take first.",
    }


def names(page):
    """Returns the models in the order of the rows of the table, and of the bars of P(best)."""
    table = re.findall(r'<th scope="row"[^>]*>.*?(first|second|third|fourth)', page)
    chart = re.search(r'aria-label="Probability of being the best\. ([^"]*)"', page).group(1)
    return table[:4], [bar.split()[0] for bar in chart.split("; ")]


def test_equals_stand_in_the_order_of_the_ranking():
    assert names(featdiv.report({"ranking": ranking()})) == (MODELS, MODELS)


def test_models_in_any_order_are_shown_the_best_first():
    content = ranking()
    for key in ("models", "values", "p_best"):
        content[key] = [content[key][i] for i in (2, 3, 0, 1)]
    assert names(featdiv.report({"ranking": content})) == (MODELS, MODELS)


def test_the_best_is_called_so_and_the_other_contenders_are_not_told_from_it():
    page = featdiv.report({"ranking": ranking() | {"contenders": ["first", "third"]}})
    heads = re.findall(r'<th scope="row"[^>]*>(.*?)</th>', page)[:4]
    told = [re.sub(r"<[^>]*>", " ", head).split(maxsplit=1)[1:] for head in heads]
    assert [" ".join(words).strip() for words in told] == ["best", "", "cannot be told from the best", ""]
