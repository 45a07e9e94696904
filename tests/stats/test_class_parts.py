"""Labelled rows dealt to parts: what each part holds, and what is left without it."""

from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv.errors import NonFiniteError
from featdiv.stats import ClassMoments, class_parts, grouped


def test_parts_hold_every_row_once_and_some_of_every_class():
    labels = np.repeat([3, 5, 9], [100, 45, 7])
    parts = class_parts.dealt(labels, None, 5)
    assert np.sort(np.concatenate(parts)).tolist() == list(range(152))
    for part in parts:
        assert set(labels[part]) == {3, 5, 9}
        assert (np.diff(part[labels[part] == 3]) == 1).all()


def test_groups_stay_whole():
    groups = np.repeat(np.arange(11), 6)
    parts = class_parts.dealt(np.arange(66) % 3, groups, 5)
    held = [set(groups[part].tolist()) for part in parts]
    assert sum(len(found) for found in held) == 11
    assert set().union(*held) == set(range(11))


@pytest.mark.parametrize("chunk_rows", [2, 5, 100])
def test_groups_are_dealt_as_rows_without_labels_are(chunk_rows):
    groups = np.array(["z", "b", "z", "y", "a", "b", "c", "d", "y"])
    rows, labels = np.arange(9.0)[:, None], np.arange(9) % 2
    with featdiv.open(rows, labels=labels, groups=groups) as source:
        unlabelled = grouped.read(
            source, function="f", chunk_rows=chunk_rows, buckets=3, use_groups=True, precision="float64"
        ).parts
        labelled = class_parts.read(source, function="f", parts=3, precision="float64")
    assert [part.n for part in labelled] == [part.n for part in unlabelled]
    np.testing.assert_allclose([part.total().mean for part in labelled], [part.mean for part in unlabelled], rtol=1e-12)


@pytest.mark.parametrize(
    ("labels", "groups", "expected"),
    [
        ([0, 0, 1, 1], None, False),
        ([0, 0, 0, 1], None, True),
        ([0, 0, 0, -1], None, False),  # the lone row is ignored
        ([0, 0, 1, 1], ["a", "b", "c", "c"], True),
        ([0, 0, 1, 1], ["a", "b", "a", "b"], False),
    ],
)
def test_a_class_in_one_part_alone_is_noticed(labels, groups, expected):
    annotations = {} if groups is None else {"groups": groups}
    with featdiv.open(np.ones((4, 1)), labels=labels, **annotations) as source:
        assert class_parts.alone(source, 3, ignore=-1) is expected


def test_what_is_left_is_what_the_other_rows_give():
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(300, 4)) + 3.0, np.arange(300) % 3
    labels[:20] = 9  # a label to ignore
    with featdiv.open(rows, labels=labels) as source:
        parts = class_parts.read(source, function="f", parts=5, ignore=9, precision="float64")
    assert sum(part.n for part in parts) == 280
    kept = np.flatnonzero(labels != 9)
    dealt = class_parts.dealt(labels[kept], None, 5)
    for place, rest in enumerate(class_parts.without_each(parts)):
        others = kept[np.concatenate([part for other, part in enumerate(dealt) if other != place])]
        truth = ClassMoments.of(rows[others], labels[others], precision="float64")
        assert rest.counts.tolist() == truth.counts.tolist()
        np.testing.assert_allclose(rest.means, truth.means, rtol=1e-12)
        np.testing.assert_allclose(rest.within, truth.within, rtol=1e-10, atol=1e-10)


def test_a_bad_row_is_named_by_its_place_in_the_source():
    rows = np.ones((60, 2))
    rows[47, 1] = np.nan
    with (
        featdiv.open(rows, labels=np.arange(60) % 2) as source,
        pytest.raises(NonFiniteError, match=r"f: .*row 47") as caught,
    ):
        class_parts.read(source, function="f", parts=5)
    assert caught.value.first_row == 47
