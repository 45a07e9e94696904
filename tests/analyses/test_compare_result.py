"""`Comparison`: reading, exporting, drawing; and its intervals."""

from __future__ import annotations

import json

import numpy as np
import pytest

import featdiv
from featdiv import InputError


def related(n, seed, noise=1.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 8)) * np.arange(1.0, 9.0) ** -0.7
    return x, x @ np.linspace(-1.0, 1.0, 40).reshape(8, 5) + noise * rng.normal(size=(n, 5))


@pytest.fixture
def comparison():
    x, y = related(2000, 0)
    return featdiv.compare({"a": x, "b": y, "c": np.random.default_rng(9).normal(size=(2000, 3))})


def test_reading_by_name(comparison):
    assert comparison.read("a ~ b") == comparison["a", "b"] == comparison["b", "a"]
    assert comparison.to_scalars("cka/")["cka/a ~ c"] == comparison["a", "c"]
    with pytest.raises(InputError, match="no row is named 'z'; there are a, b, c"):
        _ = comparison["z", "a"]
    with pytest.raises(InputError, match=r"Comparison\.value: expected one pair; this comparison has 3"):
        _ = comparison.value
    with pytest.raises(ValueError, match="read-only"):
        comparison.values[0, 1] = 0.0


def test_exports(comparison):
    content = json.loads(comparison.to_json())
    assert content["type"] == "Comparison"
    assert content["rows"] == content["columns"] == ["a", "b", "c"]
    assert content["values"] == comparison.values.tolist()
    assert content["biased"][0][1] == comparison.biased[0, 1]
    assert content["low"][0][1] == comparison.intervals["a ~ b"].low
    assert content["provenance"]["arguments"]["metric"] == "cka"
    assert "Song" in comparison.cite()
    assert "<td>b</td>" in comparison._repr_html_()
    assert repr(comparison) == "Comparison(cka (debiased), 3 x 3 models, 2000 rows)"
    assert [(line["row"], line["column"]) for line in comparison.table()] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert comparison.table()[0]["biased"] == comparison.biased[0, 1]


def test_the_matrix_is_a_data_frame(comparison):
    pytest.importorskip("pandas")
    assert comparison.to_pandas().loc["a", "b"] == comparison["a", "b"]


def test_names_are_escaped_in_html():
    x, y = related(50, 0)
    assert "<b>" not in featdiv.compare({"<b>": x, "c": y})._repr_html_()


def test_a_two_way_comparison_names_its_direction():
    x, y = related(200, 0)
    found = featdiv.compare({"a": x, "b": y}, metric="linear_predictivity")
    assert set(found.scores) == {"a -> b", "b -> a"}
    assert found["a", "b"] == found.scores["a -> b"] != found["b", "a"]
    with pytest.raises(InputError, match="expected a square comparison by a symmetric metric"):
        found.linkage()


def test_plots(comparison):
    figure = comparison.plot()
    assert [text.get_text() for text in figure.axes[0].texts[:3]] == ["1.00", f"{comparison['a', 'b']:.2f}", "0.00"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "b", "c"]
    tree = comparison.dendrogram().axes[0]
    assert {label.get_text() for label in tree.get_yticklabels()} == {"a", "b", "c"}
    rectangle = featdiv.compare({"a": related(50, 0)[0]}, {"b": related(50, 0)[1]}, metric="procrustes")
    assert rectangle.plot(figure.axes[0]) is figure
    with pytest.raises(InputError, match="expected a square comparison"):
        rectangle.dendrogram()


def test_the_tree_joins_the_nearest_first():
    x, y = related(400, 0, noise=0.1)
    for metric in ("cka", "procrustes"):
        found = featdiv.compare({"far": np.random.default_rng(3).normal(size=(400, 4)), "x": x, "y": y}, metric=metric)
        first = found.linkage()[0]
        assert set(first[:2]) == {1.0, 2.0}
        apart = found["x", "y"] if metric == "procrustes" else 1.0 - found["x", "y"]
        assert first[2] == pytest.approx(apart)


def test_intervals_are_those_of_the_jackknife_on_rows():
    """Leaving out every slab dealt to a part, on the rows, with the formula of the jackknife written out."""
    from scipy.stats import t

    x, y = related(2048, 1)
    found = featdiv.compare(x, y)
    interval = found.intervals["x ~ other"]
    assert (interval.groups, interval.estimand) == (8, "population")
    part = np.arange(2048) // 256
    left_out = np.array([float(featdiv.cka(x[part != g], y[part != g])) for g in range(8)])
    pseudo = 8 * found.value - 7 * left_out
    error = pseudo.std(ddof=1) / np.sqrt(8)
    assert interval.standard_error == pytest.approx(error, rel=1e-6)
    assert interval.low == pytest.approx(pseudo.mean() - t.ppf(0.975, 7) * error, abs=1e-9)
    assert found.low[1, 0] == found.low[0, 1] == interval.low
    assert np.isnan(found.low[0, 0])
    assert found.interval("other", "x") is interval


def test_groups_rescue_repeated_rows():
    """Every row occurs 32 times: without groups the interval is far too narrow."""
    x, y = (np.repeat(side, 32, axis=0) for side in related(128, 2, noise=3.0))
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], y[order]
    groups = np.repeat(np.arange(128), 32)[order]
    naive = featdiv.compare(x, y).intervals["x ~ other"].standard_error
    honest = featdiv.compare(x, y, groups=groups).intervals["x ~ other"].standard_error
    assert honest > 3.0 * naive


def test_no_interval_where_none_was_asked_for_or_rows_are_few():
    x, y = related(2000, 0)
    assert not featdiv.compare(x, y, interval=None).intervals
    few = featdiv.compare(x[:500], y[:500])
    assert not few.intervals
    assert few.low is None
    assert any("needs at least 5 slabs of 256 rows; got 500" in note for note in few.provenance.notes)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.5, None])
def test_intervals_cover_the_population(noise):
    """200 draws of 1,536 rows; the population value is the biased CKA of population covariances."""
    mixing = np.linspace(-1.0, 1.0, 40).reshape(8, 5)
    spectrum = np.diag(np.arange(1.0, 9.0) ** -1.4)
    cross = spectrum @ mixing if noise is not None else np.zeros((8, 5))
    own = mixing.T @ spectrum @ mixing + (noise or 1.0) ** 2 * np.eye(5)
    truth = (cross**2).sum() / np.sqrt((spectrum**2).sum() * (own**2).sum())
    covered = 0
    for draw in range(200):
        x, y = related(1536, draw, noise=1.0 if noise is None else noise)
        if noise is None:
            y = related(1536, 1000 + draw)[1]
        covered += truth in featdiv.compare(x, y).intervals["x ~ other"]
    assert 0.90 <= covered / 200 <= 0.99
