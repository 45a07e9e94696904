from __future__ import annotations

import json

import numpy as np
import pytest

import featdiv
from featdiv import BudgetExceeded, ClassMoments, InputError, Moments, NonFiniteError, NotEnoughData
from featdiv.analyses.diversity_table import selection
from featdiv.metrics import catalogue


@pytest.fixture(scope="module")
def x():
    rng = np.random.default_rng(0)
    return rng.normal(size=(1400, 48)) * np.arange(1.0, 49.0) ** -0.5 + 0.3


@pytest.fixture(scope="module")
def labels():
    return np.random.default_rng(1).integers(0, 5, size=1400)


@pytest.fixture(scope="module")
def table(x, labels):
    return featdiv.diversity(x + np.eye(5, 48)[labels], labels, metrics="all")


def test_the_default_table_is_the_documented_one_in_its_order(x, labels):
    table = featdiv.diversity(x, labels)
    metrics = list(dict.fromkeys(line.metric for line in table.lines))
    assert metrics == [*selection.DEFAULT, *selection.DEFAULT_LABELLED]
    assert [line.name for line in table.lines] == [
        score for metric in metrics for score in catalogue.get(metric).scores
    ]
    assert [line.metric for line in featdiv.diversity(x).lines][-1] == "intrinsic_dimension"


def test_every_score_is_that_of_its_own_function(x, labels, table):
    moved = x + np.eye(5, 48)[labels]
    for metric in {line.metric for line in table.lines}:
        function = catalogue.get(metric).load()
        arguments = [moved, labels] if catalogue.get(metric).family == "labelled" else [moved]
        alone = function(*arguments)
        for name, value in alone.scores.items():
            assert table[name] == pytest.approx(value, rel=2e-5, abs=1e-9), name


def test_a_sample_serves_the_scores_that_compare_rows_and_no_others(x, labels, table):
    sampled = featdiv.diversity(x + np.eye(5, 48)[labels], labels, metrics="all", sample=900, seed=3)
    drawn = {"uniformity", "pair_histogram", "near_duplicates", "intrinsic_dimension"}
    for line in sampled.lines:
        if line.metric not in drawn:
            assert line.value == table[line.name], line.name
    alone = featdiv.uniformity(x + np.eye(5, 48)[labels], sample=900, seed=3)
    assert sampled["uniformity"] == pytest.approx(alone.value, rel=1e-6)
    assert sampled["intrinsic_dimension"] != table["intrinsic_dimension"]
    assert any("a sample of 900 rows, drawn with seed 3; the other scores" in note for note in sampled.provenance.notes)
    assert sampled.provenance.arguments["sample"] == 900
    assert str(sampled).splitlines()[0] == "Diversity of 1400 x 48, pairs and neighbours of a sample of 900 rows"
    for wrong in (1, 1401, 0.5, True):
        with pytest.raises(InputError, match=r"sample: expected (2 to n|a positive)"):
            featdiv.diversity(x, sample=wrong)
    with pytest.raises(InputError, match="sample: expected None with Moments"):
        featdiv.diversity(Moments.of(x), sample=900)


def test_progress_is_told_of_every_pass(x):
    seen = []
    featdiv.diversity(x, progress=lambda done, total: seen.append((done, total)))
    ends = [where for where, (done, total) in enumerate(seen) if done == total == 1400]
    # Moments, moments of unit rows, pairs, neighbours.
    assert len(ends) >= 4
    assert all(0 <= done <= 1400 for done, _ in seen)


def test_lines_say_what_the_catalogue_says(table):
    for line in table.lines:
        entry = catalogue.get(line.metric)
        assert line.direction == entry.direction_of(line.name)
        assert line.source == entry.source_of(line.name).short
        assert line.value == table.scores[line.name]
        if line.interval is not None:
            assert line.interval.low < line.interval.high
            assert table.intervals[line.name] is line.interval
    read = {line.name: (line.direction, line.source) for line in table.lines}
    assert read["hoyer"] == ("higher is sparser", "Hoyer 2004, section 3.1")
    assert read["treves_rolls_per_unit"] == ("lower is sparser", "Treves & Rolls 1991")
    assert read["nc4"] == ("higher is more collapsed", "Papyan, Han & Donoho 2020")


def test_what_is_shared_is_made_once(x, labels, monkeypatch, searches):
    table = featdiv.diversity(x, labels, metrics=["all", "uniformity"])
    assert len(searches) == 1
    passes = table.provenance.arguments["passes"]
    assert len(passes) == len(set(passes)) == table.provenance.passes
    assert passes.count("all pairs of rows") == 1
    assert sum("moments of" in what and "each" not in what for what in passes) == 2


def test_only_what_a_score_needs_is_read(x):
    table = featdiv.diversity(x, metrics=["effective_rank", "redundancy"])
    assert table.provenance.arguments["passes"] == ["moments of rows in float64"]
    assert featdiv.diversity(x, metrics="sparsity").provenance.arguments["passes"] == ["entries"]


def test_labels_do_not_change_the_scores_without_labels(x, labels):
    with_labels, without = featdiv.diversity(x, labels, metrics="all"), featdiv.diversity(x, metrics="all")
    for name, value in without.scores.items():
        assert with_labels[name] == pytest.approx(value, rel=1e-9)


def test_noise_stands_beside_and_a_floor_is_said_in_words():
    noise = featdiv.diversity(np.random.default_rng(3).normal(size=(300, 60)), metrics="spectral")
    assert noise.baselines["effective_rank"] == pytest.approx(noise["effective_rank"], rel=0.02)
    assert any("not to be told from isotropic noise at n=300, d=60" in note for note in noise.provenance.notes)
    decaying = np.random.default_rng(3).normal(size=(300, 60)) * np.arange(1.0, 61.0) ** -1.0
    assert not any("not to be told" in n for n in featdiv.diversity(decaying, metrics="spectral").provenance.notes)


def test_intervals_come_from_what_is_valid_for_each(table):
    assert table.intervals["participation_ratio"].method == "jackknife, bias-corrected"
    assert table.intervals["uniformity"].method == "block bootstrap"
    assert table.intervals["class_separation"].method.startswith("jackknife")
    assert table.intervals["intra_class_distance"].method == "block bootstrap"
    assert table.intervals["rate_reduction"].method.startswith("jackknife")
    assert "marchenko_pastur" not in table.intervals
    assert "calinski_harabasz" not in table.intervals
    assert any(note.startswith("no interval for marchenko_pastur") for note in table.provenance.notes)


def test_no_intervals_where_none_are_asked_for(x, labels):
    table = featdiv.diversity(x, labels, metrics="all", interval=None)
    assert not table.intervals
    assert not any("no interval" in note for note in table.provenance.notes)


def test_groups_are_kept_whole_in_every_kind_of_interval():
    rng = np.random.default_rng(4)
    groups = rng.permutation(np.repeat(np.arange(60), 30))
    x = (rng.normal(size=(60, 6)) + 0.3)[groups] + 1e-3 * rng.normal(size=(1800, 6))
    labels = groups % 3
    names = ["participation_ratio", "mean_cosine", "hoyer", "uniformity", "class_separation", "intrinsic_dimension"]
    metrics = ["participation_ratio", "mean_cosine", "sparsity", "uniformity", "class_separation"]
    whole = featdiv.diversity(x, labels, groups=groups, metrics=metrics)
    naive = featdiv.diversity(x, labels, metrics=metrics)
    for name in names[:-1]:
        assert whole.intervals[name].standard_error > 2.0 * naive.intervals[name].standard_error, name


def test_moments_leave_what_needs_rows_undefined(x, labels):
    table = featdiv.diversity(Moments.of(x, precision="float64"))
    assert table["effective_rank"] == pytest.approx(float(featdiv.effective_rank(x)), rel=1e-6)
    assert "needs the rows" in table.undefined["uniformity"]
    assert "norm one" in table.undefined["vendi"]
    with pytest.raises(NotEnoughData, match="needs the rows"):
        table.read("intrinsic_dimension")
    assert table.to_dict()["scores"]["uniformity"] is None
    classes = featdiv.diversity(ClassMoments.of(x, labels))
    assert classes["nc1"] == pytest.approx(featdiv.neural_collapse(x, labels).nc1, rel=1e-4)
    assert "nc4" in classes.undefined


def test_zero_rows_leave_what_is_about_directions_undefined(x):
    holed = x.copy()
    holed[[5, 9]] = 0.0
    table = featdiv.diversity(holed)
    for name in ("vendi", "mean_cosine", "uniformity", "hoyer"):
        assert table.undefined[name] == "2 zero rows have no direction, the first is row 5; leave them out", name
    assert table["effective_rank"] == pytest.approx(float(featdiv.effective_rank(holed)), rel=1e-6)


def test_copies_and_constant_features_are_no_failure(x):
    copies = featdiv.diversity(np.tile(x[:100], (8, 1)))
    assert copies["intrinsic_dimension"] == pytest.approx(float(featdiv.intrinsic_dimension(x[:100])), rel=1e-9)
    constant = featdiv.diversity(np.ones((700, 4)))
    assert "constant" in constant.undefined["effective_rank"]
    assert constant["mean_cosine"] == pytest.approx(1.0)


@pytest.mark.parametrize("kind", [str, bytes, int])
def test_labels_of_any_kind_are_mapped(x, labels, kind):
    names = {str: np.array(["a", "bb", "x", "y", "z"])[labels], bytes: labels * 100 + 7, int: labels}[kind]
    table = featdiv.diversity(x, names, metrics=["class_separation", "neural_collapse"])
    assert table["class_separation"] == pytest.approx(float(featdiv.class_separation(x, labels)), rel=1e-5)


def test_one_class_and_classes_of_one_row(x):
    one = featdiv.diversity(x, np.zeros(1400, dtype=int))
    assert "at least 2" in one.undefined["class_separation"]
    assert "at least 2" in one.undefined["nc1"]
    assert one["intra_class_distance"] > 0.0
    labels = np.zeros(1400, dtype=int)
    labels[7] = 1
    lonely = featdiv.diversity(x, labels)
    assert any("intra_class_distance: 1 classes of one row" in note for note in lonely.provenance.notes)
    assert any("would leave out a class" in note for note in lonely.provenance.notes)


def test_missing_labels_are_refused_or_ignored(x, labels):
    missing = labels.copy()
    missing[::4] = -1
    with pytest.raises(InputError, match=r"featdiv.diversity.*-1"):
        featdiv.diversity(x, missing)
    table = featdiv.diversity(x, missing, ignore=-1, metrics=["effective_rank", "class_separation"])
    kept = missing >= 0
    assert table["class_separation"] == pytest.approx(float(featdiv.class_separation(x[kept], labels[kept])), rel=1e-5)
    assert table.provenance.n == int(kept.sum())


def test_an_iterable_is_kept_in_memory(x, labels):
    chunks = ((x[start : start + 300], labels[start : start + 300]) for start in range(0, 1400, 300))
    table = featdiv.diversity(chunks)
    assert table["nc4"] == featdiv.neural_collapse(x, labels).nc4


def test_an_iterable_keeps_its_groups_and_the_budget(x):
    groups = np.arange(len(x)) // 70

    def chunks():
        return (x[start : start + 300] for start in range(0, len(x), 300))

    asked = {"groups": groups, "metrics": ["effective_rank", "uniformity"]}
    kept, plain = featdiv.diversity(chunks(), **asked), featdiv.diversity(x, **asked)
    assert kept.intervals.keys() == plain.intervals.keys() == {"effective_rank", "uniformity"}
    for name, interval in plain.intervals.items():
        assert (kept.intervals[name].low, kept.intervals[name].high) == (interval.low, interval.high)
    with pytest.raises(BudgetExceeded, match="diversity: memory: the rows of a source that is read only once need"):
        featdiv.diversity(chunks(), metrics=["effective_rank"], memory=x.nbytes // 2)
    with pytest.raises(BudgetExceeded, match="uniformity: memory: the rows of a source that is read only once need"):
        featdiv.uniformity(chunks(), memory=x.nbytes // 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": "efective_rank"}, "metrics: nothing is named 'efective_rank'; did you mean effective_rank"),
        ({"metrics": []}, "metrics: expected at least one name"),
        ({"metrics": None}, "metrics: expected names, alone or in a list; got None"),
        ({"metrics": ["rankme", 3]}, "metrics: expected names, alone or in a list; got 3"),
        ({"metrics": "lidar"}, "metrics: 'lidar' needs labels=; got None"),
        ({"metrics": "labelled"}, "metrics: 'labelled' needs labels=; got None"),
        ({"metrics": ["alignment"]}, "alignment cannot be had here: it compares two views"),
        ({"interval": "bootstrap"}, "interval: expected one of 'auto', 'jackknife', None"),
        ({"labels": [0, 1]}, "labels"),
        ({"ignore": 3}, "ignore: expected None without labels"),
    ],
)
def test_arguments_that_cannot_be_used(x, arguments, message):
    with pytest.raises(InputError, match=message):
        featdiv.diversity(x, **arguments)


def test_rows_that_cannot_be_used(x, labels):
    with pytest.raises(NotEnoughData, match=r"featdiv\.diversity: x: expected at least 2 rows; got 1"):
        featdiv.diversity(np.ones((1, 3)))
    bad = x.copy()
    bad[1234, 3] = np.nan
    for given in (None, labels):
        with pytest.raises(NonFiniteError) as caught:
            featdiv.diversity(bad, given)
        assert caught.value.first_row == 1234
        assert "1234" in str(caught.value)


def test_the_table_is_a_data_frame(table):
    pytest.importorskip("pandas")
    frame = table.to_pandas()
    assert list(frame.index) == [line.name for line in table.lines]
    assert frame.loc["vendi", "value"] == table["vendi"]


def test_the_table_can_be_pasted_and_drawn(table):
    markdown = table.to_markdown().splitlines()
    assert len(markdown) == 2 + len(table.lines)
    assert all(line.count("|") - line.count("\\|") == 8 for line in markdown)
    latex = table.to_latex()
    assert latex.count(r"\\") == 1 + len(table.lines)
    assert r"effective\_rank" in latex
    assert table["uniformity"] < 0.0
    assert f"uniformity & ${table['uniformity']:#.4g}$ & " in latex
    assert json.loads(table.to_json())["lines"][0]["name"] == "effective_rank"
    figure = table.plot()
    drawn = [text.get_text() for axes in figure.axes for text in axes.get_yticklabels()]
    assert set(drawn) == set(table.scores)
    assert "<td>vendi</td>" in table._repr_html_()
    assert "Friedman" in table.cite()


def test_why_a_score_is_undefined_stands_below_a_table_to_paste():
    table = featdiv.diversity(np.random.default_rng(0).normal(size=(60, 8)), metrics=["alpha_req", "effective_rank"])
    reason = table.undefined["alpha_req"]
    assert table.to_latex().endswith(f"\\end{{tabular}}\n% alpha_req is undefined: {reason}")
    *_, last = table.to_markdown().split("\n\n")
    assert last == f"alpha_req is undefined: {reason}."
    assert table.to_markdown().splitlines()[2].startswith("| alpha_req | undefined |  |  |")


@pytest.mark.slow
def test_jackknife_intervals_cover_the_population():
    # 30 rows a feature of a decaying spectrum; the population's score from a hundred times as many rows.
    names = ["effective_rank", "participation_ratio", "rankme", "vendi", "mean_cosine"]
    scales = np.arange(1.0, 11.0) ** -0.6
    offset = np.linspace(-0.4, 0.4, 10)
    rng = np.random.default_rng(7)
    large = rng.normal(size=(300_000, 10)) * scales + offset
    table = featdiv.diversity(large, metrics=names, interval=None)
    sigma = scales / scales.sum()
    truth = {name: table[name] for name in names} | {"effective_rank": float(np.exp(-(sigma * np.log(sigma)).sum()))}
    covered = dict.fromkeys(names, 0)
    for _ in range(200):
        # 1,500 rows: the least that give enough slabs, 150 a feature.
        table = featdiv.diversity(rng.normal(size=(1500, 10)) * scales + offset, metrics=names)
        for name in names:
            covered[name] += truth[name] in table.intervals[name]
    assert all(180 <= count <= 198 for count in covered.values()), covered


@pytest.mark.slow
def test_repeated_rows_need_groups_to_be_covered():
    rng = np.random.default_rng(8)
    scales = np.arange(1.0, 6.0) ** -0.6
    truth = (scales**2).sum() ** 2 / (scales**4).sum()
    groups = np.arange(3000) % 150
    naive = whole = 0
    for _ in range(100):
        x = (rng.normal(size=(150, 5)) * scales)[groups]
        naive += truth in featdiv.diversity(x, metrics=["participation_ratio"]).intervals["participation_ratio"]
        kept = featdiv.diversity(x, groups=groups, metrics=["participation_ratio"])
        whole += truth in kept.intervals["participation_ratio"]
    assert naive < 50
    assert whole >= 88


def test_labels_make_parts_of_every_class_and_the_table_says_so():
    """Rows sorted by class: leaving slabs out as they stand takes the shares of the classes for chance."""
    random = np.random.default_rng(12)
    labels = np.repeat(np.arange(20), 300)
    centres = 4.0 * random.normal(size=(20, 8))
    rows = random.normal(size=(6000, 8)) + centres[labels]
    order = random.permutation(6000)
    names = ["participation_ratio", "neural_collapse"]

    def errors(x, y, **given):
        table = featdiv.diversity(x, y, metrics=names, interval="jackknife", **given)
        alone = featdiv.spectrum(x, method="gram", interval="jackknife", **given)
        said = any("holds a slab of every class" in note for note in table.provenance.notes)
        found = (result.intervals["participation_ratio"].standard_error for result in (table, alone))
        return (*found, said)

    by_class, by_row, said = errors(rows, labels)
    assert said
    assert by_row > 2.0 * by_class
    shuffled_by_class, shuffled_by_row, said = errors(rows[order], labels[order])
    assert said
    assert shuffled_by_class == pytest.approx(by_class, rel=0.7)
    assert shuffled_by_row < 0.7 * by_row
    with_groups, alone, said = errors(rows, labels, groups=np.arange(6000) // 5 % 200)
    assert with_groups == pytest.approx(alone, rel=1e-4)
    assert not said
