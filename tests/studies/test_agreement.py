from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import scipy.stats

import featdiv

MODELS = [f"m{i:02d}" for i in range(12)]


def mapping(values):
    return dict(zip(MODELS, map(float, values), strict=True))


@pytest.fixture
def data():
    """Scores, and truths of them and noise, of 12 models on 3 data sets, as (models, data sets)."""
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(12, 3))
    return scores, scores + rng.normal(size=(12, 3)), scores + rng.normal(size=(12, 3))


def frame(values):
    return pd.DataFrame(values, index=MODELS, columns=["x", "y", "z"])


def test_one_list_of_models_equals_scipy(data):
    a, b = data[0][:, 0], data[1][:, 0]
    found = featdiv.rank_agreement(mapping(a), mapping(b), draws=0)
    assert found.read("weighted_kendall") == pytest.approx(scipy.stats.weightedtau(a, b).statistic, rel=1e-12)
    assert found.read("kendall") == pytest.approx(scipy.stats.kendalltau(a, b).statistic, rel=1e-12)
    assert found.read("spearman") == pytest.approx(scipy.stats.spearmanr(a, b).statistic, rel=1e-12)
    assert found.read("pearson") == pytest.approx(scipy.stats.pearsonr(a, b).statistic, rel=1e-12)
    assert found.read("regret@1") == pytest.approx(b.max() - b[a.argmax()])
    assert found.intervals == {}


def test_tables_give_the_mean_over_data_sets_whichever_way_they_come(data):
    scores, truth, _ = data
    expected = np.mean([scipy.stats.weightedtau(scores[:, j], truth[:, j]).statistic for j in range(3)])
    frames = featdiv.rank_agreement(frame(scores), frame(truth), draws=50)
    nested = featdiv.rank_agreement(
        {name: mapping(scores[:, j]) for j, name in enumerate("xyz")},
        {name: mapping(truth[:, j]) for j, name in enumerate("xyz")},
        draws=50,
    )
    assert frames.read("weighted_kendall") == pytest.approx(expected, rel=1e-12)
    assert frames.scores == nested.scores
    assert frames.intervals == nested.intervals
    assert [cell["dataset"] for cell in frames.cells] == ["x", "y", "z"]


def test_order_of_models_and_data_sets_changes_nothing(data):
    scores, truth, _ = data
    order = np.random.default_rng(0).permutation(12)
    one = featdiv.rank_agreement(frame(scores), frame(truth), draws=100)
    other = featdiv.rank_agreement(frame(scores).iloc[order, ::-1], frame(truth), draws=100)
    assert one.scores == other.scores
    assert one.intervals == other.intervals


def test_several_truths_and_their_ceiling(data):
    scores, first, second = data
    found = featdiv.rank_agreement(frame(scores), {"probe": frame(first), "tuned": frame(second)}, draws=0)
    assert found.truths == ("probe", "tuned")
    assert found.comparisons == ("probe", "tuned", "probe ~ tuned")
    alone = featdiv.rank_agreement(frame(first), frame(second), draws=0)
    assert found.read("probe ~ tuned: kendall") == alone.read("kendall")
    assert found.read("tuned: kendall") == featdiv.rank_agreement(frame(scores), frame(second), draws=0).read("kendall")


def test_one_list_of_scores_is_compared_with_each_data_set_of_a_table_and_on_average(data):
    scores, truth, _ = data
    taus = [scipy.stats.kendalltau(scores[:, 0], truth[:, j]).statistic for j in range(3)]
    found = featdiv.rank_agreement(mapping(scores[:, 0]), frame(truth), draws=50)
    assert found.comparisons[:4] == ("mean over truths", "x", "y", "z")
    assert [found.read(f"{name}: kendall") for name in "xyz"] == pytest.approx(taus, rel=1e-12)
    assert found.read("mean over truths: kendall") == pytest.approx(np.mean(taus), rel=1e-12)
    # The mean and its interval are those of tables in which each data set has the same scores.
    table = featdiv.rank_agreement(frame(np.repeat(scores[:, :1], 3, axis=1)), frame(truth), draws=50)
    interval, expected = found.intervals["mean over truths: kendall"], table.intervals["kendall"]
    assert (interval.low, interval.high) == (expected.low, expected.high)
    assert (interval.estimand, expected.estimand) == ("models and ground truths", "models and data sets")
    alone = featdiv.rank_agreement(mapping(scores[:, 0]), mapping(truth[:, 1]), draws=50)
    assert found.intervals["y: kendall"] == alone.intervals["kendall"]


@pytest.mark.parametrize(
    ("truths", "pairs", "compared"), [(3, None, 3), (4, None, 0), (4, True, 6), (3, False, 0), (1, True, 0)]
)
def test_pairs_of_many_ground_truths_are_compared_when_asked_for(truths, pairs, compared):
    values = {f"t{j}": mapping(np.roll(np.arange(12.0), j)) for j in range(truths)}
    found = featdiv.rank_agreement(mapping(range(12)), values, draws=0, pairs=pairs)
    assert sum(" ~ " in name for name in found.comparisons) == compared
    with pytest.raises(featdiv.InputError, match="pairs: expected True, False or None; got 'all'"):
        featdiv.rank_agreement(mapping(range(12)), values, draws=0, pairs="all")


def test_print_has_a_line_for_each_comparison_and_data_set(data):
    scores, truth, _ = data
    truth[:, 2] = 1.0
    found = featdiv.rank_agreement(frame(scores), frame(truth), draws=20)
    _, heads, *lines = str(found).splitlines()
    assert heads.split()[:4] == ["weighted_kendall", "95", "%", "interval"]
    assert [line.split()[0] for line in lines] == ["mean", "x", "y", "z"]
    taus = [scipy.stats.weightedtau(scores[:, j], truth[:, j]).statistic for j in range(2)]
    assert [float(line.split()[1]) for line in lines[:3]] == pytest.approx([np.mean(taus), *taus], abs=1e-4)
    assert lines[3].split()[1] == "undefined"
    assert "[" in lines[0]
    several = featdiv.rank_agreement(mapping(scores[:, 0]), frame(truth), draws=20, pairs=False)
    assert [line[:16].strip() for line in str(several).splitlines()[2:]] == ["mean over truths", "x", "y", "z"]


def test_the_interval_covers_the_correlation_of_the_population():
    # Pearson's r of Gaussian pairs is 0.6; 95 % of intervals should hold it, those of small samples a little fewer.
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(40):
        x = rng.normal(size=40)
        y = 0.6 * x + 0.8 * rng.normal(size=40)
        names = [f"m{i:02d}" for i in range(40)]
        found = featdiv.rank_agreement(
            dict(zip(names, x, strict=True)), dict(zip(names, y, strict=True)), draws=150, k=(1,)
        )
        hits += 0.6 in found.intervals["pearson"]
    assert 32 <= hits <= 40


def test_data_sets_widen_the_interval_when_they_disagree():
    # On one data set the score is the truth, on the other its opposite: over data sets, tau is anything from -1 to 1.
    values = np.arange(12.0)
    found = featdiv.rank_agreement(
        {"a": mapping(values), "b": mapping(values)}, {"a": mapping(values), "b": mapping(-values)}
    )
    assert found.read("kendall") == pytest.approx(0.0)
    assert (found.intervals["kendall"].low, found.intervals["kendall"].high) == pytest.approx((-1.0, 1.0))
    assert found.intervals["kendall"].estimand == "models and data sets"


def test_missing_values_are_left_out_and_said(data):
    scores, truth, _ = data
    truth[0, 1] = np.nan
    found = featdiv.rank_agreement(frame(scores), frame(truth), draws=20)
    expected = [
        scipy.stats.kendalltau(scores[keep, j], truth[keep, j]).statistic
        for j, keep in enumerate([slice(None), slice(1, None), slice(None)])
    ]
    assert found.read("kendall") == pytest.approx(np.mean(expected), rel=1e-12)
    assert "values are missing: 1 of 3 comparisons" in found.provenance.notes[0]
    assert "the fewest, 11, on y" in found.provenance.notes[0]


def test_a_constant_score_is_undefined_and_spoils_nothing(data):
    found = featdiv.rank_agreement(mapping(np.ones(12)), mapping(data[1][:, 0]), draws=20)
    with pytest.raises(featdiv.NotEnoughData, match="kendall is undefined: too few models with both values"):
        found.read("kendall")
    assert found.read("top1_hit") == 0.0
    assert found.to_dict()["scores"]["pearson"] is None


def test_table_json_and_plot(data):
    found = featdiv.rank_agreement(frame(data[0]), {"a": frame(data[1]), "b": frame(data[2])}, draws=50)
    assert {line["comparison"] for line in found.table()} == {"a", "b", "a ~ b"}
    json.loads(found.to_json())
    assert found.plot().axes[0].get_xlabel().endswith(", 95 % intervals")
    assert "a ~ b" in found._repr_html_()
    assert repr(found).startswith("RankAgreement(12 models, 3 data sets, a: weighted_kendall=")


@pytest.mark.parametrize(
    ("scores", "truth", "message"),
    [
        ({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 2, "d": 3}, r"only in scores: c; only in ground_truth: d"),
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}, r"scores: expected at least 3 models; got 2"),
        ({"a": 1, "b": 2, "c": "x"}, {"a": 1, "b": 2, "c": 3}, r"scores: expected a number for 'c'; got 'x'"),
        ({"a": 1, "b": 2, "c": float("inf")}, {"a": 1, "b": 2, "c": 3}, r"expected a finite number for 'c'; got inf"),
        ({"a": 1, "b": 2, "c": 3}, 5, r"ground_truth: expected a mapping from models to values, or a mapping"),
        ([1, 2, 3], {"a": 1}, r"scores: expected a mapping from models to values.*; got list"),
        ({"x": {"a": 1, "b": 2, "c": 3}}, {"y": {"a": 1, "b": 2, "c": 3}}, r"data sets.*only in scores: x"),
    ],
)
def test_what_cannot_be_done(scores, truth, message):
    with pytest.raises(featdiv.InputError, match=message):
        featdiv.rank_agreement(scores, truth)


@pytest.mark.parametrize(("argument", "value"), [("k", (0,)), ("k", 1.5), ("draws", -1), ("level", 1.0), ("seed", -1)])
def test_numbers_out_of_range(argument, value):
    with pytest.raises(featdiv.InputError, match=f"rank_agreement: {argument}: expected"):
        featdiv.rank_agreement(mapping(range(12)), mapping(range(12)), **{argument: value})


def test_scores_of_models_are_numbers():
    rng = np.random.default_rng(0)
    scores = {name: featdiv.effective_rank(rng.normal(size=(50, d))) for name, d in (("a", 2), ("b", 5), ("c", 3))}
    found = featdiv.rank_agreement(scores, {"a": 1.0, "b": 3.0, "c": 2.0}, draws=0)
    assert found.read("kendall") == 1.0
    assert str(found).splitlines()[1].split()[0] == "measure"


def test_the_heading_says_the_level_of_the_intervals():
    scores = {"a": 1.0, "b": 2.0, "c": 3.0}
    found = featdiv.rank_agreement(scores, {"a": 1.0, "b": 3.0, "c": 2.0}, draws=20, level=0.8)
    assert "80 % interval" in str(found).splitlines()[1]


def test_one_k_stands_without_brackets():
    scores = {"a": 1.0, "b": 2.0, "c": 3.0}
    found = featdiv.rank_agreement(scores, {"a": 1.0, "b": 3.0, "c": 2.0}, k=2, draws=0)
    assert (found.read("regret@2"), found.measures[-2:]) == (0.0, ("regret@2", "top1_hit"))
