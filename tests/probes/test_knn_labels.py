"""Labels and groups of a kNN probe: what bad ones get, and what groups do to intervals."""

from __future__ import annotations

import json

import numpy as np
import pytest

import featdiv
from featdiv.errors import InputError, NotEnoughData
from featdiv.probes.proportion import of_rows


def test_bad_labels(blobs):
    x, labels, test, test_labels = blobs
    with pytest.raises(InputError, match="labels: expected one label for each row of train; got none"):
        featdiv.knn_probe(x)
    with pytest.raises(InputError, match="test_labels: expected one label for each row of test; got none"):
        featdiv.knn_probe(x, labels, test=test)
    with pytest.raises(InputError, match="test_labels: expected test= with them"):
        featdiv.knn_probe(x, labels, test_labels=test_labels)
    with pytest.raises(NotEnoughData, match="labels: expected at least two classes; got only oak"):
        featdiv.knn_probe(x, ["oak"] * 700)
    strange = test_labels.copy()
    strange[:3] = ["yew", "pine", "yew"]
    with pytest.raises(InputError, match=r"classes that train has; pine, yew \(of 3 rows\) are not among them"):
        featdiv.knn_probe(x, labels, test=test, test_labels=strange)
    with pytest.raises(InputError, match="test_labels: expected strings, as the training labels are; got integers"):
        featdiv.knn_probe(x, labels, test=test, test_labels=np.zeros(200, int))
    codes = np.unique(labels, return_inverse=True)[1]
    codes[4] = -1
    with pytest.raises(
        InputError, match=r"knn_probe: train: labels: .* got -1, which marks a missing label\. Use ignore=-1 to leave"
    ):
        featdiv.knn_probe(x, codes)
    with pytest.raises(InputError, match="labels: expected 700 entries"):
        featdiv.knn_probe(x, labels[:-1])


def test_rows_in_groups_tell_no_more_than_groups_do(blobs):
    x, labels, test, test_labels = blobs
    times = 8
    copies, names = np.repeat(test, times, axis=0), np.repeat(test_labels, times)
    once = featdiv.knn_probe(x, labels, test=test, test_labels=test_labels, k=5).cells[0].interval
    groups = [f"video {i}" for i in np.repeat(np.arange(200), times)]
    found = featdiv.knn_probe(x, labels, test=copies, test_labels=names, test_groups=groups, k=5).cells[0].interval
    assert (found.groups, found.method) == (200, "Wilson, rows in groups")
    assert (found.low, found.high) == pytest.approx((once.low, once.high), abs=0.003)
    pretended = featdiv.knn_probe(x, labels, test=copies, test_labels=names, k=5).cells[0].interval
    assert found.high - found.low > 2.5 * (pretended.high - pretended.low)


def test_groups_of_the_rows_left_out_may_come_with_them(blobs):
    x, labels, *_ = blobs
    groups = np.arange(700) % 90
    probe = featdiv.knn_probe(x, labels, groups=groups, k=(5, 20))
    for cell in probe.cells:
        right = probe.predictions(cell) == labels
        assert cell.interval == of_rows(right, groups, estimand="leave-one-out accuracy of these rows")
    assert any("rows of one group vote for one another" in note for note in probe.provenance.notes)
    carried = featdiv.knn_probe(featdiv.open(x, labels=labels, groups=groups), k=(5, 20))
    assert dict(carried.intervals) == dict(probe.intervals)
    stream = ((x[i : i + 100], labels[i : i + 100]) for i in range(0, 700, 100))
    assert dict(featdiv.knn_probe(stream, groups=groups, k=(5, 20)).intervals) == dict(probe.intervals)
    assert not featdiv.knn_probe(x, labels, groups=[0] * 700, k=5).intervals
    with pytest.raises(InputError, match="knn_probe: test_groups: expected test= with them"):
        featdiv.knn_probe(x, labels, test_groups=groups)
    with pytest.raises(InputError, match="groups: expected 700 entries"):
        featdiv.knn_probe(x, labels, groups=groups[:-1])


def test_a_class_that_test_lacks_and_numbers_without_a_class_count_for_nothing(blobs):
    x, labels, test, test_labels = blobs
    codes = 10 * np.unique(labels, return_inverse=True)[1] + 3  # classes 3, 13 … 53; nothing between
    truth = 10 * np.searchsorted(np.unique(labels), test_labels) + 3
    asked = truth != 13
    probe = featdiv.knn_probe(x, codes, test=test[asked], test_labels=truth[asked], k=10, vote="exp")
    assert probe.classes.tolist() == [3, 13, 23, 33, 43, 53]
    right = probe.predictions() == truth[asked]
    per_class = [right[truth[asked] == label].mean() for label in (3, 23, 33, 43, 53)]
    assert np.isnan(probe.per_class()).tolist() == [False, True, False, False, False, False]
    assert probe.cells[0].mean_per_class == pytest.approx(np.mean(per_class))
    assert json.loads(probe.to_json())["counts"][1] == 0
