from __future__ import annotations

import functools
import os
import subprocess
import sys

import pytest
import torch

import featdiv
from featdiv.backbones.code_words import words_for, words_for_module


def by(factor):
    return lambda x: x * factor


class Crop:
    """Prepares by a method; knows what it is."""

    def __init__(self, side):
        self.side = side

    def __repr__(self):
        return f"Crop({self.side})"

    def apply(self, image):
        return [image[: self.side] for _ in range(2)]


def test_words_tell_functions_apart_by_code_and_what_they_hold():
    assert words_for(by(2)) == words_for(by(2))
    assert words_for(by(2)) != words_for(by(3))
    assert words_for(lambda x: x + 1) != words_for(lambda x: x - 1)
    assert words_for(lambda x: [y + 1 for y in x]) != words_for(lambda x: [y - 1 for y in x])
    assert words_for(object()) == ""


@pytest.mark.parametrize(
    "made",
    [lambda held: functools.partial(sorted, key=by(held)), lambda held: Crop(held).apply, lambda held: [by(held)]],
)
def test_what_methods_partial_calls_and_lists_hold_counts(made):
    assert words_for(made(2)) == words_for(made(2)) != words_for(made(3))
    assert words_for(made(2))


def test_methods_of_what_has_no_words_have_none():
    class Silent:
        def apply(self, image):
            return image

    assert words_for(Silent().apply) == ""


def test_functions_inside_transforms_of_torchvision_count():
    pytest.importorskip("timm", reason="timm is not installed; pip install 'featdiv[vision]' installs it")
    from torchvision import transforms
    from torchvision.transforms import v2

    for vision in (transforms, v2):
        # Their repr is the same whatever the function does.
        two, same, three = (vision.Compose([vision.Lambda(by(factor))]) for factor in (2, 2, 3))
        assert repr(two) == repr(three)
        assert words_for(two) == words_for(same) != words_for(three)
    assert words_for(transforms.Compose([by(2)])) != words_for(transforms.Compose([by(3)]))
    assert words_for(transforms.CenterCrop(3)) == "CenterCrop(size=(3, 3))"


def test_words_do_not_follow_the_seed_of_hashes():
    script = (
        "from featdiv.backbones.code_words import words_for\nprint(words_for(lambda x: x in {'a', 'b', 'c', 'd', 'e'}))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1


def network(*, changed=False):
    """Two networks that only the code of their forward pass tells apart."""

    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body = torch.nn.Linear(4, 3)

        if changed:

            def forward(self, x):
                return self.body(x.flatten(1)[:, :4]) + 1.0

        else:

            def forward(self, x):
                return self.body(x.flatten(1)[:, :4])

    torch.manual_seed(0)
    return Own()


def test_networks_of_ones_own_are_known_by_their_code(tmp_path):
    assert words_for_module(torch.nn.Sequential(torch.nn.Linear(2, 2))) == ""
    data = featdiv.images(torch.zeros(5, 8, 8, dtype=torch.uint8))

    def to_tensor(image):
        return torch.ones(3, 8, 8)

    first, again, other = (
        featdiv.extract(module, data, layer="output", transform=to_tensor, out=tmp_path)
        for module in (network(), network(), network(changed=True))
    )
    assert first.directory == again.directory != other.directory
    torch.testing.assert_close(torch.from_numpy(other.take([0])), torch.from_numpy(first.take([0])) + 1.0)
    assert first.extraction["weights_hash"] == other.extraction["weights_hash"]
    assert first.extraction["code"] != other.extraction["code"]
