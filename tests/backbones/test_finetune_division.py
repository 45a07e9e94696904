from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv.backbones.finetune_division import Pool, divide
from featdiv.errors import InputError, NotEnoughData

pytest.importorskip("PIL.Image", reason="Pillow is not installed; pip install 'featdiv[vision]' installs it")


def test_images_are_decoded_once_where_they_are_kept():
    decoded = []

    class Counting:
        classes = ("a", "b")

        def __len__(self):
            return 4

        def __getitem__(self, index):
            decoded.append(index)
            return np.zeros((2, 2, 3), dtype=np.uint8), index % 2

    for keep, expected in ((True, 4), (False, 8)):
        data = featdiv.images(Counting())
        decoded.clear()
        pool = Pool([data], np.arange(4) % 2, keep=keep)
        for _ in range(2):
            for row in range(4):
                _ = pool[row]
        assert len(decoded) == expected


def test_a_held_out_share_of_every_class_is_disjoint_from_the_rest():
    labels = np.repeat([0, 1, 2], [20, 10, 5])
    pixels = np.broadcast_to(np.arange(35, dtype=np.uint8)[:, None, None], (35, 2, 2))
    data = featdiv.images(np.ascontiguousarray(pixels), labels=labels)
    parts = divide(data, val=None, test=None, holdout=0.2, seed=0, keep=False, function="demo")
    assert parts.chosen_on == "holdout"
    seen = [
        [np.asarray(pool[i][0])[0, 0, 0] for i in range(len(pool))] for pool in (parts.train, parts.val, parts.both)
    ]
    assert not set(seen[0]) & set(seen[1])
    assert sorted(seen[2]) == list(range(35))
    assert np.bincount(parts.val.labels).tolist() == [4, 2, 1]
    assert [labels[value] for value in seen[2]] == parts.both.labels.tolist()


def test_a_data_set_without_train_is_refused(tmp_path, write):
    for name in ("cat", "dog"):
        write(tmp_path / "test" / name / "0.png")
        write(tmp_path / "val" / name / "0.png")
    with pytest.raises(InputError, match=r"demo: data: expected a split 'train' to learn from; .* has val, test"):
        divide(tmp_path, val=None, test=None, holdout=0.2, seed=0, keep=False, function="demo")


def tagged(table, names=("sky", "sea", "cat")):
    """Images whose pixels are their own number, with several classes each."""
    table = np.asarray(table)
    pixels = np.broadcast_to(np.arange(len(table), dtype=np.uint8)[:, None, None], (len(table), 2, 2))
    return featdiv.images(np.ascontiguousarray(pixels), labels=table, classes=list(names)[: table.shape[1]])


def divided(data, **arguments):
    return divide(
        data, **{"val": None, "test": None, "holdout": 0.25, "seed": 0, "keep": False, **arguments}, function="f"
    )


def test_of_several_classes_a_share_of_the_rarest_is_held_out():
    table = np.zeros((24, 3), dtype=int)
    table[:, 0] = 1
    table[8:20, 1] = 1
    table[16:20, 2] = 1
    table[20:, :] = 0
    parts = divided(tagged(table))
    rows = [int(np.asarray(parts.val[i][0])[0, 0, 0]) for i in range(len(parts.val))]
    # 8 images of sky alone, 8 whose rarest is the sea, 4 whose rarest is the cat, 4 of nothing: a quarter of each.
    assert [sum(start <= row < stop for row in rows) for start, stop in ((0, 8), (8, 16), (16, 20), (20, 24))] == [
        2,
        2,
        1,
        1,
    ]
    np.testing.assert_array_equal(parts.val.labels, table[rows])
    assert parts.classes == ("sky", "sea", "cat")


def test_columns_are_matched_by_name_and_empty_ones_left_out():
    train = tagged([[1, 0, 1], [1, 0, 0], [0, 0, 1]])
    test = tagged([[0, 0, 1], [1, 0, 0]], ("cat", "sea", "sky"))
    parts = divided(train, val=train, test=test)
    assert parts.classes == ("sky", "cat")
    np.testing.assert_array_equal(parts.train.labels, [[1, 1], [1, 0], [0, 1]])
    np.testing.assert_array_equal(parts.test.labels, [[1, 0], [0, 1]])
    with pytest.raises(InputError, match=r"f: test: .* has classes that the training images lack: 'sea'"):
        divided(train, val=train, test=tagged([[0, 1, 0]]))


def test_labels_of_two_kinds_and_images_without_any():
    train = tagged([[1, 0, 1], [1, 0, 0], [0, 0, 1]])
    one = featdiv.images(np.zeros((2, 2, 2), dtype=np.uint8), labels=["sky", "cat"])
    with pytest.raises(InputError, match=r"f: test: images of .* have one class, those to learn from may have several"):
        divided(train, val=train, test=one)
    with pytest.raises(InputError, match="f: data: expected images that have classes; no image has any"):
        divided(tagged(np.zeros((3, 3), dtype=int)))
    with pytest.raises(NotEnoughData, match=r"f: val: none of the 2 images in .* has a class"):
        divided(train, val=tagged(np.zeros((2, 3), dtype=int)))
