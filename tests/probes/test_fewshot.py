from __future__ import annotations

import collections
import itertools

import numpy as np
import pytest

import featdiv
from featdiv import BudgetExceeded, ClassMoments, InputError, NonFiniteError, NotEnoughData
from featdiv.probes.fewshot_episodes import Episodes, accuracies, distinct
from featdiv.testing import cases


def by_loops(x, members, drawn):
    found = []
    for classes, places in zip(drawn.classes, drawn.places, strict=True):
        rows = [members[k][place] for k, place in zip(classes, places, strict=True)]
        centroids = np.array([x[index[: drawn.shots]].mean(axis=0) for index in rows])
        right = [
            ((x[i] - centroids) ** 2).sum(axis=1).argmin() == way
            for way, index in enumerate(rows)
            for i in index[drawn.shots :]
        ]
        found.append(np.mean(right))
    return np.array(found)


@pytest.mark.parametrize("shots", [1, 4])
def test_every_episode_has_the_accuracy_that_loops_give(shots):
    x, labels = cases.labelled(500, 9, 7, between=0.8, offset=3.0)
    members = [np.flatnonzero(labels == k) for k in range(7)]
    counts = np.array([len(index) for index in members])
    random = np.random.default_rng(0)
    drawn = Episodes.draw(counts, ways=3, shots=shots, queries=6, episodes=40, random=random)
    found, _ = accuracies(x.astype(np.float32), np.concatenate(members), counts, drawn)
    assert found == pytest.approx(by_loops(x, members, drawn), abs=1e-12)
    for index, places in zip(drawn.classes, drawn.places, strict=True):
        assert len(set(index)) == 3
        for k, place in zip(index, places, strict=True):
            assert len(set(place)) == shots + 6
            assert 0 <= place.min() <= place.max() < counts[k]


@pytest.mark.parametrize(("size", "k", "limit"), [(4, 3, 49.7), (5, 2, 43.8), (2, 1, 10.8)])
def test_every_ordered_choice_is_equally_likely(size, k, limit):
    found = distinct(np.random.default_rng(0), np.full(60_000, size), k)
    counts = collections.Counter(map(tuple, found.tolist()))
    choices = set(itertools.permutations(range(size), k))
    assert set(counts) == choices
    expected = 60_000 / len(choices)
    chi_squared = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi_squared < limit  # the 99.9 % point of chi squared with one degree of freedom less than choices


def test_sizes_of_all_kinds_are_drawn_from_together():
    sizes = np.array([3, 1000, 3, 9, 10, 50])
    found = distinct(np.random.default_rng(0), np.tile(sizes, 500), 3)
    assert (found < np.tile(sizes, 500)[:, None]).all()
    assert (np.diff(np.sort(found, axis=1), axis=1) > 0).all()
    assert [set(found[place::6].ravel().tolist()) for place in (0, 3)] == [set(range(3)), set(range(9))]


def test_classes_far_apart_are_told_apart_and_equal_ones_are_not():
    labels = np.repeat(np.arange(6), 70)
    noise = np.random.default_rng(0).normal(size=(420, 6))
    assert featdiv.fewshot_probe(50.0 * np.eye(6)[labels] + noise, labels).scores == {
        "1_shot": 1.0,
        "5_shot": 1.0,
        "20_shot": 1.0,
        "50_shot": 1.0,
    }
    probe = featdiv.fewshot_probe(noise, labels, shots=5)
    assert probe.scores["5_shot"] == pytest.approx(0.2, abs=0.03)


def test_the_interval_is_that_of_the_mean_over_episodes():
    x, labels = cases.labelled(800, 6, 5, between=0.7)
    probe = featdiv.fewshot_probe(x, labels, shots=(2, 3), ways=3, queries=10, episodes=200)
    for row, shots in enumerate((2, 3)):
        values, interval = probe.accuracies[row], probe.intervals[f"{shots}_shot"]
        half = 1.96 * values.std(ddof=1) / np.sqrt(200)
        assert (interval.low, interval.high) == pytest.approx((values.mean() - half, values.mean() + half))
    assert [line["shots"] for line in probe.table()] == [2, 3]
    assert "3-way" in repr(probe)


def test_a_large_offset_changes_little():
    x, labels = cases.labelled(800, 6, 5, between=0.7)
    expected = featdiv.fewshot_probe(x, labels, shots=3, ways=3, episodes=100).scores["3_shot"]
    moved = featdiv.fewshot_probe(x + 1000.0, labels, shots=3, ways=3, episodes=100).scores["3_shot"]
    assert moved == pytest.approx(expected, abs=1e-3)


def test_seeds_and_other_numbers_of_shots():
    x, labels = cases.labelled(800, 6, 5, between=0.7)
    alone = featdiv.fewshot_probe(x, labels, shots=3, ways=3, episodes=50)
    among = featdiv.fewshot_probe(x, labels, shots=(1, 3), ways=3, episodes=50)
    assert among.scores["3_shot"] == alone.scores["3_shot"]
    other = featdiv.fewshot_probe(x, labels, shots=3, ways=3, episodes=50, seed=1)
    assert other.scores["3_shot"] != alone.scores["3_shot"]


def test_a_protocol_sets_the_shots_and_says_where_it_is_left():
    x, labels = cases.labelled(800, 6, 5, between=0.7)
    probe = featdiv.fewshot_probe(x, labels, protocol="ericsson2021", episodes=20)
    assert probe.shots == (5, 20, 50)
    assert probe.provenance.definition == "ericsson2021@1"
    assert probe.provenance.notes == ("departs from protocol ericsson2021@1: episodes: 20 instead of 600",)
    protocol, recorded = featdiv.protocols.get("ericsson2021"), probe.provenance.arguments
    assert [found.parameter for found in protocol.differences(recorded, function="fewshot_probe")] == ["episodes"]
    assert protocol.unrecorded(recorded, function="fewshot_probe") == ()
    with pytest.raises(InputError, match="prescribes nothing for fewshot_probe"):
        featdiv.fewshot_probe(x, labels, protocol="dinov2-knn")


def test_small_classes_are_left_out_and_said_so():
    x, labels = cases.labelled(900, 6, 6, between=0.7)
    counts = np.bincount(labels)
    probe = featdiv.fewshot_probe(x, labels, shots=(1, 100), ways=4, queries=15, episodes=20)
    assert probe.shots == (1,)
    assert probe.eligible == (int((counts >= 16).sum()),)
    with pytest.raises(NotEnoughData, match="4 classes with at least 115 rows are needed"):
        probe.read("100_shot")


def test_unit_rows_ignored_rows_and_files(tmp_path):
    x, labels = cases.labelled(400, 6, 4, between=0.7)
    names = np.array(["a", "b", "c", "d"])[labels]
    unit = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    expected = featdiv.fewshot_probe(unit, names, shots=2, ways=3, episodes=30)
    scaled = featdiv.fewshot_probe(3.0 * x, names, shots=2, ways=3, episodes=30, normalize="l2")
    assert scaled.scores["2_shot"] == pytest.approx(expected.scores["2_shot"], abs=2e-3)
    np.save(tmp_path / "rows.npy", unit)
    assert featdiv.fewshot_probe(tmp_path / "rows.npy", names, shots=2, ways=3, episodes=30).scores == expected.scores
    more = np.r_[unit, np.zeros((5, 6), np.float32)]
    kept = featdiv.fewshot_probe(more, np.r_[names, ["?"] * 5], shots=2, ways=3, episodes=30, ignore="?")
    assert kept.scores == expected.scores
    assert kept.provenance.n == 400


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, y: featdiv.fewshot_probe(x, y, shots=0), InputError, "shots: expected a positive integer"),
        (lambda x, y: featdiv.fewshot_probe(x, y, shots=()), InputError, "shots: expected at least one"),
        (lambda x, y: featdiv.fewshot_probe(x, y, ways=1), InputError, "ways: expected at least 2"),
        (lambda x, y: featdiv.fewshot_probe(x, y), NotEnoughData, "5 classes with at least 16 rows are needed; 3 of 3"),
        (lambda x, y: featdiv.fewshot_probe(ClassMoments.of(x, y)), InputError, "expected labelled rows"),
        (lambda x, y: featdiv.fewshot_probe(iter([x]), y), InputError, "rows that can be picked by index"),
        (lambda x, y: featdiv.fewshot_probe(x, y, memory=100, normalize="l2"), BudgetExceeded, "of 4 bytes need"),
        (lambda x, y: featdiv.fewshot_probe(x * np.nan, y, ways=2, queries=2, shots=1), NonFiniteError, "first"),
        (
            lambda x, y: featdiv.fewshot_probe((x * np.inf).astype(np.float32), y, ways=2, queries=2, shots=1),
            NonFiniteError,
            "first",
        ),
        (
            lambda x, y: featdiv.fewshot_probe(x * 1e30, y, ways=2, queries=2, shots=1),
            InputError,
            "fewshot_probe: x: expected squared",
        ),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    x, labels = cases.labelled(200, 4, 3)
    with pytest.raises(error, match=message):
        call(x, labels)


def test_a_file_is_held_in_its_own_type_and_an_array_not_at_all(tmp_path):
    x, labels = cases.labelled(300, 6, 5, between=0.7)
    x = x.astype(np.float16)
    np.save(tmp_path / "rows.npy", x)
    expected = featdiv.fewshot_probe(x, labels, shots=2, episodes=30, memory=100)
    held = featdiv.fewshot_probe(tmp_path / "rows.npy", labels, shots=2, episodes=30, memory=2 * x.size)
    assert held.scores == expected.scores == featdiv.fewshot_probe(x.astype(float), labels, shots=2, episodes=30).scores
    with pytest.raises(BudgetExceeded, match="of 2 bytes need"):
        featdiv.fewshot_probe(tmp_path / "rows.npy", labels, shots=2, episodes=30, memory=2 * x.size - 1)
    assert set(held.provenance.backends) == {"nearest_centroid"}
