from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
from PIL import Image

from featdiv.backbones.decoding import UnreadableImage, decode, from_array
from featdiv.errors import FormatError, InputError

NOISE = np.random.default_rng(0).integers(0, 256, size=(32, 32), dtype=np.uint8)
RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def encoded(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def pixels(data):
    image = decode(data, "x")
    assert image.mode == "RGB"
    return np.asarray(image)


def test_grey_becomes_three_equal_channels():
    np.testing.assert_array_equal(pixels(encoded(Image.fromarray(RAMP))), np.repeat(RAMP[:, :, None], 3, axis=2))


def test_sixteen_bit_grey_keeps_its_levels():
    deep = RAMP.astype(np.uint16) * 257
    for format in ("PNG", "TIFF"):
        np.testing.assert_array_equal(pixels(encoded(Image.fromarray(deep), format))[:, :, 1], RAMP)
    dark = RAMP.astype(np.uint16)
    np.testing.assert_array_equal(pixels(encoded(Image.fromarray(dark)))[:, :, 0], np.rint(RAMP / 257.0))


def test_transparency_is_dropped():
    rgba = np.dstack([RAMP, RAMP.T, RAMP, np.full_like(RAMP, 3)])
    np.testing.assert_array_equal(pixels(encoded(Image.fromarray(rgba))), rgba[:, :, :3])
    grey_alpha = Image.merge("LA", [Image.fromarray(RAMP), Image.fromarray(RAMP)])
    np.testing.assert_array_equal(pixels(encoded(grey_alpha))[:, :, 2], RAMP)


def test_palette_and_one_bit():
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putdata([0, 1])
    assert pixels(encoded(palette)).tolist() == [[[255, 0, 0], [0, 0, 255]]]
    assert pixels(encoded(palette, transparency=1))[0, 0].tolist() == [255, 0, 0]
    assert pixels(encoded(Image.new("1", (1, 1), 1))).tolist() == [[[255, 255, 255]]]


def test_cmyk_jpeg():
    red = pixels(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100))[4, 4]
    assert red[0] > 240
    assert red[1:].max() < 15


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file has no bytes"),
        (b"GIF? no, text", r"not an image that Pillow knows \(13 bytes, beginning 47 49 46 3f\)"),
        (encoded(Image.fromarray(RAMP), "JPEG")[:-200], "damaged or truncated"),
        (encoded(Image.fromarray(NOISE))[:900], "damaged or truncated"),
        (encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF"), "floating-point pixels"),
        (encoded(Image.fromarray(RAMP.astype(np.int32) - 5), "TIFF"), "are no grey levels"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_names_the_image(data, reason):
    with pytest.raises(UnreadableImage, match=reason) as caught:
        decode(data, "cats/7.png")
    assert caught.value.id == "cats/7.png"
    assert "corrupt='skip'" in str(caught.value)
    assert isinstance(caught.value, FormatError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.id, again.reason, str(again)) == (caught.value.id, caught.value.reason, str(caught.value))


def test_a_decompression_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UnreadableImage, match="too large to be decoded safely"):
        decode(encoded(Image.fromarray(RAMP)), "x")


def test_arrays_of_either_layout():
    rgb = np.random.default_rng(0).integers(0, 256, size=(5, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(from_array(rgb, "x")), rgb)
    np.testing.assert_array_equal(np.asarray(from_array(np.moveaxis(rgb, 2, 0), "x")), rgb)
    np.testing.assert_array_equal(np.asarray(from_array(rgb[:, :, :1], "x"))[:, :, 2], rgb[:, :, 0])
    with pytest.raises(InputError, match=r"item 3: expected uint8 pixels .* got float64 of shape \(5, 6\)"):
        from_array(np.zeros((5, 6)), "item 3")
