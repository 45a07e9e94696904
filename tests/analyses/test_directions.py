from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

import featdiv


@pytest.fixture
def rows():
    """(400, 6) rows whose features are independent, of standard deviations 5, 4, 3, 2, 1, 1."""
    return np.random.default_rng(0).normal(size=(400, 6)) * [5.0, 4.0, 3.0, 2.0, 1.0, 1.0]


def test_directions_are_the_right_singular_vectors(rows):
    found = featdiv.directions(rows, k=3)
    centred = rows - rows.mean(axis=0)
    _, sigma, vectors = np.linalg.svd(centred)
    assert np.abs(np.einsum("ij,ij->i", found.components, vectors[:3])) == pytest.approx(np.ones(3), abs=1e-9)
    assert found.shares == pytest.approx((sigma**2 / (sigma**2).sum())[:3])
    assert found.scores["direction_1"] == found.shares[0]


def test_ends_are_the_extreme_projections_about_the_mean(rows):
    found = featdiv.directions(rows + 100.0, k=2, extremes=4)
    along = (rows - rows.mean(axis=0)) @ found.components.T
    for place in range(2):
        order = np.argsort(along[:, place])
        assert found.low[place].tolist() == order[:4].tolist()
        assert found.high[place].tolist() == order[::-1][:4].tolist()
        assert found.low_values[place] == pytest.approx(along[order[:4], place])
        assert found.high_values[place] == pytest.approx(along[order[::-1][:4], place])


def test_chunks_change_nothing_and_of_equal_rows_the_first_is_taken(rows):
    twice = np.concatenate([rows, rows])
    whole = featdiv.directions(twice, k=2, extremes=3)
    chunked = featdiv.directions(featdiv.open(twice, chunk_rows=7), k=2, extremes=3)
    assert chunked.low.tolist() == whole.low.tolist()
    assert [row % 400 for row in whole.high[0, :2]] == [whole.high[0, 0]] * 2
    assert whole.high[0, 0] < whole.high[0, 1]


def test_unit_rows(rows):
    found = featdiv.directions(rows, k=1, extremes=1, normalize="l2")
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert found.high[0, 0] == ((unit - unit.mean(axis=0)) @ found.components[0]).argmax()


def test_the_sign_is_fixed_and_directions_are_orthogonal(rows):
    found = featdiv.directions(rows, k=6)
    assert found.components @ found.components.T == pytest.approx(np.eye(6), abs=1e-9)
    largest = np.abs(found.components).argmax(axis=1)
    assert (found.components[np.arange(6), largest] > 0).all()


def test_what_the_other_side_lacks(rows):
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    other = rows[:, [0, 2, 4]] @ turn  # all but features 1, 3 and 5
    found = featdiv.directions(rows, other=other, k=3, other_name="half")
    assert np.abs(found.components).argmax(axis=1).tolist() == [1, 3, 5]
    assert found.explained == pytest.approx(np.zeros(3), abs=0.05)
    assert found.shares == pytest.approx(np.array([16.0, 4.0, 1.0]) / 56.0, rel=0.15)
    assert found.other == "half"


def test_nothing_is_missing_from_a_rotation(rows):
    other = rows @ np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0] + 7.0
    assert featdiv.directions(rows, other=other, k=6).explained == pytest.approx(np.ones(6), abs=1e-3)


def test_noise_explains_nothing_that_was_left_out_of_the_fit(rows):
    noise = np.random.default_rng(2).normal(size=(400, 200))
    assert featdiv.directions(rows, other=noise, k=2).explained.max() < 0.1


def test_without_centring_they_are_the_right_singular_vectors_of_the_rows(rows):
    rows = rows + np.arange(6.0)
    found = featdiv.directions(rows, k=3, extremes=2, center=False)
    _, sigma, vectors = np.linalg.svd(rows, full_matrices=False)
    assert np.abs(np.einsum("ij,ij->i", found.components, vectors[:3])) == pytest.approx(np.ones(3), abs=1e-9)
    assert found.shares == pytest.approx((sigma**2 / (sigma**2).sum())[:3])
    along = rows @ found.components[0]
    assert found.high_values[0] == pytest.approx(np.sort(along)[::-1][:2])
    assert found.low[0].tolist() == np.argsort(along)[:2].tolist()
    page = featdiv.report(found)
    assert "of the sum of squares" in page
    assert "of the variance" not in page
    assert "of the variance" in featdiv.report(featdiv.directions(rows, k=3))


def test_main_part_and_rest_by_sums_of_singular_values():
    # Deng et al. (2023): singular values 5, 3, 1, 1 of which the first two hold 80 % of the sum.
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.normal(size=(size, 4)))[0] for size in (50, 4))
    x = u * [5.0, 3.0, 1.0, 1.0] @ v.T
    sigma = featdiv.spectrum(x, center=False).singular_values
    assert sigma == pytest.approx([5.0, 3.0, 1.0, 1.0])
    components = featdiv.directions(x, k=2, extremes=1, center=False).components
    main = x @ components.T @ components
    assert main == pytest.approx(u[:, :2] * [5.0, 3.0] @ v[:, :2].T)
    assert x - main == pytest.approx(u[:, 2:] @ v[:, 2:].T)


def images(n):
    return [np.full((40, 80, 3), [row % 256, 0, 255], dtype=np.uint8) for row in range(n)]


def test_pictures_are_small_and_of_their_rows(rows):
    found = featdiv.directions(rows, images(400), k=2, extremes=3, thumbnail=32)
    assert set(found.thumbnails) == {int(row) for row in [*found.low.ravel(), *found.high.ravel()]}
    for row, uri in found.thumbnails.items():
        head, _, data = uri.partition(",")
        assert head in ("data:image/png;base64", "data:image/jpeg;base64")
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert image.size == (32, 16)
            assert image.convert("RGB").getpixel((9, 9)) == pytest.approx((row % 256, 0, 255), abs=6)


def test_pictures_keep_to_their_budget(rows):
    noise = np.random.default_rng(3).integers(0, 256, size=(400, 64, 64, 3), dtype=np.uint8)
    found = featdiv.directions(rows, noise, k=2, extremes=3, thumbnail=64, image_budget=20_000)
    assert sum(map(len, found.thumbnails.values())) <= 20_000
    assert len(found.thumbnails) == 12
    with pytest.raises(featdiv.InputError, match="do not fit 500 bytes; ask for fewer directions"):
        featdiv.directions(rows, noise, k=2, extremes=3, image_budget=500)


def test_images_of_a_data_set(rows):
    data = featdiv.images(np.stack(images(400)), labels=np.arange(400) % 2)
    assert len(featdiv.directions(rows, data, k=1, extremes=2).thumbnails) == 4


def test_to_pandas(rows):
    pytest.importorskip("pandas")
    table = featdiv.directions(rows, k=2, extremes=3).to_pandas()
    assert table.groupby(["direction", "end"]).size().tolist() == [3] * 4


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"k": 7}, featdiv.InputError, "k: expected at most the 6 features of x; got 7"),
        ({"k": 0}, featdiv.InputError, "k: expected a positive integer"),
        ({"extremes": 0}, featdiv.InputError, "extremes: expected a positive integer"),
        ({"normalize": "l1"}, featdiv.InputError, "normalize: expected one of"),
        ({"images": images(3)}, featdiv.InputError, "images: expected 400 images, one for each row; got 3"),
        ({"images": ["a.png"] * 400}, featdiv.InputError, "images: expected a PIL image or uint8 pixels"),
        ({"other": np.ones((3, 2))}, featdiv.InputError, "rows"),
        ({"other": np.eye(400), "center": False}, featdiv.InputError, "center: expected True with other=; got False"),
    ],
)
def test_what_cannot_be_done(rows, arguments, error, message):
    with pytest.raises(error, match=message):
        featdiv.directions(rows, **arguments)


def test_rows_that_cannot_be_used(rows):
    with pytest.raises(featdiv.InputError, match="expected rows that can be read twice"):
        featdiv.directions(iter([rows]), k=1)
    with pytest.raises(featdiv.NotEnoughData, match="the rows of x are all the same"):
        featdiv.directions(np.ones((10, 3)), k=1)
    assert featdiv.directions(np.ones((10, 3)), k=1, center=False).shares == pytest.approx([1.0])
    with pytest.raises(featdiv.NotEnoughData, match="the rows of x are all zero"):
        featdiv.directions(np.zeros((10, 3)), k=1, center=False)
