from __future__ import annotations

import io
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

import featdiv
from featdiv.backbones.decoding import UnreadableImage
from featdiv.errors import FormatError, InputError, SourceNotFound


def encoded(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_folder_with_splits(folder):
    data = featdiv.images(folder)
    assert (len(data), data.classes, data.splits) == (8, ("cat", "dog"), ("train", "test"))
    assert data.counts == {"cat": 4, "dog": 4}
    train, test = data.split("train"), data.split("test")
    assert train.labels.tolist() == [0, 0, 0, 1, 1]
    assert test.ids.tolist() == ["test/cat/0.png", "test/dog/0.png", "test/dog/1.png"]
    image, label = test[-1]
    assert label == 1
    np.testing.assert_array_equal(np.asarray(image), np.asarray(Image.open(folder / "test" / "dog" / "1.png")))
    assert test.splits == ()
    assert "[test]" in test.description
    with pytest.raises(InputError, match=r"expected one of the splits \('train', 'test'\); got 'val'"):
        data.split("val")
    with pytest.raises(IndexError):
        test[3]


def test_folder_of_classes_and_folder_of_images(folder, write):
    classes = featdiv.images(str(folder / "train"))
    assert classes.splits == ()
    assert [label for _, label in classes] == [0, 0, 0, 1, 1]
    bare = featdiv.images(folder / "train" / "cat")
    assert bare.labels is None
    assert bare.classes == ()
    assert bare[0][1] == -1
    assert bare.counts == {}


def test_names_of_splits_have_aliases(tmp_path, write):
    for name in ("Train", "validation"):
        write(tmp_path / name / "a" / "deep" / "x.jpg")
        write(tmp_path / name / ".hidden" / "x.jpg")
        (tmp_path / name / "a" / "notes.txt").write_text("not an image")
    data = featdiv.images(tmp_path)
    assert data.splits == ("train", "val")
    assert data.ids.tolist() == ["Train/a/deep/x.jpg", "validation/a/deep/x.jpg"]


def test_a_class_that_train_lacks(folder, write):
    write(folder / "test" / "wolf" / "0.png")
    with pytest.raises(InputError, match="'test' has 1 classes that 'train' lacks, such as 'wolf'"):
        featdiv.images(folder)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ([], "expected images .* found none"),
        (["a/"], "found none"),
        (["a/x.png", "b/"], "the folders 'b' hold no images"),
        (["a/x.png", "y.png"], "1 images, such as y.png, lie beside the folders of classes"),
        (["train/a/x.png", "more/a/x.png"], r"it holds splits \('train'\) and other folders \('more'\)"),
        (["train/a/x.png", "x.png"], "1 images lie beside the folders of the splits"),
        (["train/a/x.png", "test/x.png"], "'train' has folders of classes and 'test' has none"),
    ],
)
def test_folders_that_make_no_sense(tmp_path, write, layout, message):
    for name in layout:
        if name.endswith("/"):
            (tmp_path / name).mkdir(parents=True)
        else:
            write(tmp_path / name)
    with pytest.raises(InputError, match=message):
        featdiv.images(tmp_path)


def test_what_is_not_there(tmp_path, write):
    write(tmp_path / "pets" / "a" / "x.png")
    with pytest.raises(SourceNotFound, match="did you mean pets"):
        featdiv.images(tmp_path / "pet")
    with pytest.raises(InputError, match="single image files go into a folder"):
        featdiv.images(tmp_path / "pets" / "a" / "x.png")


def test_corrupt_images_are_errors_or_are_listed(folder):
    (folder / "train" / "cat" / "empty.png").write_bytes(b"")
    whole = (folder / "train" / "dog" / "0.png").read_bytes()
    (folder / "train" / "dog" / "half.png").write_bytes(whole[: len(whole) // 2])
    data = featdiv.images(folder).split("train")
    assert len(data) == 7
    with pytest.raises(UnreadableImage, match=r"cat.empty\.png: the file has no bytes"):
        data[3]
    assert [name.rpartition("/")[2] for name, _ in data.unreadable()] == ["empty.png", "half.png"]
    with pytest.raises(InputError, match=r"featdiv\.images: progress: expected None or a function .*images in all"):
        data.unreadable(progress=5)
    seen = []
    kept = featdiv.images(folder, corrupt="skip", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (10, 10)
    assert [skipped.reason.partition(" (")[0] for skipped in kept.skipped] == [
        "the file has no bytes",
        "damaged or truncated",
    ]
    assert kept.split("train").labels.tolist() == [0, 0, 0, 1, 1]
    assert "2 skipped" in repr(kept)
    for path in folder.rglob("*.png"):
        path.write_bytes(b"no")
    with pytest.raises(InputError, match="none of the 10 images can be read"):
        featdiv.images(folder, corrupt="skip")
    with pytest.raises(InputError, match="corrupt: expected 'raise' or 'skip'; got 'drop'"):
        featdiv.images(folder, corrupt="drop")


def test_the_fingerprint_is_of_the_content(folder, tmp_path, write):
    before = featdiv.images(folder).fingerprint
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    assert featdiv.images(moved).fingerprint == before
    write(moved / "train" / "cat" / "0.png", seed=99)
    assert featdiv.images(moved).fingerprint != before
    data = featdiv.images(folder)
    assert data.subset(np.arange(8)).fingerprint == before
    assert data.subset(np.arange(7)).fingerprint != before
    assert data.subset([1, 0, 2, 3, 4, 5, 6, 7]).fingerprint != before


def test_subsets(folder):
    data = featdiv.images(folder)
    chosen = data.subset([7, 0])
    assert chosen.ids.tolist() == ["test/dog/1.png", "train/cat/0.png"]
    assert chosen.labels.tolist() == [1, 0]
    assert chosen.splits == ("train", "test")
    assert len(data.subset(data.labels == 1)) == 4
    for wrong in ([8], [-1], [[0]], [0.5], [True]):
        with pytest.raises(InputError, match=r"featdiv\.Images\.subset: rows: expected indices from 0 to 7"):
            data.subset(wrong)


def test_arrays():
    pixels = np.random.default_rng(0).integers(0, 256, size=(4, 3, 5, 6), dtype=np.uint8)
    data = featdiv.images(pixels, labels=["b", "a", "b", "c"])
    assert data.classes == ("a", "b", "c")
    assert data.labels.tolist() == [1, 0, 1, 2]
    np.testing.assert_array_equal(np.asarray(data[2][0]), np.moveaxis(pixels[2], 0, 2))
    assert featdiv.images(pixels, labels=[0, 2, 0, 1], classes=["x", "y", "z"]).classes == ("x", "y", "z")
    assert featdiv.images(pixels).fingerprint != featdiv.images(pixels[::-1]).fingerprint
    for arguments, message in (
        ({"data": pixels / 255.0}, "expected uint8 images"),
        ({"data": pixels, "labels": [0, 1]}, r"expected 4, one for each image of array; got shape \(2,\)"),
        ({"data": pixels, "labels": [0, 1, 2, 3], "classes": ["x"]}, "label 3 has no name; there are 1 class names"),
        ({"data": pixels, "labels": [0, 1, 2, -7]}, "expected labels from 0 on, or -1 for unknown; got -7"),
        ({"data": pixels, "labels": [0.5, 1, 2, 3]}, "expected labels that are integers or names; got float64"),
        ({"data": pixels[:0]}, "expected at least one image"),
        ({"data": iter([])}, "an iterable dataset has no random access"),
    ):
        with pytest.raises(InputError, match=f"(?i){message}"):
            featdiv.images(**arguments)


class Pairs:
    """A data set as torch knows them: images and labels by number."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def test_map_style_datasets():
    pictures = [Image.new("L", (4, 4), 10 * index) for index in range(3)]
    pairs = featdiv.images(Pairs([(picture, label) for picture, label in zip(pictures, (2, 0, 1), strict=True)]))
    assert pairs.labels.tolist() == [2, 0, 1]
    assert pairs.classes == ("0", "1", "2")
    assert pairs[2][0].getpixel((0, 0)) == (20, 20, 20)
    mappings = featdiv.images([{"img": encoded(picture), "label": "ab"[i % 2]} for i, picture in enumerate(pictures)])
    assert mappings.labels.tolist() == [0, 1, 0]
    assert mappings[1][0].getpixel((0, 0)) == (10, 10, 10)
    with_targets = Pairs(pictures)
    with_targets.targets = [1, 1, 0]
    with_targets.classes = ["no", "yes"]
    data = featdiv.images(with_targets)
    assert (data.classes, data.labels.tolist()) == (("no", "yes"), [1, 1, 0])
    assert featdiv.images(Pairs(pictures)).labels is None


def test_torch_tensors_pass_through_where_they_are_prepared():
    import torch

    x = torch.rand(3, 3, 4, 4)
    data = featdiv.images(torch.utils.data.TensorDataset(x, torch.tensor([0, 1, 1])))
    assert data.labels.tolist() == [0, 1, 1]
    assert torch.equal(data[1][0], x[1])


def test_torchvision_datasets():
    pytest.importorskip("torchvision")
    from torchvision.datasets import FakeData

    fake = FakeData(size=5, image_size=(3, 8, 8), num_classes=3)
    data = featdiv.images(fake)
    assert data.labels.tolist() == [fake[index][1] for index in range(5)]
    np.testing.assert_array_equal(np.asarray(data[4][0]), np.asarray(fake[4][0]))


def test_opened_images_pass_through(folder):
    data = featdiv.images(folder)
    assert featdiv.images(data) is data
    with pytest.raises(InputError, match="labels: data that is opened already has its own"):
        featdiv.images(data, labels=[0])
    with pytest.raises(InputError, match="files carry their own"):
        featdiv.images(folder, labels=[0])


def write_parquet(path, pictures, labels, *, metadata=None, column="image", structs=True):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    data = [{"bytes": encoded(p) if p is not None else None, "path": None} for p in pictures]
    if not structs:
        data = [item["bytes"] for item in data]
    table = pa.table({column: data, "label": labels})
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), path, row_group_size=2)


def test_parquet_with_splits_in_the_names(tmp_path):
    pictures = [Image.new("RGB", (4, 4), (index, 0, 0)) for index in range(5)]
    names = {b"class_names": b"zero,one"}
    write_parquet(tmp_path / "toy-train.parquet", pictures[:3], [0, 1, 0], metadata=names)
    write_parquet(tmp_path / "toy-test.parquet", pictures[3:], [1, 1], metadata=names)
    data = featdiv.images(tmp_path)
    assert (data.splits, data.classes) == (("train", "test"), ("zero", "one"))
    assert data.labels.tolist() == [0, 1, 0, 1, 1]
    assert [image.getpixel((0, 0))[0] for image, _ in data] == [0, 1, 2, 3, 4]
    assert [data[index][0].getpixel((0, 0))[0] for index in (4, 0, 3, 1)] == [4, 0, 3, 1]
    assert data.split("test").ids.tolist() == ["toy-test.parquet:0", "toy-test.parquet:1"]
    again = pickle.loads(pickle.dumps(data))
    assert again[4][0].getpixel((0, 0))[0] == 4
    assert again.fingerprint == data.fingerprint
    write_parquet(tmp_path / "other-test.parquet", pictures[3:], [1, 1], metadata=names)
    with pytest.raises(InputError, match=r"several data sets \('other', 'toy'\)"):
        featdiv.images(tmp_path)
    assert len(featdiv.images(tmp_path / "toy-*.parquet")) == 5


def test_parquet_shards_of_the_hub(tmp_path):
    pictures = [Image.new("RGB", (4, 4), (index, 0, 0)) for index in range(3)]
    features = b'{"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}'
    (tmp_path / "data").mkdir()
    for shard in range(3):
        write_parquet(
            tmp_path / "data" / f"train-0000{shard}-of-00003.parquet",
            [pictures[shard]],
            [shard % 2],
            metadata={b"huggingface": features},
        )
    data = featdiv.images(tmp_path)
    assert data.classes == ("cat", "dog")
    assert [image.getpixel((0, 0))[0] for image, _ in data] == [0, 1, 2]


def test_parquet_of_plain_bytes_and_text_labels(tmp_path):
    pictures = [Image.new("RGB", (4, 4)), None]
    write_parquet(tmp_path / "x.parquet", pictures, ["b", "a"], structs=False, column="jpg")
    data = featdiv.images(tmp_path / "x.parquet")
    assert (data.splits, data.classes, data.labels.tolist()) == ((), ("a", "b"), [1, 0])
    with pytest.raises(UnreadableImage, match=r"x\.parquet: row 1: the row holds no image"):
        data[1]
    with pytest.raises(InputError, match="label_key: no column 'nope'"):
        featdiv.images(tmp_path / "x.parquet", label_key="nope")


def test_parquet_errors(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    pyarrow.parquet.write_table(pa.table({"a": [1.0]}), tmp_path / "rows.parquet")
    with pytest.raises(InputError, match="no column of images"):
        featdiv.images(tmp_path / "rows.parquet")
    (tmp_path / "half.parquet").write_bytes((tmp_path / "rows.parquet").read_bytes()[:40])
    with pytest.raises(FormatError, match="not a complete parquet file"):
        featdiv.images(tmp_path / "half.parquet")
    two = {"train": ["0", "1"], "test": ["0", "2"]}
    for split, names in two.items():
        write_parquet(tmp_path / f"{split}.parquet", [Image.new("L", (2, 2))] * 2, names)
    with pytest.raises(InputError, match="'test' has 1 classes that 'train' lacks, such as '2'"):
        featdiv.images(tmp_path / "t*.parquet")


@pytest.mark.filterwarnings("ignore")
def test_hugging_face_datasets():
    datasets = pytest.importorskip("datasets")
    pictures = [Image.new("RGB", (4, 4), (index, 0, 0)) for index in range(4)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    made = datasets.Dataset.from_dict({"image": pictures, "label": [0, 1, 1, 0]}, features=features)
    data = featdiv.images(made)
    assert (data.classes, data.labels.tolist()) == (("cat", "dog"), [0, 1, 1, 0])
    assert data[2][0].getpixel((0, 0)) == (2, 0, 0)
    shuffled = featdiv.images(made.select([3, 1]))
    assert [image.getpixel((0, 0))[0] for image, _ in shuffled] == [3, 1]
    both = featdiv.images(datasets.DatasetDict({"test": made.select([0]), "train": made.select([1, 2, 3])}))
    assert both.splits == ("train", "test")
    assert both.split("test")[0][0].getpixel((0, 0)) == (0, 0, 0)


def test_shared_data_is_read_as_its_readme_says(shared_data):
    pytest.importorskip("pyarrow")
    data = featdiv.images(f"{shared_data}/cifar10-*.parquet")
    assert data.splits == ("train", "test")
    assert (len(data.split("train")), len(data.split("test"))) == (50_000, 10_000)
    assert data.classes[0] == "airplane"
    assert set(data.split("test").counts.values()) == {1000}
    assert data[0][0].size == (32, 32)
    with pytest.raises(InputError, match=r"several data sets \('cifar10', 'mnist', 'sign-digits'\)"):
        featdiv.images(shared_data)
