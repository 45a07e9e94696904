"""Results as a user meets them: printed, formatted, in a notebook."""

from __future__ import annotations

import copy
import html
import pickle

import pytest

from featdiv.results import Interval, Provenance, Result, Score, aligned

MADE = Provenance(function="featdiv.f", version="0", n=10, d=3)
INTERVAL = Interval(low=1.0, high=2.5, standard_error=0.3, method="jackknife", estimand="population", groups=7)


@pytest.fixture
def result():
    return Result(
        scores={"rank": 1.25, "count": 12.0},
        undefined={"slope": "too <few> rows"},
        intervals={"rank": INTERVAL},
        provenance=MADE,
    )


def test_a_score_formats_as_its_number():
    score = Score(name="rank", scores={"rank": 1.25}, provenance=MADE)
    assert (f"{score:.1f}", f"{score:>8.3g}", "%.2f" % score) == ("1.2", "    1.25", "1.25")  # noqa: UP031
    assert f"{score}" == str(score) == repr(score) == "Score(rank=1.25)"
    assert float(copy.deepcopy(score)) == float(pickle.loads(pickle.dumps(score))) == 1.25


def test_a_result_prints_every_score_on_a_line_of_its_own(result):
    assert str(result).splitlines() == [
        "Result of 10 x 3",
        "rank        1.25  [1, 2.5]",
        "count         12",
        "slope  undefined  too <few> rows",
    ]


def test_a_notebook_shows_the_same_cells_escaped(result):
    table = result._repr_html_()
    assert all(html.escape(cell) in table for cell in ("Result of 10 x 3", "1.25", "[1, 2.5]", "too <few> rows"))
    assert "<few>" not in table


def test_lines_have_no_blanks_at_their_ends():
    assert aligned([["a", "long", ""], ["bbb", "1", "x"]], right=[1]) == ["a    long", "bbb     1  x"]
