"""The table against the functions that stand alone, scikit-learn, and refits; its intervals against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier

import featdiv
from featdiv import BudgetExceeded, ClassMoments, InputError, Neighbours, NotEnoughData
from featdiv.probes.proportion import of_rows
from featdiv.testing import cases

DEFAULT = ["logme", "h_score", "transrate", "gbc", "lda", "lda_accuracy", "ridge", "knn"]


@pytest.fixture(scope="module")
def task():
    return cases.labelled(1500, 10, 4, between=0.5, offset=1.0)


@pytest.fixture(scope="module")
def table(task):
    return featdiv.transferability(*task)


def test_scores_are_those_of_the_functions_that_stand_alone(task, table):
    expected = {
        "logme": float(featdiv.logme(*task)),
        "h_score": float(featdiv.h_score(*task, definition="shrunk")),
        "transrate": float(featdiv.transrate(*task)),
        "gbc": float(featdiv.gbc(*task)),
        **featdiv.lda(*task).scores,
    }
    assert list(table.scores) == DEFAULT
    for name, value in expected.items():
        assert table[name] == pytest.approx(value, rel=1e-9)
    assert not table.undefined


def test_ridge_is_left_one_out_at_the_strength_of_gcv(task, table):
    x, labels = task
    strength = table.details["ridge"]["penalty"]
    probe = featdiv.ridge_probe(x, labels)
    assert strength == pytest.approx(probe.lambdas[np.argmin(probe.gcv)])
    sample = range(0, 1500, 10)
    right = 0
    for i in sample:
        keep = np.arange(1500) != i
        right += int(RidgeClassifier(alpha=strength).fit(x[keep], labels[keep]).predict(x[i : i + 1])[0] == labels[i])
    alone = featdiv.ridge_probe(x, labels, lambdas=[strength]).scores["loo_accuracy"]
    assert table["ridge"] == pytest.approx(alone)
    assert right / len(sample) == pytest.approx(table["ridge"], abs=0.12)


def test_knn_is_left_one_out_by_scikit_learn(task, table):
    x, labels = task
    model = KNeighborsClassifier(21, metric="cosine").fit(x, labels)
    distances, found = model.kneighbors(x)
    votes = np.zeros((1500, 4))
    for i in range(1500):
        for distance, j in zip(distances[i], found[i], strict=True):
            if j != i:
                votes[i, labels[j]] += np.exp((1.0 - distance) / 0.07)
    assert table["knn"] == pytest.approx((votes.argmax(axis=1) == labels).mean(), abs=1e-9)


def test_asking_some_rows_gives_their_share(task):
    x, labels = task
    found = featdiv.transferability(x, labels, metrics="knn", knn_queries=300, seed=2)
    chosen = np.sort(np.random.default_rng(2).choice(1500, 300, replace=False))
    whole = featdiv.knn_probe(x, labels, k=20, vote="exp")
    right = whole.predictions(whole.cell(20, "exp"))[chosen] == labels[chosen]
    assert found["knn"] == pytest.approx(right.mean())
    note = "knn: a sample of 300 of the 1500 rows was asked, drawn with seed 2; all rows vote"
    assert found.provenance.notes == (note,)
    assert found.details["knn"]["sample"]
    assert not featdiv.transferability(x, labels, metrics="knn", knn_queries=None).details["knn"]["sample"]


def test_a_table_of_neighbours_is_reused(task, searches):
    x, labels = task
    near = Neighbours.of(x, k=20)
    found = featdiv.transferability(x, labels, metrics=["knn"], neighbours=near)
    assert searches == [20]
    assert found["knn"] == featdiv.transferability(x, labels, metrics=["knn"])["knn"]
    with pytest.raises(InputError, match="neighbours: expected the leave-one-out neighbours of the 1500 rows"):
        featdiv.transferability(x, labels, metrics=["knn"], neighbours=near.head(3))


def test_rows_are_read_once_twice_and_for_neighbours(table, task):
    assert table.provenance.passes == 3
    assert featdiv.transferability(*task, metrics=["logme", "gbc"]).provenance.passes == 1
    assert featdiv.transferability(*task, metrics=["logme", "ridge", "lda", "h_score"]).provenance.passes == 2


def test_every_score_by_name_and_with_probabilities(task):
    x, labels = task
    x, labels = x[:400], labels[:400]
    theta = np.full((400, 5), 0.1)
    theta[np.arange(400), labels] = 0.6
    found = featdiv.transferability(x, labels, metrics="all", source_probs=theta, interval=None)
    assert list(found.scores) == [*DEFAULT, "leep", "nce", "nleep", "parc"]
    assert found["leep"] == pytest.approx(float(featdiv.leep(theta, labels)))
    assert found["nce"] == pytest.approx(float(featdiv.nce(theta, labels)))
    assert found["parc"] == pytest.approx(float(featdiv.parc(x, labels)))
    assert found["nleep"] == pytest.approx(float(featdiv.nleep(x, labels)))
    assert not found.intervals
    without = featdiv.transferability(x, labels, metrics=["leep", "logme"])
    with pytest.raises(NotEnoughData, match="needs source_probs="):
        _ = without["leep"]


@pytest.mark.slow
def test_intervals_cover_the_expected_value():
    rng = np.random.default_rng(0)
    means = 0.5 * rng.normal(size=(4, 6))
    names = ("logme", "h_score", "transrate", "gbc")
    values, intervals = {name: [] for name in names}, {name: [] for name in names}
    for _ in range(60):
        labels = rng.integers(0, 4, 2600)
        found = featdiv.transferability(means[labels] + rng.normal(size=(2600, 6)), labels, metrics=names)
        for name in names:
            values[name].append(found[name])
            intervals[name].append(found.intervals[name])
    for name in names:
        middle = np.mean(values[name])
        covered = np.mean([middle in interval for interval in intervals[name]])
        # 95 % nominal; 60 draws of it fall below 0.85 once in some thousand times.
        assert covered >= 0.85, name
        widths = np.mean([interval.standard_error for interval in intervals[name]])
        assert widths == pytest.approx(np.std(values[name]), rel=0.4), name


def test_accuracies_have_wilson_intervals_and_scores_of_moments_a_jackknife(table):
    methods = {name: interval.method for name, interval in table.intervals.items()}
    assert methods == {
        "logme": "jackknife",
        "h_score": "jackknife",
        "transrate": "jackknife",
        "gbc": "jackknife",
        "lda": "standard error over rows",
        "lda_accuracy": "Wilson",
        "ridge": "Wilson",
        "knn": "Wilson",
    }


def test_accuracies_of_groups_are_no_surer_than_groups_are(task):
    x, labels = task
    groups = np.arange(1500) % 60
    names = ("lda", "ridge", "knn")
    found = featdiv.transferability(x, labels, metrics=names, groups=groups)
    whole = featdiv.knn_probe(x, labels, k=20, vote="exp")
    assert found.intervals["knn"] == of_rows(whole.predictions() == labels, groups)
    judged = featdiv.ridge_probe(x, labels, groups=groups, lambdas=found.details["ridge"]["penalty"])
    assert found.intervals["ridge"] == judged.intervals["loo_accuracy"]
    assert found.intervals["lda"] == featdiv.lda(x, labels, groups=groups).intervals["lda"]
    assert {found.intervals[name].groups for name in (*names, "lda_accuracy")} == {60}
    plain = featdiv.transferability(x, labels, metrics=names)
    repeated = featdiv.transferability(
        np.repeat(x, 4, axis=0), np.repeat(labels, 4), metrics="lda", groups=np.repeat(np.arange(1500), 4)
    )
    for name in ("lda", "lda_accuracy"):
        once, four = plain.intervals[name].standard_error, repeated.intervals[name].standard_error
        assert four == pytest.approx(once, rel=0.05), name


def test_a_sample_of_the_rows_keeps_its_groups(task):
    x, labels = task
    groups, ignored = np.arange(1500) % 60, np.where(np.arange(1500) % 7, labels, -1)
    found = featdiv.transferability(x, ignored, metrics="knn", knn_queries=300, groups=groups, ignore=-1)
    kept = np.flatnonzero(ignored >= 0)
    chosen = np.sort(np.random.default_rng(0).choice(len(kept), 300, replace=False))
    whole = featdiv.knn_probe(x[kept], labels[kept], k=20, vote="exp")
    right = (whole.predictions() == labels[kept])[chosen]
    assert found.intervals["knn"] == of_rows(right, groups[kept][chosen])


def test_groups_stay_whole_and_few_of_them_have_no_jackknife(task):
    x, labels = task
    repeated = np.repeat(x[:150], 10, axis=0), np.repeat(labels[:150], 10)
    groups = np.repeat(np.arange(150), 10)
    whole = featdiv.transferability(*repeated, metrics="logme", groups=groups).intervals["logme"]
    split = featdiv.transferability(*repeated, metrics="logme", groups=np.arange(1500)).intervals["logme"]
    assert whole.standard_error > 2.0 * split.standard_error
    short = featdiv.transferability(x[:300], labels[:300], metrics="logme").provenance.notes[0]
    reason = "a jackknife needs at least 5 slabs of 256 rows; got 300 rows"
    assert short.endswith(reason)
    for same in (featdiv.spectrum(x[:300]), featdiv.sparsity(x[:300])):  # the same words, whoever says it
        assert f"no intervals: {reason}" in same.provenance.notes
    few = featdiv.transferability(*repeated, metrics="logme", groups=groups % 3)
    assert "logme" not in few.intervals
    assert "a jackknife needs at least 5 groups; got 3" in few.provenance.notes[0]
    with pytest.raises(InputError, match="'jackknife' cannot be had here: a jackknife needs at least 5 groups; got 3"):
        featdiv.transferability(*repeated, metrics="logme", groups=groups % 3, interval="jackknife")


def test_moments_and_iterables_give_what_one_reading_gives(task, table):
    x, labels = task
    of_moments = featdiv.transferability(ClassMoments.of(x, labels, per_class=True, precision="float64"))
    assert list(of_moments.scores) == ["logme", "transrate", "gbc"]
    assert of_moments["transrate"] == pytest.approx(table["transrate"])
    assert of_moments.undefined["ridge"] == "it needs the rows; x is ClassMoments"
    streamed = featdiv.transferability((x[i : i + 400] for i in range(0, 1500, 400)), labels)
    assert list(streamed.scores) == ["logme", "transrate", "gbc"]
    assert streamed["gbc"] == pytest.approx(table["gbc"])
    assert not streamed.intervals
    assert any("too late to deal every class to all parts" in note for note in streamed.provenance.notes)
    assert "read once" in streamed.undefined["lda"]


def test_a_small_budget_takes_the_variances_from_the_rows(task, table):
    x, labels = task
    found = featdiv.transferability(x, labels, metrics=["logme", "transrate", "gbc"], memory=9000)
    assert found["gbc"] == pytest.approx(table["gbc"])
    assert "memory budget" in found.undefined["transrate"]
    with pytest.raises(BudgetExceeded):
        featdiv.transferability(x, labels, memory=500)


def test_rows_with_missing_labels_are_left_out_everywhere(task):
    x, labels = task
    more = np.r_[x, 5.0 + np.zeros((40, 10))]
    marked = np.r_[labels, np.full(40, -1)]
    found = featdiv.transferability(more, marked, ignore=-1, interval=None)
    expected = featdiv.transferability(x, labels, interval=None)
    assert dict(found.scores) == pytest.approx(dict(expected.scores), rel=1e-9)
    with pytest.raises(InputError, match="-1, which marks a missing label"):
        featdiv.transferability(more, marked)


def test_text_labels_and_unit_rows(task):
    x, labels = task
    names = np.array(["ant", "bee", "cow", "dog"])[labels]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    found = featdiv.transferability(x, names, normalize="l2", interval=None)
    expected = featdiv.transferability(unit, labels, interval=None)
    assert dict(found.scores) == pytest.approx(dict(expected.scores), rel=1e-7)


def test_an_undefined_score_spoils_no_other(task):
    x, labels = task
    lone = labels.copy()
    lone[3] = 77
    found = featdiv.transferability(x, lone)
    assert "class 77 has 1" in found.undefined["gbc"]
    assert "logme" not in found.intervals
    assert "no jackknife intervals: leaving out a part of the rows would leave out a class" in found.provenance.notes
    assert {"logme", "ridge", "knn"} <= set(found.scores)
    zero = x.copy()
    zero[5] = 0.0
    assert "a zero row has no cosine" in featdiv.transferability(zero, labels).undefined["knn"]
    wide, few = cases.labelled(40, 60, 3, between=0.5)
    small = featdiv.transferability(wide, few, k=50)
    assert "50 neighbours of each row need at least 51 rows; got 40" in small.undefined["knn"]
    assert np.isfinite(list(small.scores.values())).all()


def test_it_shows_itself(table, task):
    assert repr(table).startswith("Transferability(logme=")
    assert [line["score"] for line in table.table()] == DEFAULT
    (ax,) = table.plot().axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["lda_accuracy", "ridge", "knn"]
    assert "You, Liu, Wang" in table.cite()
    # The default of featdiv.h_score is another, so that the name alone would mislead.
    assert float(featdiv.h_score(*task)) != pytest.approx(table["h_score"], rel=1e-3)
    assert f"h_score[shrunk]={table['h_score']:.4g}, transrate[tllib]=" in repr(table)
    _, heads, *lines = str(table).splitlines()
    assert heads.split()[:3] == ["score", "definition", "value"]
    assert [line.split()[:2] for line in lines[1:4]] == [
        ["h_score", "shrunk"],
        ["transrate", "tllib"],
        ["gbc", "diagonal"],
    ]
    assert "<td>h_score</td><td>shrunk</td>" in table._repr_html_()
    assert "h_score: Ibrahim" in table.cite()
    assert table.to_dict()["definitions"] == {"h_score": "shrunk", "transrate": "tllib", "gbc": "diagonal"}


def test_the_table_is_a_data_frame(task):
    pytest.importorskip("pandas")
    table = featdiv.transferability(*task, metrics=["logme", "knn"])
    assert table.to_pandas().loc["knn", "value"] == table["knn"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, y: featdiv.transferability(x, y, metrics="nope"), InputError, "expected 'default', 'all', or some"),
        (lambda x, y: featdiv.transferability(x, y, metrics=[]), InputError, "got none"),
        (lambda x, y: featdiv.transferability(x, y, interval="yes"), InputError, "interval: expected one of"),
        (lambda x, y: featdiv.transferability(x, y, k=0), InputError, "k: expected a positive integer, got 0"),
        (lambda x, y: featdiv.transferability(x, y, metrics=[3]), InputError, "metrics: expected 'default', 'all', or"),
        (lambda x, y: featdiv.transferability(x, y, neighbours=3), InputError, "neighbours: expected Neighbours"),
        (lambda x, y: featdiv.transferability(x, y, knn_queries=0), InputError, "knn_queries: expected a positive"),
        (lambda x, y: featdiv.transferability(x, y * 0), NotEnoughData, "it compares classes and needs at least 2"),
        (lambda x, y: featdiv.transferability(x), InputError, "labels: expected one label for each row"),
        (lambda x, y: featdiv.transferability(x, y[:-1]), InputError, "labels"),
        (lambda x, y: featdiv.transferability(ClassMoments.of(x, y), y), InputError, "go with rows"),
        (
            lambda x, y: featdiv.transferability(x, y, source_probs=np.ones((60, 3))),
            InputError,
            "expected entries of at least 0 that sum to one",
        ),
        (lambda x, y: featdiv.transferability(x * np.nan, y), featdiv.NonFiniteError, "the first in row 0"),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    x, labels = cases.labelled(60, 4, 3)
    with pytest.raises(error, match=message):
        call(x, labels)
