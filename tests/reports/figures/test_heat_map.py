from __future__ import annotations

from featdiv.reports.figures.heat_map import heat_map


def test_colour_is_the_share_of_the_range_and_cells_have_numbers(drawn):
    root = drawn(heat_map([[0.0, 0.5], [None, 1.0]], ["a", "b"], ["c", "d"], title="cka", low=0.0, high=1.0))
    cells = root.of_class("cell")
    assert [cell.get("style") for cell in cells] == ["--share:0.0%", "--share:50.0%", None, "--share:100.0%"]
    assert root.texts == ["c", "d", "a", "0.00", "0.50", "b", "–", "1.00"]
    assert root.titles == ["a, c: 0", "a, d: 0.5000", "b, c: undefined", "b, d: 1"]


def test_numbers_on_strong_cells_change_colour(drawn):
    root = drawn(heat_map([[0.1, 0.9]], ["a"], ["c", "d"], title="cka", low=0.0, high=1.0))
    weak, strong = root.of_class("cell-number")
    assert "strong" not in weak.get("class").split()
    assert "strong" in strong.get("class").split()


def test_large_matrices_have_no_numbers(drawn):
    names = [f"m{i}" for i in range(30)]
    root = drawn(heat_map([[0.5] * 30] * 30, names, names, title="cka", low=0.0, high=1.0))
    assert not root.of_class("cell-number")
    assert len(root.of_class("cell")) == 900


def test_names_are_escaped(drawn):
    svg = heat_map([[1.0]], ["<b>"], ["a & b"], title="t", low=0.0, high=1.0)
    assert "<b>" not in svg
    assert drawn(svg).texts[:2] == ["a & b", "<b>"]
