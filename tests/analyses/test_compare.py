"""`featdiv.compare`: what it is given, the matrix it returns, and how it plans."""

from __future__ import annotations

import json

import numpy as np
import pytest

import featdiv
from featdiv import BudgetExceeded, CrossMoments, InputError, NotEnoughData
from featdiv.analyses.comparison import plan
from featdiv.analyses.comparison.models import layout
from featdiv.metrics import catalogue
from featdiv.metrics.similarity.measures import measure
from featdiv.stats.cross_moments_read import CHUNK_BYTES

SIMILARITIES = catalogue.names("similarity")
SAME_FEATURES = ("subspace_overlap",)


def models(n=400, seed=0, d=(6, 4, 5)):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d[0]))
    related = x[:, :3] @ rng.normal(size=(3, d[1])) + rng.normal(size=(n, d[1]))
    return {"first": x + 2.0, "second": related, "noise": rng.normal(size=(n, d[2])) - 1.0}


@pytest.mark.parametrize("metric", SIMILARITIES)
def test_every_entry_is_the_score_of_the_pair(metric):
    given = models(d=(6, 6, 6)) if metric in SAME_FEATURES else models()
    extra = {"k": 3} if metric in ("subspace_overlap", "mutual_knn") else {}
    comparison = featdiv.compare(given, metric=metric, **extra)
    function = getattr(featdiv, metric)
    for row in given:
        for column in given:
            if row == column:
                continue
            expected = float(function(given[row], given[column], **extra))
            assert comparison[row, column] == pytest.approx(expected, abs=1e-10), (row, column)
    assert comparison.symmetric == (metric not in ("pwcca", "linear_predictivity"))
    assert len(comparison.scores) == (3 if comparison.symmetric else 6)
    diagonal = 0.0 if metric == "procrustes" else 1.0
    assert comparison.values.diagonal() == pytest.approx(diagonal, abs=1e-6)


@pytest.mark.parametrize(
    ("metric", "definition"),
    [(name, one) for name in SIMILARITIES for one in catalogue.definitions(name) if one != "default"],
)
def test_every_definition_is_that_of_the_metric(metric, definition):
    given = models()
    comparison = featdiv.compare(given["first"], given["second"], metric=metric, definition=definition)
    expected = getattr(featdiv, metric)(given["first"], given["second"], definition=definition)
    assert comparison.value == pytest.approx(float(expected), abs=1e-10)
    assert comparison.provenance.definition == definition


def test_two_representations_give_a_matrix_too():
    given = models()
    comparison = featdiv.compare(given["first"], given["second"])
    assert (comparison.rows, comparison.columns) == (("x", "other"), ("x", "other"))
    assert comparison.values.shape == (2, 2)
    assert comparison["x", "other"] == comparison["other", "x"] == comparison.value
    assert comparison["x", "x"] == 1.0
    assert repr(comparison).startswith("Comparison(cka (debiased): x ~ other = 0.")


def test_biased_stands_beside_debiased():
    rng = np.random.default_rng(0)
    comparison = featdiv.compare(rng.normal(size=(256, 2048)), rng.normal(size=(256, 2048)))
    assert abs(comparison.value) < 0.03
    assert comparison.biased[0, 1] == comparison.biased[1, 0] == pytest.approx(0.889, abs=0.005)
    assert comparison.biased_noise[0, 1] == pytest.approx(0.8889, abs=1e-4)
    assert ", biased 0.8" in repr(comparison)
    assert featdiv.compare(models(), metric="cca").biased is None


def test_two_mappings_make_a_rectangle_layer_by_layer():
    given = models()
    left = {"stem": given["first"], "head": given["second"]}
    right = {"stem": given["noise"], "mid": given["first"], "head": given["second"]}
    comparison = featdiv.compare(left, right)
    assert comparison.rows == ("stem", "head")
    assert comparison.columns == ("stem", "mid", "head")
    assert comparison.values.shape == (2, 3)
    # The same name on both sides is another layer.
    assert comparison["stem", "stem"] == pytest.approx(float(featdiv.cka(given["first"], given["noise"])), abs=1e-10)
    assert comparison["stem", "mid"] == pytest.approx(1.0)
    assert comparison["stem", "head"] == pytest.approx(comparison["head", "mid"], abs=1e-10)
    column = featdiv.compare(left, given["noise"])
    assert column.columns == ("other",)
    assert column["stem", "other"] == pytest.approx(comparison["stem", "stem"], abs=1e-12)
    assert featdiv.compare(given["noise"], left).rows == ("x",)


def test_cross_moments_made_elsewhere():
    given = models()
    statistic = CrossMoments.of(given, precision="float64")
    comparison = featdiv.compare(statistic)
    assert comparison.values == pytest.approx(featdiv.compare(given).values, abs=1e-12)
    assert comparison.provenance.passes == 0
    for arguments, message in [
        ({"other": given["first"]}, "other: expected None with CrossMoments"),
        ({"metric": "rsa"}, "rsa needs the rows; x is CrossMoments"),
        ({"metric": "linear_predictivity"}, "linear_predictivity needs the rows"),
        ({"interval": "jackknife"}, "'jackknife' needs rows"),
        ({"normalize": "l2"}, "normalize: expected None with CrossMoments of rows as they are"),
        ({"ids": np.arange(400)}, "ids and groups go with rows"),
    ]:
        with pytest.raises(InputError, match=message):
            featdiv.compare(statistic, **arguments)


def test_ids_given_or_carried_match_rows():
    given = models()
    order = np.random.default_rng(1).permutation(400)
    ids = np.array([f"r{i}" for i in range(400)])
    expected = featdiv.compare(given["first"], given["second"]).value
    shuffled = given["second"][order]
    by_ids = featdiv.compare(given["first"], shuffled, ids=ids, other_ids=ids[order])
    assert by_ids.value == pytest.approx(expected, abs=1e-10)
    assert by_ids.provenance.arguments["aligned_by"] == "ids"
    named = featdiv.compare({"a": given["first"], "b": featdiv.open(shuffled, ids=ids[order])}, ids={"a": ids})
    assert named["a", "b"] == pytest.approx(expected, abs=1e-10)
    half = featdiv.compare(given["first"], shuffled, ids=ids)
    assert half.provenance.notes[-1] == "rows were matched by position: x carry ids, the others do not"
    assert half.value != pytest.approx(expected, abs=1e-2)


def test_ids_for_models_that_are_not_there():
    given = models()
    with pytest.raises(InputError, match="ids: no model is named 'third'; there are first, second, noise"):
        featdiv.compare(given, ids={"third": np.arange(400)})
    with pytest.raises(InputError, match="other_ids: expected None without other"):
        featdiv.compare(given, other_ids=np.arange(400))


@pytest.mark.parametrize(
    ("x", "other", "message"),
    [
        (np.eye(9), None, "other: expected a second representation of the rows of x, or x to be a mapping"),
        ({"a": np.eye(9)}, None, "x: expected at least two models to compare; got 1"),
        ({}, None, "x: expected at least one model; got an empty mapping"),
        ({1: np.eye(9), 2: np.eye(9)}, None, "names of models that are text; got 1"),
        (np.eye(9), np.eye(8), "other: expected 9 rows, as x has; got 8"),
        ({"a": np.eye(9), "b": np.eye(8)}, None, "b: expected 9 rows, as a has; got 8"),
        (np.eye(9), np.ones(9), "2-D"),
    ],
)
def test_models_that_cannot_be_compared(x, other, message):
    with pytest.raises(InputError, match=message):
        featdiv.compare(x, other)


def test_arguments_that_no_one_knows():
    given = models()
    for arguments, message in [
        ({"metric": "cosine"}, "metric: expected one of 'cka', 'cca', .*; got 'cosine'"),
        ({"definition": "mine"}, "definition: expected one of 'debiased', 'biased', 'rbf'; got 'mine'"),
        ({"metric": "cca", "k": 3}, "k: cca has no such argument; beside the common ones it has none"),
        ({"metric": "mutual_knn", "q": 3}, "q: mutual_knn has no such argument; beside the common ones it has k"),
        ({"interval": "bootstrap"}, "interval: expected one of 'auto', 'jackknife', None"),
        ({"precision": "half"}, "precision: expected one of"),
        ({"metric": "rsa", "nonfinite": "drop"}, "nonfinite: 'drop' is for measures of moments"),
        ({"metric": "rsa", "precision": "float32"}, "device and precision are for measures of moments"),
        ({"metric": "rsa", "interval": "jackknife"}, "'jackknife' cannot be had for rsa: pairs of rows"),
        ({"metric": "svcca", "interval": "jackknife"}, "'jackknife' cannot be had here: the number of components"),
        ({"metric": "pwcca", "interval": "jackknife"}, "'jackknife' cannot be had here: its weights jump"),
        ({"metric": "subspace_overlap", "interval": "jackknife"}, "cannot be had here: directions of nearly equal"),
        ({"metric": "linear_predictivity", "interval": "jackknife"}, "'jackknife' cannot be had here: folds share"),
        ({"interval": "jackknife"}, "'jackknife' cannot be had here: a jackknife needs at least 5 slabs of 256 rows"),
    ]:
        with pytest.raises(InputError, match=rf"featdiv\.compare: .*{message}"):
            featdiv.compare(given, **arguments)


def test_fewer_than_four_rows_are_an_error():
    with pytest.raises(NotEnoughData, match=r"featdiv\.compare: debiased CKA needs at least 4 rows; got 3"):
        featdiv.compare(np.eye(3), np.eye(3))


def test_an_undefined_pair_does_not_spoil_the_others():
    given = models() | {"dead": np.ones((400, 3))}
    for metric in ("cka", "mutual_knn", "rsa"):
        if metric == "mutual_knn":
            continue
        comparison = featdiv.compare(given, metric=metric)
        assert comparison["first", "second"] > 0.1
        assert set(comparison.undefined) == {f"{name} ~ dead" for name in ("first", "second", "noise")}
        assert np.isnan(comparison.values[3]).all()
        with pytest.raises(NotEnoughData, match=rf"Comparison: {metric} of dead and first is undefined: "):
            _ = comparison["dead", "first"]
        content = json.loads(comparison.to_json())
        assert content["values"][0][3] is None
        assert content["scores"]["first ~ dead"] is None
        with pytest.raises(NotEnoughData, match="some values are undefined, so that there is no tree"):
            comparison.linkage()


def test_rows_that_are_not_finite():
    given = models()
    given["second"] = given["second"].copy()
    given["second"][[5, 9], 1] = np.nan
    with pytest.raises(
        featdiv.NonFiniteError, match=r"featdiv\.compare: second: expected finite rows; got 2 NaN"
    ) as caught:
        featdiv.compare(given)
    assert caught.value.first_row == 5
    dropped = featdiv.compare(given, nonfinite="drop")
    kept = np.setdiff1d(np.arange(400), [5, 9])
    expected = featdiv.compare({name: rows[kept] for name, rows in given.items()})
    assert dropped.values == pytest.approx(expected.values, abs=1e-10)
    assert dropped.provenance.notes[0] == "2 rows with NaN or infinity in some model were left out of all"
    assert dropped.provenance.n == 398


def test_more_passes_give_the_same_matrix():
    rng = np.random.default_rng(0)
    given = {f"m{i}": rng.normal(size=(300, 40 + i)) for i in range(5)}
    whole = featdiv.compare(given, interval=None)
    # Room for two models at a time: 6 joint matrices of about 86 features.
    small = featdiv.compare(given, memory=3 * CHUNK_BYTES + 8 * 6 * 90**2, interval=None)
    assert small.provenance.passes == 10
    assert "read 10 times, some of the models each time" in small.provenance.notes[0]
    assert small.values == pytest.approx(whole.values, abs=1e-12)
    assert small.biased == pytest.approx(whole.biased, abs=1e-12)
    middling = featdiv.compare(given, memory=3 * CHUNK_BYTES + 8 * 6 * 180**2, interval=None)
    assert 1 < middling.provenance.passes < 10
    assert middling.values == pytest.approx(whole.values, abs=1e-12)


def make_plan(sizes, memory, *, metric="cka", one_pass=False, interval=None, n=100_000):
    found, _ = layout(dict.fromkeys(sizes), None)
    return plan.make(
        measure(metric, None, function="f"),
        found,
        sizes,
        n=n,
        groups=None,
        one_pass=one_pass,
        interval=interval,
        memory=memory,
    )


def test_the_plan_puts_every_pair_into_some_pass():
    rng = np.random.default_rng(0)
    for _ in range(20):
        sizes = {f"m{i}": int(d) for i, d in enumerate(rng.integers(10, 300, size=7))}
        two = sorted(sizes.values())[-2:]
        chosen = make_plan(sizes, 3 * CHUNK_BYTES + 48 * (sum(two) + int(rng.integers(0, 300))) ** 2)
        together = {(a, b) for names in chosen.passes for a in names for b in names}
        assert together == {(a, b) for a in sizes for b in sizes}


def test_what_no_plan_can_hold():
    sizes = {"small": 100, "large": 2000, "larger": 3000}
    with pytest.raises(BudgetExceeded, match=r"memory: larger and large have 5000 features together|large and larger"):
        make_plan(sizes, 500_000_000)
    with pytest.raises(BudgetExceeded, match="some source can be read only once"):
        make_plan({"a": 1000, "b": 1000, "c": 1000}, 3 * CHUNK_BYTES + 48 * 2100**2, one_pass=True)


def test_intervals_give_way_to_the_budget_and_say_so():
    sizes = {"a": 1000, "b": 1000}
    chosen = make_plan(sizes, 3 * CHUNK_BYTES + 48 * 2100**2, interval="auto", n=1_000_000)
    assert chosen.parts == 1
    assert "parts of 64 MB each do not fit the memory budget" in chosen.no_interval
    roomy = make_plan(sizes, 3 * CHUNK_BYTES + 48 * 2100**2 * 10, interval="auto", n=1_000_000)
    assert roomy.parts >= 5
    assert not roomy.no_interval


def test_intervals_are_not_made_where_they_would_cost_much_of_the_pass():
    few = make_plan({"a": 2000, "b": 2000}, 10**12, interval="auto", n=20_000)
    assert "more than a fifth of the pass; ask with interval='jackknife'" in few.no_interval
    assert make_plan({"a": 2000, "b": 2000}, 10**12, interval="jackknife", n=20_000).parts == 20
    assert make_plan({"a": 2000, "b": 2000}, 10**12, interval="auto", n=1_000_000).parts == 20


def test_progress_counts_the_rows():
    seen = []
    featdiv.compare(models(), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (400, 400)
