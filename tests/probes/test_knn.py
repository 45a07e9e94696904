"""knn_probe: scikit-learn's classifier, hand tables, files, and what each bad input gets."""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn.neighbors import KNeighborsClassifier

import featdiv
from featdiv.errors import InputError, MissingDependency, NearDuplicateWarning, NotEnoughData, ZeroNormError
from featdiv.ops import _native
from featdiv.probes.knn_fewshot import draw
from featdiv.stats.neighbours import Neighbours
from featdiv.testing import cases


def weighted_votes(distances):
    return np.exp((1.0 - distances) / 0.07)


@pytest.mark.parametrize("vote", ["uniform", "exp"])
def test_every_cell_is_that_of_scikit_learn(blobs, vote):
    x, labels, test, test_labels = blobs
    probe = featdiv.knn_probe(x, labels, test=test, test_labels=test_labels, k=(1, 5, 10, 50, 200))
    for k in (1, 5, 10, 50, 200):
        model = KNeighborsClassifier(
            n_neighbors=k,
            metric="cosine",
            algorithm="brute",
            weights="uniform" if vote == "uniform" else weighted_votes,
        ).fit(x, labels)
        cell = probe.cell(k, vote)
        shares = model.predict_proba(test)
        order = np.sort(shares, axis=1)
        clear = order[:, -1] - order[:, -2] > 1e-9  # scikit-learn gives ties to the first class, whatever is nearer
        assert clear.mean() > (0.8 if vote == "uniform" else 0.99)
        predicted = model.predict(test)
        np.testing.assert_array_equal(probe.predictions(cell)[clear], predicted[clear])
        np.testing.assert_allclose(probe.probabilities(cell), shares, atol=2e-5)
        if clear.all():
            assert cell.top1 == model.score(test, test_labels)


def assert_only_ties_differ(train, labels, test, k, *, ties):
    """Uniform votes of scikit-learn and ours: the same but for ties, and the same there too once its rule is ours."""
    probe = featdiv.knn_probe(train, labels, test=test, test_labels=labels[: len(test)], k=k, vote="uniform")
    arguments = {"n_neighbors": k, "metric": "cosine", "algorithm": "brute"}
    model = KNeighborsClassifier(**arguments).fit(train, labels)
    order = np.sort(model.predict_proba(test), axis=1)
    tied = order[:, -1] - order[:, -2] < 1e-9
    assert tied.mean() > ties
    differ = probe.predictions() != model.predict(test)
    assert not differ[~tied].any()
    assert differ[tied].mean() > 0.25
    # A vote that is greater by a ten-thousandth of its cosine changes nothing but ties: the larger sum wins them.
    nearest = KNeighborsClassifier(**arguments, weights=lambda distances: 1.0 + 1e-4 * (1.0 - distances))
    np.testing.assert_array_equal(probe.predictions(), nearest.fit(train, labels).predict(test))


@pytest.mark.parametrize("k", [5, 10])
def test_uniform_votes_differ_from_scikit_learn_in_ties_alone(k):
    x, labels = cases.labelled(1500, 8, 12, between=0.3)
    assert_only_ties_differ(x[300:], labels[300:], x[:300], k, ties=0.1)


def test_uniform_votes_on_real_rows_differ_from_scikit_learn_in_ties_alone(shared_data):
    rows = np.load(shared_data / "minilm-docstrings.npy", mmap_mode="r")[::13].astype(np.float64)
    labels = np.load(shared_data / "minilm-docstrings-labels.npy")[::13]
    # A good part of the rows has several classes of most votes at k = 10.
    assert_only_ties_differ(rows[1000:], labels[1000:], rows[:1000], 10, ties=0.1)


def test_the_tables_follow_from_the_predictions(blobs):
    x, labels, test, test_labels = blobs
    probe = featdiv.knn_probe(x, labels, test=test, test_labels=test_labels, k=(1, 20))
    assert [cell.name for cell in probe.cells] == ["k=1 exp", "k=1 uniform", "k=20 exp", "k=20 uniform"]
    for cell in probe.cells:
        predicted = probe.predictions(cell)
        right = predicted == test_labels
        assert cell.top1 == right.mean() == probe.scores[cell.name]
        per = [right[test_labels == name].mean() for name in probe.classes]
        np.testing.assert_allclose(probe.per_class(cell), per)
        assert cell.mean_per_class == pytest.approx(np.mean(per))
        confusion = probe.confusion(cell)
        expected = [[((test_labels == a) & (predicted == b)).sum() for b in probe.classes] for a in probe.classes]
        assert confusion.tolist() == expected
        interval = stats.binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
        assert (cell.interval.low, cell.interval.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
        shares = np.sort(probe.probabilities(cell), axis=1)
        assert cell.top5 >= cell.top1
        np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-6)
    assert probe.cell(1).top5 == probe.cell(1).top1  # one neighbour votes for one class
    assert probe.counts.sum() == 200
    assert probe.best.top1 == max(cell.top1 for cell in probe.cells)


def test_leave_one_out_is_that_of_a_loop(blobs):
    x, labels, *_ = blobs
    x, labels = x[:150], labels[:150]
    probe = featdiv.knn_probe(x, labels, k=7, vote="uniform")
    right = []
    for i in range(150):
        rest = np.arange(150) != i
        model = KNeighborsClassifier(7, metric="cosine", algorithm="brute").fit(x[rest], labels[rest])
        shares = np.sort(model.predict_proba(x[i : i + 1])[0])
        if shares[-1] > shares[-2]:
            right.append(model.predict(x[i : i + 1])[0] == probe.predictions()[i])
    assert len(right) > 100
    assert all(right)
    assert probe.provenance.method == "leave-one-out"
    assert "leave-one-out accuracy of these rows" in probe.cells[0].interval.estimand


def test_euclidean_votes(blobs):
    x, labels, test, test_labels = blobs
    probe = featdiv.knn_probe(x, labels, test=test, test_labels=test_labels, k=9, distance="l2", temperature=0.5)
    model = KNeighborsClassifier(9, algorithm="brute", weights=lambda d: np.exp(-(d**2 - d[:, :1] ** 2) / 1.0))
    np.testing.assert_allclose(
        probe.probabilities(probe.cell(9, "exp")), model.fit(x, labels).predict_proba(test), atol=1e-5
    )
    assert "k=9 exp T=0.5" in probe.scores


def test_one_search_serves_every_cell_and_can_be_given(blobs, searches):
    x, labels, test, test_labels = blobs
    probe = featdiv.knn_probe(x, labels, test=test, test_labels=test_labels)
    assert len(searches) == 1
    assert len(probe.cells) == 14
    again = featdiv.knn_probe(x, labels, test=test, test_labels=test_labels, neighbours=probe.neighbours, k=(3, 30))
    assert len(searches) == 1
    fresh = featdiv.knn_probe(x, labels, test=test, test_labels=test_labels, k=(3, 30))
    assert dict(again.scores) == dict(fresh.scores)
    with pytest.raises(InputError, match=r"neighbours: expected 3 or more neighbours of 700 rows .*leave-one-out"):
        featdiv.knn_probe(x, labels, neighbours=probe.neighbours, k=3)


def test_the_cell_may_be_chosen_on_the_training_rows(blobs):
    x, labels, test, test_labels = blobs
    probe = featdiv.knn_probe(x, labels, test=test, test_labels=test_labels, select="train")
    own = featdiv.knn_probe(x, labels)
    assert dict(probe.train_scores) == dict(own.scores)
    assert probe.best.name == own.best.name
    assert probe.best_by == "train"
    assert not any("optimistic" in note for note in probe.provenance.notes)
    assert any("optimistic" in note for note in own.provenance.notes)
    with pytest.raises(InputError, match="select='train': expected a test set"):
        featdiv.knn_probe(x, labels, select="train")


def test_a_protocol_takes_the_place_of_defaults(blobs):
    x, labels, test, test_labels = blobs
    probe = featdiv.knn_probe(x, labels, test=test, test_labels=test_labels, protocol="dinov2-knn")
    assert [cell.name for cell in probe.cells] == ["k=10 exp", "k=20 exp", "k=100 exp", "k=200 exp"]
    assert probe.provenance.arguments["protocol"] == "dinov2-knn@1"
    other = featdiv.knn_probe(x, labels, test=test, test_labels=test_labels, protocol="dinov2-knn", k=20)
    assert "k: 20 instead of 10, 20, 100, 200" in " ".join(other.provenance.notes)


def test_few_shot_draws(blobs):
    x, labels, test, test_labels = blobs
    probe = featdiv.knn_probe(
        x, labels, test=test, test_labels=test_labels, per_class=5, seeds=4, k=(1, 5, 200), vote="uniform"
    )
    assert probe.draws.shape == (4, 2)
    assert set(probe.undefined) == {"k=200 uniform"}
    codes = np.unique(labels, return_inverse=True)[1]
    for seed in range(4):
        rows = draw(codes, 5, seed)
        assert np.bincount(codes[rows]).tolist() == [5] * 6
        single = featdiv.knn_probe(x[rows], labels[rows], test=test, test_labels=test_labels, k=(1, 5), vote="uniform")
        assert [cell.top1 for cell in single.cells] == probe.draws[seed].tolist()
    cell = probe.cells[0]
    assert cell.top1 == pytest.approx(probe.draws[:, 0].mean())
    half = stats.sem(probe.draws[:, 0]) * stats.t.ppf(0.975, 3)
    assert cell.interval.high - cell.top1 == pytest.approx(half)
    with pytest.raises(InputError, match="a few-shot probe has predictions for each draw"):
        probe.predictions()


def test_few_shot_without_a_test_set_classifies_the_rest(blobs):
    x, labels, *_ = blobs
    probe = featdiv.knn_probe(x, labels, per_class=5, seeds=[11], k=1, vote="uniform")
    rows = draw(np.unique(labels, return_inverse=True)[1], 5, 11)
    rest = np.setdiff1d(np.arange(700), rows)
    model = KNeighborsClassifier(1, metric="cosine", algorithm="brute").fit(x[rows], labels[rows])
    assert probe.cells[0].top1 == pytest.approx(model.score(x[rest], labels[rest]))
    assert probe.cells[0].interval is None
    assert probe.counts.sum() == 670


def test_copies_across_train_and_test_are_counted_and_warned_of(blobs):
    x, labels, test, test_labels = blobs
    leaked = np.concatenate([test, x[:30] * 2.0])  # under cosine a scaled row is a copy
    with pytest.warns(NearDuplicateWarning, match=r"knn_probe: 30 of 230 rows \(13\.0%\) have near-duplicates"):
        probe = featdiv.knn_probe(x, labels, test=leaked, test_labels=np.concatenate([test_labels, labels[:30]]), k=5)
    assert probe.near_duplicates == 30
    assert any("near-duplicates" in note for note in probe.provenance.notes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert featdiv.knn_probe(x, labels, test=test, test_labels=test_labels, k=5).near_duplicates == 0
        same = np.concatenate([test, x[:30]])
        strict = featdiv.knn_probe(x, labels, test=test, test_labels=test_labels, k=5, distance="l2")
        assert strict.near_duplicates == 0
    with pytest.warns(NearDuplicateWarning, match=r"30 of 230 rows .* \(a negligible distance\)"):
        featdiv.knn_probe(
            x, labels, test=same, test_labels=np.concatenate([test_labels, labels[:30]]), k=5, distance="l2"
        )


def test_files_with_labels_beside_them(tmp_path, blobs):
    x, labels, test, test_labels = blobs
    np.save(tmp_path / "train.npy", x.astype(np.float16))
    np.save(tmp_path / "labels.npy", labels)
    np.savez(tmp_path / "test.npz", rows=test.astype(np.float16), y=test_labels)
    probe = featdiv.knn_probe(
        tmp_path / "train.npy",
        tmp_path / "labels.npy",
        test=featdiv.open(tmp_path / "test.npz", key="rows", labels="y"),
        k=5,
    )
    plain = featdiv.knn_probe(x.astype(np.float16), labels, test=test.astype(np.float16), test_labels=test_labels, k=5)
    assert dict(probe.scores) == dict(plain.scores)
    assert probe.provenance.dtype == "float16"


def test_a_stream_of_pairs(blobs):
    x, labels, *_ = blobs
    codes = np.unique(labels, return_inverse=True)[1]
    stream = ((x[i : i + 70], codes[i : i + 70]) for i in range(0, 700, 70))
    assert dict(featdiv.knn_probe(stream, k=5).scores) == dict(featdiv.knn_probe(x, codes, k=5).scores)


def test_row_order_does_not_matter(blobs):
    x, labels, test, test_labels = blobs
    order = np.random.default_rng(0).permutation(700)
    one = featdiv.knn_probe(x, labels, test=test, test_labels=test_labels)
    two = featdiv.knn_probe(x[order], labels[order], test=test, test_labels=test_labels)
    assert dict(one.scores) == dict(two.scores)


def test_a_k_beyond_the_gallery_is_undefined_not_wrong(blobs):
    x, labels, *_ = blobs
    keep = np.concatenate([np.flatnonzero(labels == name)[:5] for name in np.unique(labels)])
    probe = featdiv.knn_probe(x[keep], labels[keep], vote="uniform")
    assert [cell.k for cell in probe.cells] == [1, 5, 10, 20]
    assert set(probe.undefined) == {"k=50 uniform", "k=100 uniform", "k=200 uniform"}
    with pytest.raises(NotEnoughData, match="k=50 neighbours; each row has 29 to choose from"):
        probe.read("k=50 uniform")
    with pytest.raises(NotEnoughData, match="k: expected at most 29, the rows that can be neighbours; got 30"):
        featdiv.knn_probe(x[keep], labels[keep], k=(30, 40))


def test_bad_rows_and_arguments(blobs):
    x, labels, test, test_labels = blobs
    zero = x.copy()
    zero[7] = 0.0
    with pytest.raises(ZeroNormError, match="got 1 zero rows, the first is row 7"):
        featdiv.knn_probe(zero, labels)
    for arguments, message in [
        ({"k": 0}, "k: expected a positive integer"),
        ({"k": ()}, "k: expected at least one; got none"),
        ({"vote": "rank"}, "vote: expected one of 'exp', 'uniform'; got 'rank'"),
        ({"temperature": 0.0}, "temperature: expected positive numbers; got 0.0"),
        ({"distance": "dot"}, "distance: expected one of 'cosine', 'l2'"),
        ({"select": "test"}, "select: expected one of 'evaluated', 'train'"),
        ({"duplicates": 2.0}, "duplicates: expected a cosine"),
        ({"protocol": "dinov9"}, "expected one of dinov2-knn"),
        ({"protocol": "dinov2-logreg"}, "prescribes nothing for knn_probe"),
        ({"per_class": 0}, "per_class: expected a positive integer"),
        ({"per_class": 2, "select": "train"}, "expected neither neighbours= nor select='train'"),
        ({"per_class": 2, "seeds": []}, "seeds: expected their number, or whole numbers of at least 0"),
        ({"per_class": 2, "seeds": [-1]}, "seeds: expected their number, or whole numbers of at least 0"),
    ]:
        with pytest.raises(InputError, match=message):
            featdiv.knn_probe(x, labels, test=test, test_labels=test_labels, **arguments)
    with pytest.raises(
        NotEnoughData, match="per_class: expected 100 training rows of every class; fir, oak have fewer"
    ):
        featdiv.knn_probe(x, labels, per_class=100)


def test_the_result_is_json_and_a_frame_and_a_picture(blobs):
    pytest.importorskip("pandas")
    x, labels, test, test_labels = blobs
    probe = featdiv.knn_probe(x, labels, test=test, test_labels=test_labels, k=(1, 20))
    content = json.loads(probe.to_json())
    assert content["type"] == "KnnProbe"
    assert [cell["top1"] for cell in content["cells"]] == list(probe.scores.values())
    assert content["classes"][0] == "ash"
    assert "neighbours" not in content
    frame = probe.to_pandas()
    assert frame["top1"].tolist() == list(probe.scores.values())
    assert (frame["low"] < frame["top1"]).all()
    axes = probe.plot().axes[0]
    assert [line.get_label() for line in axes.lines[:2]] == ["exp, T = 0.07", "uniform"]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [probe.cell(1).top1, probe.cell(20).top1])
    assert "Wu" in probe.cite()
    assert repr(probe).startswith("KnnProbe(k=")


def test_streamed_shards_give_the_same_probe(blobs):
    x, labels, test, test_labels = blobs
    big = np.concatenate([x + shift for shift in (0.0, 0.01, 0.02, 0.03)])
    names = np.tile(labels, 4)
    memory = 4 * 8192 * 10 + 12 * 200 * (5 + 5 + 8) + 4 * 10 * 1100
    near = []
    for budget in (None, memory):
        probe = featdiv.knn_probe(big, names, test=test, test_labels=test_labels, k=5, memory=budget, duplicates=1.0)
        near.append(probe.neighbours.indices)
    np.testing.assert_array_equal(*near)


def test_a_table_from_a_file_is_enough(tmp_path, blobs):
    x, labels, *_ = blobs
    Neighbours.of(x, k=10).save(tmp_path / "near.npz")
    probe = featdiv.knn_probe(x, labels, neighbours=Neighbours.load(tmp_path / "near.npz"), k=(1, 10))
    assert dict(probe.scores) == dict(featdiv.knn_probe(x, labels, k=(1, 10)).scores)


def test_errors_about_rows_name_the_arguments_of_the_probe():
    x, labels = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    broken = x.copy()
    broken[3] = 0.0
    with pytest.raises(ZeroNormError, match=r"^knn_probe: train: .* the first is row 3") as caught:
        featdiv.knn_probe(broken, labels, k=3)
    assert caught.value.first_row == 3
    with pytest.raises(featdiv.errors.NonFiniteError, match=r"^knn_probe: test: expected finite rows"):
        featdiv.knn_probe(x, labels, test=x * np.nan, test_labels=labels, k=3)
    with pytest.raises(InputError, match="knn_probe: test: expected d=3 features, like train; got d=2"):
        featdiv.knn_probe(x, labels, test=x[:, :2], test_labels=labels, k=3)


def test_an_unknown_backend_is_refused_with_those_there_are():
    x, labels = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    with pytest.raises(InputError, match=r"expected one of auto, faiss, native, numpy, torch, .*reference; got 'cuvs'"):
        featdiv.knn_probe(x, labels, k=3, backend="cuvs")


def test_without_faiss_the_own_op_searches_and_says_so(monkeypatch, blobs):
    x, labels, test, test_labels = blobs
    arguments = {"test": test, "test_labels": test_labels, "k": (1, 20)}
    expected = featdiv.knn_probe(x, labels, **arguments)
    monkeypatch.setitem(sys.modules, "faiss", None)
    for index, backend in (("IVF4,Flat", "auto"), ("HNSW16", "auto"), ("flat", "faiss")):
        with pytest.raises(MissingDependency, match=r"'faiss', which is not installed; .*featdiv\[faiss\]"):
            featdiv.knn_probe(x, labels, index=index, backend=backend, **arguments)
    monkeypatch.setattr(_native, "missing", lambda: "it is not built")
    found = featdiv.knn_probe(x, labels, **arguments)
    assert dict(found.scores) == dict(expected.scores)
    assert found.provenance.backends == {"neighbours": "numpy"}
    assert (
        "neither the native module nor FAISS is there, which search faster: it is not built" in found.provenance.notes
    )


def test_the_length_of_rows_does_not_matter_to_cosines(blobs):
    x, labels, test, test_labels = blobs
    lengths = np.random.default_rng(0).uniform(1e-3, 1e3, size=(900, 1))
    arguments = {"test_labels": test_labels, "k": (1, 20)}
    plain = featdiv.knn_probe(x.astype(np.float64), labels, test=test.astype(np.float64), **arguments)
    scaled = featdiv.knn_probe(x * lengths[:700], labels, test=test * lengths[700:], **arguments)
    assert dict(scaled.scores) == dict(plain.scores)


def test_float16_rows_do_not_overflow_at_a_low_temperature(blobs):
    x, labels, test, test_labels = blobs
    halves = x.astype(np.float16), test.astype(np.float16)
    wide = [rows.astype(np.float64) for rows in halves]
    arguments = {"test_labels": test_labels, "k": 20, "vote": "exp", "temperature": 0.005}  # exp(200) is beyond float16
    with np.errstate(over="raise", invalid="raise"):
        found = featdiv.knn_probe(halves[0], labels, test=halves[1], **arguments)
        share = found.probabilities()
    assert np.isfinite(share).all()
    np.testing.assert_allclose(share.sum(axis=1), 1.0, rtol=1e-5)
    model = KNeighborsClassifier(20, metric="cosine", algorithm="brute", weights=lambda far: np.exp(-far / 0.005))
    np.testing.assert_allclose(share, model.fit(wide[0], labels).predict_proba(wide[1]), atol=2e-4)
