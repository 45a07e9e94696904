from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv.backbones.image_labels import numbered
from featdiv.errors import InputError, NotEnoughData

pytest.importorskip("PIL.Image", reason="Pillow is not installed; pip install 'featdiv[vision]' installs it")

PIXELS = np.zeros((3, 4, 4), dtype=np.uint8)


@pytest.mark.parametrize(
    ("labels", "classes", "names", "table"),
    [
        (np.array([[1, 0], [1, 1], [0, 0]]), None, ("0", "1"), [[1, 0], [1, 1], [0, 0]]),
        (np.array([[True], [False], [True]]), ["cat"], ("cat",), [[1], [0], [1]]),
        ([[0, 2], [], [1]], None, ("0", "1", "2"), [[1, 0, 1], [0, 0, 0], [0, 1, 0]]),
        ([["sea"], ["sky", "sea"], []], None, ("sea", "sky"), [[1, 0], [1, 1], [0, 0]]),
        (
            [["sea"], ["sky", "sea"], []],
            ["sky", "sun", "sea"],
            ("sky", "sun", "sea"),
            [[0, 0, 1], [1, 0, 1], [0, 0, 0]],
        ),
    ],
)
def test_images_with_several_classes(labels, classes, names, table):
    data = featdiv.images(PIXELS, labels=labels, classes=classes)
    assert data.multilabel
    assert data.classes == names
    np.testing.assert_array_equal(data.labels, table)
    assert data.counts == dict(zip(names, np.sum(table, axis=0).tolist(), strict=True))
    np.testing.assert_array_equal(data[1][1], table[1])
    np.testing.assert_array_equal(data.subset([2, 0]).labels, np.asarray(table)[[2, 0]])


def test_one_class_an_image_is_not_several():
    data = featdiv.images(PIXELS, labels=[0, 1, 0])
    assert not data.multilabel
    table = featdiv.images(PIXELS, labels=np.array([[1, 0], [0, 1], [1, 0]]))
    assert table.fingerprint != data.fingerprint


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (np.array([[2, 0], [1, 1], [0, 0]]), None, r"a \(n, c\) table of 0 and 1 .*; got int64 of shape \(3, 2\)"),
        (np.array([[1, 0], [1, 1], [0, 0]]), ["a"], "the table of labels has 2 columns; there are 1 class names"),
        (np.array([[1, 0]]), None, "expected 3, one for each image"),
        ([[0], [-1], [1]], None, "expected for each image a list of names, or of numbers from 0 on; got -1"),
        ([["a"], ["b"], ["c"]], ["a", "b"], "labels 'c' are not among the class names"),
        ([[0, 0, 1], [1], [0]], None, r"image 0 names a class twice .* Pass a table of 0 and 1 as an array"),
    ],
)
def test_labels_that_make_no_sense(labels, classes, message):
    with pytest.raises(InputError, match=message):
        featdiv.images(PIXELS, labels=labels, classes=classes)


def test_parts_of_different_shapes_are_refused():
    with pytest.raises(InputError, match="here: expected labels of one shape"):
        numbered([np.zeros((2, 2), dtype=int), np.zeros((2, 3), dtype=int)], None, "here")


def test_lists_in_parquet_files_and_hugging_face_datasets(tmp_path):
    import io

    from PIL import Image

    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    buffer = io.BytesIO()
    Image.new("L", (2, 2)).save(buffer, "PNG")
    pictures = [{"bytes": buffer.getvalue(), "path": None}] * 3
    lists = [["sea", "sky"], [], ["sky"]]
    pyarrow.parquet.write_table(pa.table({"image": pictures, "label": lists}), tmp_path / "tagged.parquet")
    expected = [[1, 1], [0, 0], [0, 1]]
    data = featdiv.images(tmp_path / "tagged.parquet")
    assert data.classes == ("sea", "sky")
    np.testing.assert_array_equal(data.labels, expected)
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Sequence(datasets.Value("string"))})
    made = datasets.Dataset.from_dict({"image": pictures, "label": lists}, features=features)
    np.testing.assert_array_equal(featdiv.images(made).labels, expected)


def test_features_of_such_images_have_no_moments_of_classes(run, pixels, tmp_path):
    table = np.random.default_rng(0).integers(0, 2, size=(50, 3))
    data = featdiv.images(pixels, labels=table)
    features = run(data=data, out=tmp_path)
    np.testing.assert_array_equal(np.load(features.directory / "labels.npy"), table)
    with pytest.raises(NotEnoughData, match="images with several classes have no class of their own"):
        _ = features.class_moments
    assert run(data=data, store=False).moments.n == 50
