from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.stats

import featdiv

NAMES = [f"m{i:02d}" for i in range(30)]


def mapping(values):
    return dict(zip(NAMES, (None if value is None else float(value) for value in values), strict=False))


@pytest.fixture
def planted():
    """30 models: y = 1 + 2 x + 3 D + little noise, x and D correlated."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=30)
    d = 0.5 * x + rng.normal(size=30)
    return x, d, 1.0 + 2.0 * x + 3.0 * d + 0.1 * rng.normal(size=30)


PRINTED = "Correlation to ImageNet"


def column(rows, name):
    return {row["model"]: float(row[name]) for row in rows if row["model"] != PRINTED}


def test_diffusion_and_many_shot_transfer_of_ericsson(papers):
    analysis, accuracy = papers("ericsson_table9_analysis.csv"), papers("ericsson_table1_linear.csv")
    datasets = [name for name in accuracy[0] if name not in ("model", "imagenet_top1_reported", "avg_reported")]
    assert len(datasets) == 11
    found = featdiv.correlate(
        column(analysis, "attentive_diffusion_pct"),
        {name: column(accuracy, name) for name in datasets},
        x_scale="percent",
        y_scale="percent",
        draws=500,
    )
    assert found.read("pearson") == pytest.approx(0.38, abs=0.01)
    assert 0.38 in found.intervals["pearson"]


def test_equal_to_scipy():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=30), rng.normal(size=30)
    found = featdiv.correlate(mapping(x), mapping(y), draws=0, permutations=0)
    assert found.read("pearson") == pytest.approx(scipy.stats.pearsonr(x, y).statistic, rel=1e-12)
    assert found.read("spearman") == pytest.approx(scipy.stats.spearmanr(x, y).statistic, rel=1e-12)
    assert found.read("kendall") == pytest.approx(scipy.stats.kendalltau(x, y).statistic, rel=1e-12)
    assert found.read("weighted_kendall") == pytest.approx(scipy.stats.weightedtau(x, y).statistic, rel=1e-12)
    expected = scipy.stats.linregress(x, y)
    assert found.line == pytest.approx((expected.intercept, expected.slope), rel=1e-12)


def test_centring_each_data_set_leaves_r_alone():
    # Logits less the mean over models, data set by data set, shift every model's mean by the same.
    rng = np.random.default_rng(1)
    x, table = rng.normal(size=10), rng.normal(loc=[0.0, 3.0, -2.0, 7.0], size=(10, 4))
    results = [
        featdiv.correlate(mapping(x), {str(j): mapping(values[:, j]) for j in range(4)}, draws=0, permutations=0)
        for values in (table, table - table.mean(axis=0))
    ]
    assert results[0].read("pearson") == pytest.approx(results[1].read("pearson"), rel=1e-10)


def test_tables_are_averaged_as_logits():
    y = {"a": mapping([0.5, 0.6, 0.8, 0.9]), "b": mapping([0.99, 0.4, 0.7, 0.2])}
    found = featdiv.correlate(mapping([1, 2, 3, 4]), y, y_scale="fraction", draws=0, permutations=0)
    assert found.y[0] == pytest.approx((0.0 + np.log(99)) / 2)
    assert found.labels == ("x", "mean logit(y)")


def test_tables_of_both_are_averaged_over_data_sets_of_their_own():
    x = {"five shots": mapping([0.5, 0.6, 0.8, 0.9]), "twenty": mapping([0.6, 0.7, 0.7, 0.99])}
    y = {"pets": mapping([0.5, 0.6, 0.8, 0.9])}
    found = featdiv.correlate(x, y, x_scale="fraction", y_scale="fraction", draws=0, permutations=0)
    assert found.x[1] == pytest.approx((np.log(0.6 / 0.4) + np.log(0.7 / 0.3)) / 2)
    assert found.labels == ("mean logit(x)", "mean logit(y)")


def test_points_hold_what_the_line_leaves(planted):
    x, d, y = planted
    found = featdiv.correlate(mapping(x), mapping(y), diversity=mapping(d), draws=0, permutations=0)
    fit = scipy.stats.linregress(x, y)
    points = found.points()
    assert [point["model"] for point in points] == NAMES
    np.testing.assert_allclose([point["residual"] for point in points], y - fit.intercept - fit.slope * x, atol=1e-12)
    np.testing.assert_array_equal([point["diversity"] for point in points], d)
    assert featdiv.correlate(mapping(x), mapping(y), draws=0, permutations=0).points()[0]["diversity"] is None


def test_print_names_both_sides_and_has_p_values(planted):
    x, _, y = planted
    found = featdiv.correlate(mapping(x), mapping(y), draws=50, permutations=99, level=0.9, labels=("top-1", "pets"))
    title, heads, first, *_ = str(found).splitlines()
    assert title == "pets against top-1, 30 models"
    assert heads.split() == ["score", "value", "90", "%", "interval", "p"]
    assert first.split()[-1] == f"{found.p_values['pearson']:.2g}"


def test_joint_regression_is_least_squares(planted):
    x, d, y = planted
    found = featdiv.correlate(mapping(x), mapping(y), diversity=mapping(d), draws=300, permutations=200)
    design = np.stack([np.ones(30), x, d], axis=1)
    solution, (rest,), _, _ = np.linalg.lstsq(design, y)
    names = ("intercept", "slope_x", "slope_diversity")
    np.testing.assert_allclose([found.read(name) for name in names], solution, rtol=1e-9)
    assert found.read("r2") == pytest.approx(1 - rest / ((y - y.mean()) ** 2).sum(), rel=1e-9)
    assert found.read("r2_gain") == pytest.approx(found.read("r2") - np.corrcoef(x, y)[0, 1] ** 2, rel=1e-9)
    assert 3.0 in found.intervals["slope_diversity"]
    assert found.p_values["r2_gain"] == pytest.approx(1 / 201)


def test_partial_correlation_is_that_of_the_residuals(planted):
    x, d, y = planted
    found = featdiv.correlate(mapping(x), mapping(y), diversity=mapping(d), draws=0, permutations=0)

    def rest(a, b):
        return a - np.polyval(np.polyfit(b, a, 1), b)

    assert found.read("partial_x") == pytest.approx(np.corrcoef(rest(x, d), rest(y, d))[0, 1], rel=1e-9)
    assert found.read("partial_diversity") == pytest.approx(np.corrcoef(rest(d, x), rest(y, x))[0, 1], rel=1e-9)


def test_p_value_of_r_over_all_permutations():
    # Five models: 120 permutations of y, enumerated.
    from itertools import permutations

    x, y = np.array([1.0, 2.0, 4.0, 7.0, 9.0]), np.array([2.0, 1.0, 5.0, 4.0, 9.0])
    r = np.corrcoef(x, y)[0, 1]
    exact = np.mean([abs(np.corrcoef(x, p)[0, 1]) >= r - 1e-12 for p in permutations(y)])
    found = featdiv.correlate(mapping(x), mapping(y), draws=0, permutations=20_000)
    assert found.p_values["pearson"] == pytest.approx(exact, abs=0.008)


def test_p_value_of_what_diversity_adds_is_that_of_the_f_statistic_over_all_permutations():
    # Six models: 720 permutations of the residuals. The R² gained itself would give 0.36, and reject too often.
    from itertools import permutations

    x, d = np.array([-1.9, -3.0, 1.2, 1.6, 1.3, -0.4]), np.array([-0.1, -0.3, 1.4, 0.9, 0.1, 0.7])
    y = np.array([-3.3, -5.9, 2.0, 3.2, 2.4, -1.4])
    fitted = np.polyval(np.polyfit(x, y, 1), x)

    def f(values):
        without, within = np.stack([np.ones(6), x], axis=1), np.stack([np.ones(6), x, d], axis=1)
        (rest,), (less,) = np.linalg.lstsq(without, values)[1], np.linalg.lstsq(within, values)[1]
        return (rest - less) / less

    exact = np.mean([f(fitted + np.array(rest)) >= f(y) * (1 - 1e-9) for rest in permutations(y - fitted)])
    found = featdiv.correlate(mapping(x), mapping(y), diversity=mapping(d), draws=0, permutations=10_000)
    assert found.p_values["r2_gain"] == pytest.approx(exact, abs=0.02)


def test_useless_diversity_has_no_small_p_value():
    rng = np.random.default_rng(7)
    small = 0
    for _ in range(60):
        x, d = rng.normal(size=(2, 20))
        y = x + rng.normal(size=20)
        found = featdiv.correlate(mapping(x), mapping(y), diversity=mapping(d), draws=0, permutations=99)
        small += found.p_values["r2_gain"] <= 0.1
    assert small <= 15  # binomial(60, 0.1): 15 or more has probability 0.001


def test_incomplete_models_are_left_out_and_named():
    y = {**mapping(range(6)), "m02": None}
    found = featdiv.correlate(mapping([1, 2, 9, 4, 3, 6]), y, draws=0, permutations=0)
    assert found.dropped == ("m02",)
    assert len(found.models) == 5
    assert found.provenance.notes == ("left out, because a value is missing: m02",)


def test_undefined_scores_spoil_nothing(planted):
    x, _, y = planted
    found = featdiv.correlate(mapping(x), mapping(y), diversity=mapping(2 * x + 1), draws=20, permutations=20)
    with pytest.raises(featdiv.NotEnoughData, match="one is a line of the other"):
        found.read("r2_gain")
    assert found.read("pearson") > 0.3
    with pytest.raises(featdiv.NotEnoughData, match="the same for every model"):
        featdiv.correlate(mapping(x), mapping(np.ones(30)), draws=20, permutations=20).read("pearson")


def test_same_seed_same_numbers_in_any_order(planted):
    x, _, y = planted
    one = featdiv.correlate(mapping(x), mapping(y), draws=100, permutations=100)
    other = featdiv.correlate(dict(reversed(mapping(x).items())), mapping(y), draws=100, permutations=100)
    assert (one.intervals, one.p_values) == (other.intervals, other.p_values)
    assert one.intervals != featdiv.correlate(mapping(x), mapping(y), draws=100, permutations=100, seed=1).intervals


def test_band_json_and_plot(planted):
    x, d, y = planted
    found = featdiv.correlate(mapping(x), mapping(y), diversity=mapping(d), draws=200, permutations=50)
    low, high = found.band([x.mean(), x.max()])
    intercept, slope = found.line
    line = intercept + slope * np.array([x.mean(), x.max()])
    assert ((low < line) & (line < high)).all()
    assert high[1] - low[1] > high[0] - low[0]
    json.loads(found.to_json())
    assert found.plot().axes[0].get_title().startswith("r = ")
    assert [line["score"] for line in found.table()][:2] == ["pearson", "spearman"]


def test_an_x_without_a_logit_is_not_told_of_the_images_of_y():
    with pytest.raises(featdiv.InputError, match=r"x: the logit of 0 or 1 is infinite; leave such a model out"):
        featdiv.correlate(mapping([0.1, 0.2, 0.3, 1.0]), mapping(range(4)), x_scale="fraction", test_images=50)


@pytest.mark.parametrize(
    ("y", "arguments", "error", "message"),
    [
        (mapping(range(5)), {}, featdiv.InputError, "only in x: m05"),
        ({**mapping(range(6)), "new": 1}, {}, featdiv.InputError, "only in y: new"),
        (mapping(range(6)), {"y_scale": "fraction"}, featdiv.InputError, r"y: expected values in \[0, 1\]"),
        (mapping([0, 0.1, 0.2, 0.3, 0.4, 0.5]), {"y_scale": "fraction"}, featdiv.InputError, "give test_images="),
        (mapping(range(6)), {"x_scale": "log"}, featdiv.InputError, "x: expected a scale among"),
        (mapping([1, 2, 3, None, None, None]), {}, featdiv.NotEnoughData, "at least 4 models with every value; got 3"),
        (mapping(range(6)), {"draws": -1}, featdiv.InputError, "draws: expected a whole number of at least 0"),
        (mapping(range(6)), {"permutations": 2.5}, featdiv.InputError, "permutations: expected a whole number"),
        (mapping(range(6)), {"level": 95}, featdiv.InputError, "level: expected a number between 0 and 1"),
        (
            mapping(range(6)),
            {"diversity": {"a": mapping(range(6))}},
            featdiv.InputError,
            "diversity: expected a mapping",
        ),
    ],
)
def test_what_cannot_be_done(y, arguments, error, message):
    with pytest.raises(error, match=message):
        featdiv.correlate(mapping(range(6)), y, **arguments)
