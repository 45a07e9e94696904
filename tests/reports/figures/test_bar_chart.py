from __future__ import annotations

import pytest

from featdiv.reports.figures.bar_chart import Bar, bar_chart, cut
from featdiv.reports.figures.frame import style


def test_lengths_are_proportional_to_values_and_begin_at_zero(drawn):
    root = drawn(bar_chart([Bar(name=str(value), style=0, value=value) for value in (1.0, 2.0, 4.0)], title="rank"))
    bars = root.of_class("bar")
    widths = [float(bar.get("width")) for bar in bars]
    assert widths == pytest.approx([widths[0], 2 * widths[0], 4 * widths[0]], abs=0.2)
    assert len({bar.get("x") for bar in bars}) == 1


def test_negative_values_go_the_other_way(drawn):
    root = drawn(bar_chart([Bar(name="a", style=0, value=-1.0), Bar(name="b", style=1, value=1.0)], title="t"))
    left, right = root.of_class("bar")
    assert float(left.get("x")) + float(left.get("width")) == pytest.approx(float(right.get("x")), abs=0.2)


def test_whiskers_span_the_interval(drawn):
    root = drawn(bar_chart([Bar(name="a", style=0, value=2.0, low=1.0, high=3.0, reference=2.0)], title="t"))
    (bar,), whisker, (reference,) = root.of_class("bar"), root.of_class("whisker")[0], root.of_class("reference")
    start, end = float(bar.get("x")), float(bar.get("x")) + float(bar.get("width"))
    assert float(whisker.get("x1")) == pytest.approx((start + end) / 2, abs=0.2)
    assert float(whisker.get("x2")) == pytest.approx(end + (end - start) / 2, abs=0.2)
    assert float(reference.get("x1")) == pytest.approx(end, abs=0.2)
    assert root.titles[0] == "a: 2 (1.000 – 3.000)"


def test_an_undefined_value_has_no_bar_but_its_reason(drawn):
    svg = bar_chart(
        [Bar(name="a", style=0, value=None, remark="too few <rows>"), Bar(name="b", style=1, value=1.0)], title="t"
    )
    root = drawn(svg)
    assert len(root.of_class("bar")) == 1
    assert "undefined" in root.texts
    assert root.titles[0] == "a: undefined: too few <rows>"
    assert root.root.get("aria-label") == "t. a undefined; b 1"


def test_nothing_but_undefined_values_is_drawn(drawn):
    assert "undefined" in drawn(bar_chart([Bar(name="a", style=0, value=None)], title="t")).texts


def test_long_names_keep_their_ends():
    assert cut("short") == "short"
    found = cut("vit_base_patch16_clip_224.openai_ft_in1k")
    assert len(found) <= 26
    assert found.startswith("vit_base")
    assert found.endswith("in1k")


def test_every_model_of_a_page_of_twenty_has_a_style_of_its_own():
    assert len({style(index) for index in range(24)}) == 24


def test_values_are_written_as_asked_and_an_axis_has_two_ticks(drawn):
    bars = [Bar(name="a_name_of_twenty-six_letter", style=0, value=0.642), Bar(name="b", style=1, value=0.00025)]
    root = drawn(bar_chart(bars, title="P(best)", number=lambda value: f"{value:.2f}"))
    assert [text for text in root.texts if text in ("0.64", "0.00")] == ["0.64", "0.00"]
    assert [text for text in root.texts if text in ("0.0", "0.5")] == ["0.0", "0.5"]
