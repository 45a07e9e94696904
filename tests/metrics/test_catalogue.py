"""The laws that every entry must keep; a new entry is covered as soon as it is in the catalogue."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ortho_group

import featdiv
from featdiv import InputError, Moments, NotEnoughData, Result
from featdiv.metrics import catalogue
from featdiv.metrics.entry import TRANSFORMATIONS

HERE = Path(__file__).parent

COMPARISONS = catalogue.names("similarity")
"""They take two sides of the same rows: `tests/metrics/similarity/test_entries.py` holds them to their laws."""

OF_PROBABILITIES = ("leep", "nce")
"""They take no features: `tests/metrics/transferability/test_leep.py` holds them to their laws."""

METRICS = [catalogue.get(name) for name in catalogue.names() if name not in (*COMPARISONS, *OF_PROBABILITIES)]
PAIRS = [(metric, change) for metric in METRICS for change in TRANSFORMATIONS]
SPECTRAL = [catalogue.get(name) for name in catalogue.names("spectral")]
ROWS_ONLY = ("rows", "aligned rows", "labelled rows", "weights")
"""What a core may need that is no statistic: nothing merges."""

LABELLED = ("labelled", "transferability")
OF_STATISTICS = [metric for metric in METRICS if metric.needs not in ROWS_ONLY]
OF_ROWS = [metric for metric in METRICS if metric.needs != "weights"]


def by_name(value):
    return value.name if hasattr(value, "name") else str(value)


def change_rows(x, change):
    """Applies one of `TRANSFORMATIONS`, the same one to every set of rows with as many rows and features."""
    rng = np.random.default_rng(5)
    n, d = x.shape
    match change:
        case "row permutation":
            return x[rng.permutation(n)]
        case "feature permutation":
            return x[:, rng.permutation(d)]
        case "rotation":
            return x @ ortho_group.rvs(d, random_state=rng)
        case "translation":
            return x + 3.0 * rng.normal(size=d)
        case "isotropic scaling":
            return 7.5 * x
        case "feature scaling":
            return x * np.exp(2.0 * rng.normal(size=d))
        case "row scaling":
            return x * np.exp(1.5 * rng.normal(size=(n, 1)))
    raise AssertionError(change)


def uneven_labels(n):
    """Five classes; the last has three sevenths of the rows."""
    return np.minimum(np.arange(n) % 7, 4)


def arguments_of_rows(metric, x, other, labels=None):
    """Returns what the public function is called with where it is to read rows."""
    if metric.needs == "two moments":
        return [x, other]
    if metric.needs == "aligned rows":
        return [x, np.concatenate([other, x[len(other) :]])]
    if metric.needs == "weights":
        return [{"layer.weight": x}]
    if metric.family in LABELLED:
        return [x, uneven_labels(len(x)) if labels is None else labels]
    return [x]


def in_float64(metric):
    return {"precision": "float64"} if "precision" in inspect.signature(metric.load()).parameters else {}


@pytest.fixture
def statistic_of(moments_of, class_moments_of):
    """Builds by hand the statistic that a metric needs."""

    def make(metric, x, labels=None):
        kind = "l2" if metric.needs.startswith("unit") else None
        if metric.needs.endswith("class moments"):
            return class_moments_of(x, uneven_labels(len(x)) if labels is None else labels, kind)
        return moments_of(x, kind)

    return make


@pytest.fixture
def run(statistic_of):
    """Calls the public function on statistics built by hand, or on rows where it needs those."""

    def call(metric, x, other, labels=None, **options):
        if metric.needs in ROWS_ONLY:
            return metric.load()(*arguments_of_rows(metric, x, other, labels), **in_float64(metric), **options)
        more = [statistic_of(metric, other)] if metric.needs == "two moments" else []
        return metric.load()(statistic_of(metric, x, labels), *more, **options)

    return call


@pytest.fixture
def evaluate(run):
    """Calls the public function and returns its scores."""

    def call(metric, x, other, labels=None):
        result = run(metric, x, other, labels)
        assert isinstance(result, Result)
        return dict(result.scores)

    return call


@pytest.fixture
def others(rows):
    return 1.3 * rows[::-1][:260] + 0.1 * np.random.default_rng(3).normal(size=(260, 45))


@pytest.mark.parametrize("metric", METRICS, ids=by_name)
def test_bounds_hold_on_many_shapes(metric, evaluate):
    rng = np.random.default_rng(0)
    cases = {
        "isotropic": rng.normal(size=(400, 50)),
        "near rank one": np.outer(rng.normal(size=400), rng.normal(size=50)) + 1e-3 * rng.normal(size=(400, 50)),
        "fewer rows than features": rng.normal(size=(60, 100)),
        "heavy tails": rng.standard_t(2, size=(400, 50)),
        "large mean": 100.0 + rng.normal(size=(400, 50)),
        "sparse": np.maximum(rng.normal(size=(400, 50)) - 1.0, 0.0) + np.eye(400, 50),
    }
    for case, x in cases.items():
        x = x + 1e-9 * rng.normal(size=x.shape)
        n, d = x.shape
        scores = evaluate(metric, x, x[::-1][: n - 5] + rng.normal(size=(n - 5, d)))
        assert set(scores) == set(metric.scores), case
        for name, bounds in metric.bounds.items():
            slack = 1e-9 * max(1.0, abs(scores[name]))
            if bounds.lower is not None:
                assert scores[name] >= bounds.lower(n, d) - slack, (case, bounds.text)
            if bounds.upper is not None:
                assert scores[name] <= bounds.upper(n, d) + slack, (case, bounds.text)


@pytest.mark.parametrize(("metric", "change"), PAIRS, ids=by_name)
def test_each_transformation_leaves_the_value_or_changes_it_as_declared(metric, change, evaluate, rows, others):
    if metric.family in LABELLED:
        # So small that the constants of LiDAR and of the rate reduction count.
        rows = 0.05 * rows
    if metric.needs == "aligned rows":
        others = rows + 0.1 * np.random.default_rng(3).normal(size=rows.shape)
    labels = uneven_labels(len(rows))
    moved_labels = change_rows(labels[:, None], change)[:, 0] if change == "row permutation" else labels
    before = evaluate(metric, rows, others, labels)
    after = evaluate(metric, change_rows(rows, change), change_rows(others, change), moved_labels)
    moved = max(abs(after[name] - before[name]) / max(abs(before[name]), 1e-3) for name in before)
    if change in metric.invariances:
        assert moved < 1e-8
    else:
        assert change in metric.contrasts
        assert moved > 1e-3


@pytest.mark.parametrize("metric", OF_STATISTICS, ids=by_name)
def test_merged_halves_give_the_value_of_the_whole(metric, rows, others, labels, statistic_of):
    function = metric.load()
    more = [statistic_of(metric, others)] if metric.needs == "two moments" else []
    whole = function(statistic_of(metric, rows, labels), *more)
    halves = [statistic_of(metric, rows[part], labels[part]) for part in (slice(77), slice(77, None))]
    merged = function(halves[0] + halves[1], *more)
    for name, value in whole.scores.items():
        assert merged.scores[name] == pytest.approx(value, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("metric", OF_STATISTICS, ids=by_name)
def test_rows_give_the_value_of_their_moments(metric, rows, others, run):
    result = metric.load()(*arguments_of_rows(metric, rows, others), precision="float64")
    expected = run(metric, rows, others)
    for name, value in expected.scores.items():
        assert result.scores[name] == pytest.approx(value, rel=1e-9, abs=1e-12)
    assert result.provenance.function == f"featdiv.{metric.load().__name__}"
    assert (result.provenance.n, result.provenance.d) == rows.shape
    assert result.provenance.dtype == "float64"
    assert result.provenance.precision == "float64"
    assert result.provenance.passes == (2 if metric.name == "rate_reduction" else 1)
    assert result.provenance.backends["scatter"]


@pytest.mark.parametrize("metric", OF_ROWS, ids=by_name)
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((0, 4)), "at least one row"),
        (np.arange(8.0), r"\(n, d\)|2-D"),
        (np.zeros((2, 3, 4)), r"\(n, d\)|2-D"),
        (np.array([["a", "b"], ["c", "d"]]), "<U1|str"),
    ],
    ids=["no rows", "1-D", "3-D", "text"],
)
def test_rows_of_no_use_are_refused(metric, x, message):
    with pytest.raises((InputError, NotEnoughData), match=message):
        metric.load()(*arguments_of_rows(metric, x, x))


@pytest.mark.parametrize("metric", METRICS, ids=by_name)
def test_rows_with_nan_are_refused_with_their_place(metric, rows):
    bad = rows.copy()
    bad[17, 3] = np.nan
    with pytest.raises(featdiv.NonFiniteError) as caught:
        metric.load()(*arguments_of_rows(metric, bad, rows))
    assert (caught.value.count, caught.value.first_row) == (1, 17)


@pytest.mark.parametrize("metric", SPECTRAL, ids=by_name)
def test_constant_features_are_undefined_and_never_nan(metric, moments_of):
    x = np.full((30, 45), 2.5)
    if metric.needs == "two moments":
        assert float(metric.load()(moments_of(x), moments_of(x))) == 0.0
    elif metric.needs.startswith(("unit", "uncentred")):
        kind = "l2" if metric.needs.startswith("unit") else None
        value = float(metric.load()(moments_of(x, kind)))
        assert np.isfinite(value)
    elif metric.name == "dimension_usage":
        usage = metric.load()(moments_of(x))
        assert usage.dead_dimensions == 45
        with pytest.raises(NotEnoughData, match="no dimension has variance"):
            _ = usage.variance_gini
        assert usage.to_dict()["scores"]["variance_gini"] is None
    else:
        with pytest.raises(NotEnoughData, match="constant"):
            metric.load()(moments_of(x))


@pytest.mark.parametrize("metric", SPECTRAL, ids=by_name)
def test_no_rows_are_not_enough(metric):
    none = Moments.empty(45, normalize="l2" if metric.needs.startswith("unit") else None)
    with pytest.raises(NotEnoughData, match=r"2 rows|1 row"):
        metric.load()(*([none, none] if metric.needs == "two moments" else [none]))


@pytest.mark.parametrize("metric", METRICS, ids=by_name)
def test_entries_are_fit_to_print(metric):
    assert metric.summary.endswith(".")
    assert metric.summary.count(". ") == 0
    assert len(metric.summary) <= 120
    assert metric.formula
    assert metric.direction
    assert metric.unit
    assert all("\\" not in definition.formula for definition in metric.definitions)
    assert all(source.year >= 1900 and source.title and source.venue for source in metric.references())


@pytest.mark.parametrize("metric", METRICS, ids=by_name)
def test_entries_name_functions_and_arguments_that_exist(metric):
    function = metric.load()
    assert function is getattr(featdiv, metric.name)
    assert callable(metric.load_core())
    arguments = inspect.signature(function).parameters
    assert set(metric.parameters) <= set(arguments)
    assert "Source:" in function.__doc__
    assert "Example:" in function.__doc__
    if len(metric.definitions) > 1:
        assert arguments["definition"].default == metric.definitions[0].name


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        (metric, definition.name)
        for metric in METRICS
        for definition in metric.definitions
        if definition.name != "default"
    ],
    ids=by_name,
)
def test_every_definition_runs_and_is_recorded(metric, name, rows, others, run):
    result = run(metric, rows, others, definition=name)
    assert result.provenance.definition == name
    assert all(np.isfinite(value) for value in result.scores.values())


@pytest.mark.parametrize("metric", [m for m in METRICS if len(m.definitions) > 1], ids=by_name)
def test_definitions_are_different_numbers(metric, rows, others, run):
    names = catalogue.definitions(metric.name)
    given = rows * 1e-3 if metric.name == "gbc" else rows  # whose definitions part where variances are small
    values = [tuple(run(metric, given, others, definition=name).scores.values()) for name in names]
    assert len(set(values)) == len(values)


@pytest.mark.parametrize("metric", [m for m in METRICS if len(m.definitions) > 1], ids=by_name)
def test_an_unknown_definition_is_refused_with_the_known_ones(metric, rows):
    with pytest.raises(InputError, match=rf"definition: expected one of .*{metric.definitions[0].name}.*; got 'mine'"):
        metric.load()(*arguments_of_rows(metric, rows, rows), definition="mine")


@pytest.mark.parametrize("name", catalogue.names())
def test_every_entry_and_definition_has_a_test_of_its_own(name):
    """The laws hold for many a wrong formula: a case with a known answer stands in the tests of the family."""
    metric = catalogue.get(name)
    files = [path for path in (HERE / metric.family).glob("test_*.py") if path.name != "test_entries.py"]
    words = set(re.findall(r"[\w-]+", "\n".join(path.read_text(encoding="utf-8") for path in files)))
    assert name in words or metric.alias_of in words
    assert {definition.name for definition in metric.definitions[1:]} <= words


def test_only_entries_without_features_are_excused_from_the_laws():
    without = {name for name in catalogue.names() if catalogue.get(name).needs == "source probabilities"}
    assert set(OF_PROBABILITIES) == without


def test_get_names_the_nearest():
    with pytest.raises(InputError, match="no metric is named 'efective_rank'; did you mean effective_rank"):
        catalogue.get("efective_rank")
    with pytest.raises(InputError, match="no metric is named 'zzz'; there are effective_rank"):
        catalogue.get("zzz")


def test_names_of_an_unknown_family():
    with pytest.raises(InputError, match=r"family: expected one of spectral, .*; got 'temporal'"):
        catalogue.names("temporal")


def test_definitions_of_rankme():
    definitions = featdiv.metrics.definitions("rankme")
    assert list(definitions) == ["garrido2023", "stable-pretraining", "reptrix", "normalized"]
    assert definitions["garrido2023"].defect == ""
    assert "182.5" in definitions["reptrix"].defect


def test_citations_name_each_source_once_and_end_with_featdiv():
    lines = catalogue.citations(["variance_gini", "stable_rank", "no such score", "components_90", "stable_rank"])
    assert [line.split(" ")[0] for line in lines.splitlines()] == [
        "dimension_usage:",
        "stable_rank:",
        "components_for:",
        "featdiv:",
    ]
    assert featdiv.__version__ in lines.splitlines()[-1]


def test_citations_of_nothing_known_still_cite_featdiv():
    assert catalogue.citations(["mine"]).startswith("featdiv: ")


def test_a_score_cites_the_definition_that_gave_it(rows):
    assert "Garrido" in featdiv.rankme(rows).cite()
    assert "reptrix" in featdiv.rankme(rows, definition="reptrix").cite()
    assert "Garrido" not in featdiv.rankme(rows, definition="reptrix").cite()


def test_importing_the_catalogue_loads_no_metric():
    code = (
        "import sys; from featdiv.metrics import catalogue; catalogue.citations(['rankme']); "
        "print([m for m in sys.modules if m.split('.')[0] in ('scipy', 'torch', 'sklearn')"
        " or m == 'featdiv.metrics.spectral.rankme'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_units_are_told_score_by_score_and_references_end_in_one_stop():
    assert catalogue.get("mean_cosine").units == {"mean_cosine": "none"}
    assert catalogue.get("near_duplicates").units == {
        "near_duplicate_pairs": "pairs",
        "near_duplicate_rows": "a share",
        "nearest_cosine": "none",
    }
    sources = [source.full for name in catalogue.names() for source in catalogue.get(name).references(None)]
    assert not [text for text in sources if "?." in text or ".." in text]
