from __future__ import annotations

import itertools
import math

import pytest

from featdiv.reports.figures.line_chart import Series, line_chart


@pytest.fixture
def chart(drawn):
    """Draws series and parses the figure."""

    def draw(*series, **arguments):
        return drawn(line_chart(series, x_label="k", y_label="accuracy", title="kNN", **arguments))

    return draw


@pytest.fixture
def points(drawn):
    """Returns the points of a line."""
    return drawn.points


def test_a_power_law_is_straight_on_logarithmic_axes(chart, points):
    index = [1, 10, 100, 1000]
    root = chart(Series(name="a", style=0, x=index, y=[value**-1.5 for value in index]), log_x=True, log_y=True)
    (line,) = root.of_class("line")
    found = points(line)
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.pairwise(found)]
    assert slopes == pytest.approx([slopes[0]] * 3, rel=2e-3)
    assert slopes[0] > 0.0  # down the picture


def test_values_below_the_floor_are_drawn_apart(chart, points):
    series = Series(name="a", style=0, x=[1, 2, 3, 4], y=[1.0, 0.1, 1e-7, 1e-8], floor=1e-6)
    root = chart(series, log_x=True, log_y=True)
    above, below = root.of_class("line")
    assert [len(points(line)) for line in (above, below)] == [2, 3]
    assert "below-floor" in below.get("class")
    (floor,) = root.of_class("floor")
    assert points(above)[-1][1] < float(floor.get("y1")) < points(below)[-1][1]


def test_no_floor_is_drawn_where_everything_lies_above(chart):
    root = chart(Series(name="a", style=0, x=[1, 2], y=[1.0, 0.5], floor=1e-6), log_y=True)
    assert not root.of_class("floor")


def test_a_band_surrounds_its_line(chart, points):
    root = chart(Series(name="a", style=0, x=[1, 2], y=[0.5, 0.6], low=[0.4, 0.5], high=[0.6, 0.7]))
    (band,), (line,) = root.of_class("band"), root.of_class("line")
    for (x, y), (upper_x, upper_y), (lower_x, lower_y) in zip(
        points(line), points(band)[:2], points(band)[:1:-1], strict=True
    ):
        assert x == upper_x == lower_x
        assert upper_y < y < lower_y


def test_what_the_axes_cannot_show_is_left_out(chart, points):
    series = Series(name="a", style=0, x=[0, 1, 2, 3, 4], y=[1.0, math.nan, 0.0, 0.5, 0.25])
    (line,) = chart(series, log_x=True, log_y=True).of_class("line")
    assert len(points(line)) == 2


def test_nothing_to_draw_says_so(chart):
    assert chart(Series(name="a", style=0, x=[], y=[])).texts == ["nothing to draw"]


def test_points_carry_their_numbers(chart):
    root = chart(Series(name="a", style=0, x=[1, 5], y=[0.5, 0.75]))
    titles = [circle.find("title").text for circle in root.all("circle")]
    assert titles == ["a: 0.5000 at 1", "a: 0.7500 at 5"]
    assert not chart(Series(name="a", style=0, x=[1, 5], y=[0.5, 0.75]), marked=False).all("circle")


def test_a_screen_reader_hears_the_names_and_labels_are_escaped(drawn):
    name = "<script>alert('x')</script> & co"
    svg = line_chart([Series(name=name, style=0, x=[1, 2], y=[1, 2])], x_label="<k>", y_label="y", title="t")
    assert "<script" not in svg
    root = drawn(svg)
    assert root.root.get("role") == "img"
    assert root.root.get("aria-label") == f"t. Lines of {name}"
    assert "<k>" in root.texts
