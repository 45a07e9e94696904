"""Results as a user meets them: printed, formatted, in a notebook."""

from __future__ import annotations

import copy
import dataclasses
import html
import pickle

import pytest

from featdiv.results import Interval, Provenance, Result, Score, aligned, as_latex, outside

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
        "score      value  95 % interval",
        "rank        1.25  [1, 2.5]",
        "count         12",
        "slope  undefined  too <few> rows",
    ]
    assert str(dataclasses.replace(result, intervals={})).splitlines()[1] == "rank        1.25"


def test_the_title_of_a_score_is_the_function_that_gave_it():
    score = Score(
        name="p_value", scores={"p_value": 0.5}, provenance=dataclasses.replace(MADE, function="featdiv.test")
    )
    assert "<caption>test of 10 x 3</caption>" in score._repr_html_()
    assert score.to_latex().startswith("% test of 10 x 3\n")


CORRECTED = dataclasses.replace(INTERVAL, method="jackknife, bias-corrected")


def test_a_score_outside_its_own_interval_is_explained_under_the_table(result):
    line = "rank lies outside its interval, which is for the population, corrected for the bias of a finite sample"
    moved = dataclasses.replace(result, intervals={"rank": CORRECTED}, scores={"rank": 2.6, "count": 12.0})
    assert str(moved).splitlines()[-1] == line
    assert moved._repr_html_().endswith(f"</table><p>{line}</p>")
    assert line not in str(dataclasses.replace(result, intervals={"rank": CORRECTED}))
    # Only the correction of a bias explains it.
    assert line not in str(dataclasses.replace(moved, intervals={"rank": INTERVAL}))
    both = {"rank": CORRECTED, "count": CORRECTED}
    assert outside(moved.scores, both).startswith("rank, count lie outside their intervals, which are for")
    score = Score(name="rank", scores={"rank": 0.9}, intervals={"rank": CORRECTED}, provenance=MADE)
    assert repr(score) == "Score(rank=0.9, [1, 2.5] bias-corrected)"
    assert repr(dataclasses.replace(score, scores={"rank": 1.1})) == "Score(rank=1.1, [1, 2.5])"


def test_a_notebook_shows_the_same_cells_escaped(result):
    table = result._repr_html_()
    assert all(html.escape(cell) in table for cell in ("Result of 10 x 3", "1.25", "[1, 2.5]", "too <few> rows"))
    assert "<few>" not in table


def test_a_result_can_be_pasted_as_markdown(result):
    result = dataclasses.replace(result, undefined={"a|b": "too few"})
    assert result.to_markdown().splitlines() == [
        "| score | value | 95 % interval |",
        "| --- | --- | --- |",
        "| rank | 1.25 | [1, 2.5] |",
        "| count | 12 |  |",
        r"| a\|b | undefined | too few |",
    ]


def test_a_result_can_be_pasted_as_latex(result):
    assert result.to_latex().splitlines() == [
        "% Result of 10 x 3",
        r"\begin{tabular}{lrl}",
        r"score & value & 95 \% interval \\ \hline",
        r"rank & $1.25$ & $[1, 2.5]$ \\",
        r"count & $12$ &  \\",
        r"slope & undefined & too <few> rows \\",
        r"\end{tabular}",
    ]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("95 % interval", r"95 \% interval"),
        ("k=5 exp", "k=5 exp"),
        ("resnet50.a1_in1k", r"resnet50.a1\_in1k"),
        ("1e-05", r"$1\times10^{-5}$"),
        ("[-2e+06, 3.5]", r"$[-2\times10^{6}, 3.5]$"),
        ("1.2 … 3.4", r"$1.2 \ldots 3.4$"),
        ("a^b~{c}\\", r"a\textasciicircum{}b\textasciitilde{}\{c\}\textbackslash{}"),
        ("", ""),
        ("-", "-"),
        ("ViT", "ViT"),
    ],
)
def test_cells_for_latex(cell, expected):
    assert as_latex(cell) == expected


def test_lines_have_no_blanks_at_their_ends():
    assert aligned([["a", "long", ""], ["bbb", "1", "x"]], right=[1]) == ["a    long", "bbb     1  x"]
