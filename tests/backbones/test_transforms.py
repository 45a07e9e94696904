from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv.backbones.transforms import prepare, prescribed, size_wanted
from featdiv.errors import InputError

pytest.importorskip("timm", reason="timm is not installed; pip install 'featdiv[vision]' installs it")
Image = pytest.importorskip("PIL.Image")

OWN = {"input_size": (3, 64, 64), "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "crop_pct": 0.9}


@pytest.mark.parametrize(("protocol", "resized"), [("dinov2-knn", 256), ("dinov2-logreg", 224), ("ericsson2021", 224)])
def test_a_protocol_prepares_images_as_its_file_says(protocol, resized):
    """Pillow's own bicubic resize of the short side, and the middle 224 x 224 of it."""
    pixels = np.random.default_rng(0).integers(0, 256, size=(300, 500, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    made = prepare("model", OWN, protocol=protocol, function="demo")
    assert made.input_size == (3, 224, 224)
    width = round(resized * 500 / 300)
    width -= width * 300 > resized * 500
    small = np.asarray(image.resize((width, resized), Image.Resampling.BICUBIC))
    top, left = round((resized - 224) / 2), round((width - 224) / 2)
    expected = small[top : top + 224, left : left + 224]
    found = np.rint(made.transform(image).permute(1, 2, 0).numpy() * 255).astype(int)
    np.testing.assert_array_equal(found, expected)


def test_every_protocol_of_the_package_prepares_images():
    for name in featdiv.protocols.names():
        parameters = featdiv.protocols.get(name).parameters_of("extract")
        found = prescribed(name, function="demo")
        if name == "kornblith2019":
            assert {parameters[key] for key in ("resize", "crop", "interpolation")} == {"model"}
            assert found == {}
            continue
        assert found["input_size"] == (3, parameters["crop"], parameters["crop"])
        assert found["crop_pct"] * parameters["resize"] == pytest.approx(parameters["crop"])
        assert found["interpolation"] == parameters["interpolation"]
        assert name in featdiv.protocols.names()
    with pytest.raises(InputError, match=r"demo: protocol: expected one of .*ericsson2021.*; got 'none2000'"):
        prescribed("none2000", function="demo")


def test_what_is_given_goes_before_the_protocol():
    made = prepare({"input_size": (3, 32, 32)}, OWN, protocol="ericsson2021", function="demo")
    assert made.input_size == (3, 32, 32)
    assert "interpolation bicubic" in made.text
    assert size_wanted({"input_size": (3, 32, 32)}, "ericsson2021", function="demo") == (3, 32, 32)
    assert size_wanted("model", "ericsson2021", function="demo") == (3, 224, 224)
    assert size_wanted("model", None, function="demo") is None
    assert size_wanted(len, None, function="demo") is None


def test_kornblith_takes_each_network_at_its_own_size():
    assert (
        prepare("model", OWN, protocol="kornblith2019", function="demo").text
        == prepare("model", OWN, function="demo").text
    )
    assert size_wanted("model", "kornblith2019", function="demo") is None
