from __future__ import annotations

import math

import pytest

import featdiv


def test_mean_of_logits_not_logit_of_the_mean():
    found = featdiv.log_odds({"a": 0.9, "b": 0.5, "c": 0.99})
    assert float(found) == pytest.approx((math.log(9) + 0 + math.log(99)) / 3)
    mean = (0.9 + 0.5 + 0.99) / 3
    assert abs(float(found) - math.log(mean / (1 - mean))) > 0.3
    assert found.details["logits"]["a"] == pytest.approx(2.1972, abs=1e-4)


def test_percent_is_the_same_number():
    one, other = featdiv.log_odds({"a": 0.9, "b": 0.4}), featdiv.log_odds({"a": 90, "b": 40}, scale="percent")
    assert float(one) == pytest.approx(float(other), rel=1e-12)


def test_ends_are_clipped_to_half_an_image():
    found = featdiv.log_odds({"a": 1.0, "b": 0.0, "c": 1.0}, test_images={"a": 50, "b": 50, "c": 5000})
    assert found.details["logits"] == pytest.approx({"a": math.log(99), "b": -math.log(99), "c": math.log(9999)})


@pytest.mark.parametrize(
    ("accuracies", "arguments", "error", "message"),
    [
        ({"a": 1.0}, {}, featdiv.InputError, "the logit of 0 or 1 is infinite; give test_images="),
        ({"a": 80.0}, {}, featdiv.InputError, r"in \[0, 1\] on the scale 'fraction'; got 80; give scale 'percent'"),
        ({"a": -0.1}, {}, featdiv.InputError, "got -0.1$"),
        ({"a": 0.5}, {"scale": "raw"}, featdiv.InputError, "expected a scale among fraction, percent; got 'raw'"),
        ({"a": 0.5}, {"test_images": 0}, featdiv.InputError, "test_images: expected a whole number"),
        ({"a": 0.5}, {"test_images": {"b": 3}}, featdiv.InputError, "expected a number of images for 'a'"),
        ({"a": None, "b": 0.5}, {}, featdiv.NotEnoughData, "'a' has none"),
        ({"a": {"m": 0.5}}, {}, featdiv.InputError, "expected a mapping from data sets to accuracies; got a table"),
    ],
)
def test_what_cannot_be_done(accuracies, arguments, error, message):
    with pytest.raises(error, match=message):
        featdiv.log_odds(accuracies, **arguments)
