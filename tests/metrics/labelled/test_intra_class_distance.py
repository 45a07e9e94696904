from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv import ClassMoments, InputError, NotEnoughData, ZeroNormError
from featdiv.metrics.labelled import intra_class_distance
from featdiv.metrics.labelled import rows as labelled_rows


def by_pairs(x, labels, power):
    """Every pair in a loop, as the definition reads."""
    u = np.asarray(x, dtype=np.float64)
    u = u / np.linalg.norm(u, axis=1, keepdims=True)
    means = []
    for label in sorted(set(np.asarray(labels).tolist())):
        part = u[np.asarray(labels) == label]
        distances = [
            np.linalg.norm(part[i] - part[j]) ** power for i in range(len(part)) for j in range(i + 1, len(part))
        ]
        if distances:
            means.append(np.mean(distances))
    return np.mean(means)


@pytest.fixture
def some():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 4, size=60)
    return rng.normal(size=(60, 9)) + 0.5 * labels[:, None], labels


@pytest.mark.parametrize(("definition", "power"), [("euclidean", 1), ("squared", 2)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_it_is_the_mean_over_pairs_then_classes(definition, power, dtype, some):
    x, labels = some[0].astype(dtype), some[1]
    score = featdiv.intra_class_distance(x, labels, definition=definition, precision="float64")
    assert score.value == pytest.approx(by_pairs(x, labels, power), rel=1e-12)
    assert list(score.details["per_class"]) == [0, 1, 2, 3]


def test_orthogonal_rows_are_sqrt_two_apart():
    x = np.concatenate([np.eye(6), 3.0 * np.eye(6)])
    assert float(featdiv.intra_class_distance(x, np.repeat([0, 1], 6))) == pytest.approx(np.sqrt(2.0), rel=1e-7)


def test_blocks_and_large_classes_change_nothing(some, monkeypatch):
    x, labels = some
    whole = by_pairs(x, labels, 1)
    monkeypatch.setattr(labelled_rows, "BLOCK_ROWS", 4)
    monkeypatch.setattr(intra_class_distance, "SLAB_ROWS", 8)
    assert float(featdiv.intra_class_distance(x, labels, precision="float64")) == pytest.approx(whole, rel=1e-13)
    # No class fits: its blocks are read from the source one by one.
    monkeypatch.setattr(labelled_rows, "GATHER_BYTES", 1)
    assert float(featdiv.intra_class_distance(x, labels, precision="float64")) == pytest.approx(whole, rel=1e-13)


def test_float32_products_are_enough(some):
    x, labels = some
    score = featdiv.intra_class_distance(x, labels)
    assert score.value == pytest.approx(by_pairs(x, labels, 1), rel=2e-7)
    assert (score.provenance.precision, list(score.provenance.backends)) == ("float32", ["pair_sums"])


def test_a_file_is_read_class_by_class(some, tmp_path):
    x, labels = some
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", labels)
    score = featdiv.intra_class_distance(tmp_path / "x.npy", tmp_path / "y.npy")
    assert score.value == pytest.approx(by_pairs(x, labels, 1), rel=1e-6)
    assert "x.npy" in score.provenance.source


def test_copies_far_from_the_origin_keep_their_small_distances():
    rng = np.random.default_rng(3)
    x = np.array([1.0, 1.0, 1.0, 1.0]) + 1e-6 * rng.normal(size=(50, 4))
    score = featdiv.intra_class_distance(x, np.zeros(50, dtype=int))
    assert score.value == pytest.approx(by_pairs(x, np.zeros(50), 1), rel=1e-6)
    kept = ClassMoments.of(x, np.zeros(50, dtype=int), normalize="l2", per_class=True, precision="float64")
    squared = featdiv.intra_class_distance(kept, definition="squared")
    assert squared.value == pytest.approx(by_pairs(x, np.zeros(50), 2), rel=1e-6)


def test_equal_rows_are_at_no_distance():
    assert float(featdiv.intra_class_distance(np.ones((10, 3)), [0, 1] * 5)) == pytest.approx(0.0, abs=1e-12)


def test_a_class_of_one_row_is_left_out_and_said_so(some):
    x, labels = some
    labels = np.append(labels[:-1], 77)
    for definition, power in (("euclidean", 1), ("squared", 2)):
        score = featdiv.intra_class_distance(x, labels, definition=definition, precision="float64")
        assert score.value == pytest.approx(by_pairs(x, labels, power), rel=1e-12)
        assert score.details["per_class"][77] is None
        assert score.details["classes_of_one_row"] == 1
        assert "1 classes of one row have no pair" in score.provenance.notes[0]
        score.to_json()


@pytest.mark.parametrize("definition", ["euclidean", "squared"])
def test_no_class_of_two_rows_is_not_enough(definition):
    with pytest.raises(NotEnoughData, match="intra_class_distance: a pair needs 2 rows of a class; the largest of 4"):
        featdiv.intra_class_distance(np.eye(4), [0, 1, 2, 3], definition=definition)


def test_squared_from_merged_halves_and_euclidean_from_none(some):
    x, labels = some
    halves = [ClassMoments.of(x[part], labels[part], normalize="l2") for part in (slice(20), slice(20, None))]
    score = featdiv.intra_class_distance(halves[0] + halves[1], definition="squared")
    assert score.value == pytest.approx(by_pairs(x, labels, 2), rel=1e-12)
    with pytest.raises(InputError, match="mean Euclidean distances need the rows; got ClassMoments"):
        featdiv.intra_class_distance(halves[0])


def test_zero_rows_are_refused_with_their_place(some):
    x, labels = some
    x[[41, 17]] = 0.0
    for definition in ("euclidean", "squared"):
        with pytest.raises(ZeroNormError, match=r"intra_class_distance: x: .* got 2 zero rows") as e:
            featdiv.intra_class_distance(x, labels, definition=definition)
        assert e.value.first_row == 17


def test_euclidean_needs_rows_by_index(some):
    x, labels = some
    chunks = iter([(x[:30], labels[:30]), (x[30:], labels[30:])])
    with pytest.raises(InputError, match="expected rows that can be picked by index; got an iterable"):
        featdiv.intra_class_distance(chunks)
    chunks = iter([(x[:30], labels[:30]), (x[30:], labels[30:])])
    score = featdiv.intra_class_distance(chunks, definition="squared")
    assert score.value == pytest.approx(by_pairs(x, labels, 2), rel=1e-6)


def test_tensors_are_rows(some):
    torch = pytest.importorskip("torch")
    x, labels = some
    score = featdiv.intra_class_distance(torch.from_numpy(x), torch.from_numpy(labels))
    assert score.value == pytest.approx(by_pairs(x, labels, 1), rel=1e-6)


def test_the_core_takes_arrays(some):
    assert intra_class_distance.core(*some) == pytest.approx(by_pairs(*some, 1), rel=1e-12)
