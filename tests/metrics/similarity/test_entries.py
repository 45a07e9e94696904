"""The laws of the similarity entries: bounds, what changing one side does, merging, and what the entries say."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from scipy.stats import ortho_group

import featdiv
from featdiv import CrossMoments
from featdiv.metrics import catalogue
from featdiv.metrics.entry import TRANSFORMATIONS

METRICS = [catalogue.get(name) for name in catalogue.names("similarity")]
PAIRS = [(metric, change) for metric in METRICS for change in TRANSFORMATIONS]
OF_MOMENTS = [metric for metric in METRICS if metric.needs == "cross moments"]
DEFINITIONS = [(metric, definition.name) for metric in METRICS for definition in metric.definitions]
SMALL = {"subspace_overlap": {"k": 3}}
"""Arguments for sides of few features."""


def by_name(value):
    return value.name if hasattr(value, "name") else str(value)


def call(metric, x, other, **arguments):
    return metric.load()(x, other, **SMALL.get(metric.name, {}), **arguments)


def sides(metric, n=240, seed=0):
    """Two related sides; of the same features, where the metric wants that."""
    rng = np.random.default_rng(seed)
    d = 12 if metric.name == "subspace_overlap" else 9
    x = rng.normal(size=(n, 12)) * np.linspace(3.0, 0.3, 12) @ np.linalg.qr(rng.normal(size=(12, 12)))[0]
    # Each side has one weak direction, which SVCCA leaves out.
    x[:, 0] += 0.7 * x[:, 1]
    y = x @ rng.normal(size=(12, d)) * np.geomspace(3.0, 0.2, d) + 4.0 * rng.normal(size=(n, d))
    return x + 2.0 * rng.normal(size=12), y + 2.0 * rng.normal(size=d)


def changed(x, other, change):
    """Applies one of `TRANSFORMATIONS` to x alone, except that the rows of both are reordered together."""
    rng = np.random.default_rng(5)
    n, d = x.shape
    match change:
        case "row permutation":
            order = rng.permutation(n)
            return x[order], other[order]
        case "feature permutation":
            return x[:, rng.permutation(d)], other
        case "rotation":
            return x @ ortho_group.rvs(d, random_state=rng), other
        case "translation":
            return x + 3.0 * rng.normal(size=d), other
        case "isotropic scaling":
            return 7.5 * x, other
        case "feature scaling":
            return x * np.exp(2.0 * rng.normal(size=d)), other
        case "row scaling":
            return x * np.exp(1.5 * rng.normal(size=(n, 1))), other
    raise AssertionError(change)


@pytest.mark.parametrize(("metric", "change"), PAIRS, ids=by_name)
def test_changing_x_leaves_the_value_or_changes_it_as_declared(metric, change):
    x, other = sides(metric)
    before, after = float(call(metric, x, other)), float(call(metric, *changed(x, other, change)))
    if change in metric.invariances:
        assert after == pytest.approx(before, abs=1e-7)
    else:
        assert abs(after - before) > 1e-4


@pytest.mark.parametrize(("metric", "change"), PAIRS, ids=by_name)
def test_changing_the_other_side_does_as_declared_too(metric, change):
    x, other = sides(metric)
    # The weights of PWCCA are those of x: of the other side, any basis will do.
    invariant = change in metric.invariances or (metric.name == "pwcca" and change in ("rotation", "feature scaling"))
    # A regression onto other axes weighs the same errors otherwise, and is as good where they are turned.
    before = float(call(metric, x, other))
    after = float(call(metric, *changed(other, x, change)[::-1]))
    if invariant:
        assert after == pytest.approx(before, abs=1e-7)
    else:
        assert abs(after - before) > 1e-4


@pytest.mark.parametrize("metric", METRICS, ids=by_name)
def test_bounds_hold_on_many_shapes(metric):
    rng = np.random.default_rng(0)
    y = rng.normal(size=(200, 20))
    cases = {
        "isotropic": rng.normal(size=(200, 20)),
        "near rank one": np.outer(rng.normal(size=200), rng.normal(size=20)) + 1e-2 * rng.normal(size=(200, 20)),
        "heavy tails": rng.standard_t(2, size=(200, 20)),
        "large mean": 100.0 + rng.normal(size=(200, 20)),
        "nearly the other": y + 1e-6 * rng.normal(size=(200, 20)),
        "the other": y,
        "against the other": -y,
    }
    for case, x in cases.items():
        for name in (definition.name for definition in metric.definitions):
            score = call(metric, x, y, **({"definition": name} if name != "default" else {}))
            bounds = metric.bounds[metric.name]
            upper = 2.0 if name == "squared" else bounds.upper(200, 20)
            assert bounds.lower is None or score.value >= bounds.lower(200, 20), (case, name)
            assert score.value <= upper, (case, name)


@pytest.mark.parametrize("metric", METRICS, ids=by_name)
def test_a_side_is_as_like_itself_as_can_be(metric):
    x = sides(metric)[0]
    value = float(call(metric, x, x.copy()))
    expected = 0.0 if metric.direction.startswith("lower") else 1.0
    assert value == pytest.approx(expected, abs=1e-6)
    unrelated = np.random.default_rng(9).normal(size=x.shape)
    assert abs(float(call(metric, x, unrelated)) - expected) > 0.3


@pytest.mark.parametrize("metric", OF_MOMENTS, ids=by_name)
def test_merged_shards_give_the_value_of_the_whole(metric):
    x, other = sides(metric)
    parts = [CrossMoments.of({"a": x[s], "b": other[s]}, precision="float64") for s in (slice(77), slice(77, 240))]
    merged = metric.load()(parts[0] + parts[1], **SMALL.get(metric.name, {}))
    assert float(merged) == pytest.approx(float(call(metric, x, other)), abs=1e-10)


@pytest.mark.parametrize(("metric", "name"), DEFINITIONS, ids=by_name)
def test_every_definition_runs_and_is_recorded(metric, name):
    arguments = {"definition": name} if name != "default" else {}
    score = call(metric, *sides(metric), **arguments)
    assert score.provenance.definition == (None if name == "default" else name)
    assert score.provenance.function == f"featdiv.{metric.name}"
    assert (score.provenance.n, score.provenance.d) == (240, 12)
    assert score.provenance.arguments["aligned_by"] == "position"
    assert score.cite().splitlines()[-1].startswith("featdiv:")
    assert len(score.cite().splitlines()) > 1


@pytest.mark.parametrize("metric", [m for m in METRICS if len(m.definitions) > 1], ids=by_name)
def test_definitions_are_different_numbers(metric):
    x, other = sides(metric)
    values = {float(call(metric, x, other, definition=one.name)) for one in metric.definitions}
    assert len(values) == len(metric.definitions)


@pytest.mark.parametrize("metric", METRICS, ids=by_name)
def test_entries_name_functions_and_arguments_that_exist(metric):
    function = metric.load()
    assert function is getattr(featdiv, metric.name)
    assert callable(metric.load_core())
    arguments = inspect.signature(function).parameters
    assert set(metric.parameters) <= set(arguments)
    assert "Source:" in function.__doc__
    assert "Example:" in function.__doc__
    assert metric.summary.endswith(".")
    assert len(metric.summary) <= 120
    if len(metric.definitions) > 1:
        assert arguments["definition"].default == metric.definitions[0].name


@pytest.mark.parametrize("metric", METRICS, ids=by_name)
def test_rows_with_nan_are_refused_with_side_and_place(metric):
    x, other = sides(metric)
    bad = other.copy()
    bad[17, 3] = np.nan
    with pytest.raises(featdiv.NonFiniteError, match=rf"{metric.name}: other: expected finite rows") as caught:
        call(metric, x, bad)
    assert (caught.value.count, caught.value.first_row) == (1, 17)


@pytest.mark.parametrize("metric", METRICS, ids=by_name)
def test_numbers_of_rows_that_differ_are_refused(metric):
    x, other = sides(metric)
    with pytest.raises(featdiv.InputError, match=rf"{metric.name}: other: expected 240 rows, as x has; got 239"):
        call(metric, x, other[1:])
