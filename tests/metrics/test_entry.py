from __future__ import annotations

import dataclasses

import pytest

from featdiv import InputError
from featdiv.metrics import Bounds, Definition, Metric, Source
from featdiv.metrics.entry import TRANSFORMATIONS

SOURCE = Source(authors="Doe & Roe", year=1999, title="On things", venue="Journal", where="equation 4")


def make(**changes):
    fields = {
        "name": "thing",
        "summary": "A thing.",
        "family": "spectral",
        "function": "math.sqrt",
        "core": "math.cbrt",
        "needs": "moments",
        "definitions": (
            Definition(name="default", formula="x", source=SOURCE),
            Definition(
                name="other",
                formula="y",
                source=Source(authors="Poe", year=2001, title="Other", venue="Press"),
            ),
        ),
        "bounds": {"thing": Bounds(text="any")},
        "direction": "neither",
        "unit": "1",
        "invariances": TRANSFORMATIONS[:3],
        "contrasts": TRANSFORMATIONS[3:],
    }
    return Metric(**{**fields, **changes})


def test_a_transformation_in_neither_list_is_refused():
    with pytest.raises(InputError, match=r"'thing': invariances and contrasts: .*row scaling are not"):
        make(contrasts=TRANSFORMATIONS[3:-1])


def test_a_transformation_in_both_lists_is_refused():
    with pytest.raises(InputError, match="some are in both are not"):
        make(contrasts=TRANSFORMATIONS[2:])


def test_an_unknown_need_is_refused():
    with pytest.raises(InputError, match=r"needs: expected one of .*got 'wishes'"):
        make(needs="wishes")


def test_scores_may_be_read_differently_and_have_sources_of_their_own():
    metric = make(
        bounds={"up": Bounds(text="any"), "down": Bounds(text="any")},
        directions={"down": "lower is more"},
        score_sources={"down": dataclasses.replace(SOURCE, year=2005)},
    )
    assert (metric.direction_of("up"), metric.direction_of("down")) == ("neither", "lower is more")
    assert (metric.source_of("up").year, metric.source_of("down").year) == (1999, 2005)
    with pytest.raises(InputError, match="directions and score_sources: expected scores that have bounds; got across"):
        make(directions={"across": "higher"})


def test_an_entry_without_a_formula_is_refused():
    with pytest.raises(InputError, match="definitions: expected at least one"):
        make(definitions=())


def test_dotted_names_are_imported_on_use():
    metric = make()
    assert metric.load()(9.0) == 3.0
    assert metric.load_core()(27.0) == pytest.approx(3.0)


def test_references_follow_the_definition():
    extra = Source(authors="Coe", year=2003, title="More", venue="Press")
    metric = make(sources=(extra, SOURCE))
    assert [source.authors for source in metric.references()] == ["Doe & Roe", "Coe"]
    assert [source.authors for source in metric.references("other")] == ["Poe", "Coe", "Doe & Roe"]
    assert [source.authors for source in metric.references("unheard of")] == ["Doe & Roe", "Coe"]


def test_sources_print_short_and_full():
    assert SOURCE.short == "Doe & Roe 1999, equation 4"
    assert SOURCE.full == "Doe & Roe (1999). On things. Journal."


def test_no_jackknife_gives_the_fixed_reason_first_and_the_check_otherwise():
    assert make(jackknife="a count").no_jackknife(None) == "a count"
    assert make().no_jackknife(None) is None
    assert make(jackknife_check="builtins.repr").no_jackknife(5) == "5"
