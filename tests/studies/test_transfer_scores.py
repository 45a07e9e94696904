from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.stats

import featdiv


def as_table(accuracies, models="abcdefgh"):
    return {f"set{j}": dict(zip(models, column, strict=False)) for j, column in enumerate(accuracies.T.tolist())}


@pytest.fixture
def accuracies():
    """5 models on 7 data sets that are hard and easy by turns."""
    rng = np.random.default_rng(0)
    logits = np.linspace(-0.4, 0.4, 5)[:, None] + rng.normal(scale=2.0, size=7) + rng.normal(scale=0.2, size=(5, 7))
    return 1 / (1 + np.exp(-logits))


def test_scores_are_means_of_logits_the_best_first(accuracies):
    found = featdiv.transfer_scores(as_table(accuracies))
    expected = dict(zip("abcde", scipy.special.logit(accuracies).mean(axis=1), strict=True))
    assert dict(found.scores) == pytest.approx(expected)
    assert list(found.scores.values()) == sorted(found.scores.values(), reverse=True)
    for j, name in enumerate("abcde"):
        one = {f"set{k}": value for k, value in enumerate(accuracies[j])}
        assert found.scores[name] == pytest.approx(float(featdiv.log_odds(one)))


def test_error_bars_are_those_of_cousineau_and_morey_in_a_loop(accuracies):
    found = featdiv.transfer_scores(as_table(accuracies))
    logits = scipy.special.logit(accuracies)
    for i, name in enumerate("abcde"):
        adjusted = [logits[i, j] - logits[:, j].mean() + logits.mean() for j in range(7)]
        error = np.sqrt(np.var(adjusted, ddof=1) * 5 / 4 / 7)
        interval = found.intervals[name]
        assert interval.standard_error == pytest.approx(error)
        assert interval.high - interval.low == pytest.approx(2 * scipy.stats.t.ppf(0.975, 6) * error)


def test_bars_of_two_models_add_up_to_the_error_of_their_difference(accuracies):
    # With two conditions the corrected bars are those of the paired test: e_a^2 + e_b^2 = e_(a - b)^2.
    found = featdiv.transfer_scores(as_table(accuracies[:2]))
    squared = sum(interval.standard_error**2 for interval in found.intervals.values())
    assert squared == pytest.approx(found.difference("a", "b").interval.standard_error ** 2)


def test_the_difficulty_of_data_sets_moves_no_error_bar(accuracies):
    logits = scipy.special.logit(accuracies)
    harder = featdiv.transfer_scores(as_table(logits + np.arange(7) * 3.0), scale="raw")
    same = featdiv.transfer_scores(as_table(logits), scale="raw")
    for name in "abcde":
        error = same.intervals[name].standard_error
        assert harder.intervals[name].standard_error == pytest.approx(error)
        assert error < logits.std(axis=1, ddof=1).min() / np.sqrt(7) / 2


def test_a_difference_is_the_paired_t_test_of_scipy(accuracies):
    found = featdiv.transfer_scores(as_table(accuracies), level=0.9).difference("d", "b")
    logits = scipy.special.logit(accuracies)
    expected = scipy.stats.ttest_rel(logits[3], logits[1])
    low, high = expected.confidence_interval(0.9)
    assert float(found) == pytest.approx((logits[3] - logits[1]).mean())
    assert found.details["p_value"] == pytest.approx(expected.pvalue)
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))


@pytest.mark.parametrize(("gap", "p"), [(0.0, 1.0), (0.5, 0.0)])
def test_a_difference_without_spread_is_certain(gap, p):
    table = np.array([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]]) + np.array([[gap], [0.0]])
    found = featdiv.transfer_scores(as_table(table), scale="raw").difference("a", "b")
    assert (float(found), found.details["p_value"]) == (gap, p)


def test_averages_printed_by_ericsson(papers):
    rows = papers("ericsson_table1_linear.csv")
    datasets = [name for name in rows[0] if name not in ("model", "imagenet_top1_reported", "avg_reported")]
    table = {name: {row["model"]: float(row[name]) for row in rows} for name in datasets}
    raw = featdiv.transfer_scores(table, scale="raw")
    assert dict(raw.scores) == pytest.approx({row["model"]: float(row["avg_reported"]) for row in rows}, abs=0.01)
    found = featdiv.transfer_scores(table, scale="percent")
    assert next(iter(found.scores)) == "DeepCluster-v2"
    assert found.difference("DeepCluster-v2", "Supervised").details["p_value"] < 0.01


def test_print_json_and_picture(accuracies):
    found = featdiv.transfer_scores(as_table(accuracies))
    title, heads, first, *_ = str(found).splitlines()
    assert title == "Transfer scores of 5 models on 7 data sets"
    assert heads.split() == ["model", "score", "error", "95", "%", "interval"]
    assert first.split()[0] == next(iter(found.scores))
    assert json.loads(found.to_json())["datasets"] == [f"set{j}" for j in range(7)]
    axes = found.plot().axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == list(found.scores)
    assert axes.get_xlabel() == "mean log odds over 7 data sets, 95 % intervals"


@pytest.mark.parametrize(
    ("table", "arguments", "error", "message"),
    [
        ({"a": 0.5, "b": 0.6}, {}, featdiv.InputError, "featdiv.log_odds averages one model"),
        ({"s": {"a": 0.5, "b": 0.6}}, {}, featdiv.NotEnoughData, "at least 2 models and 2 data sets; got 2 and 1"),
        ({"s": {"a": 0.5, "b": 0.6}, "t": {"a": 0.5}}, {}, featdiv.NotEnoughData, "'b' lacks 't'"),
        ({"s": {"a": 50, "b": 60}, "t": {"a": 50, "b": 4}}, {}, featdiv.InputError, "give scale 'percent'"),
        ({"s": {"a": 1, "b": 0.6}, "t": {"a": 0.5, "b": 0.4}}, {}, featdiv.InputError, "give test_images="),
        ({"s": {"a": 1, "b": 2}, "t": {"a": 3, "b": 4}}, {"level": 95}, featdiv.InputError, "level: expected a number"),
    ],
)
def test_what_cannot_be_done(table, arguments, error, message):
    with pytest.raises(error, match=message):
        featdiv.transfer_scores(table, **arguments)


def test_a_difference_of_an_unknown_model_lists_those_there_are(accuracies):
    with pytest.raises(featdiv.InputError, match="no model 'z'; there are"):
        featdiv.transfer_scores(as_table(accuracies)).difference("a", "z")
