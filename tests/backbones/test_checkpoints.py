from __future__ import annotations

import pytest
import torch

from featdiv.backbones import load_model
from featdiv.errors import InputError

timm = pytest.importorskip("timm", reason="timm is not installed; pip install 'featdiv[vision]' installs it")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(5)
    return timm.create_model("test_resnet", pretrained=False, num_classes=10).eval()


@pytest.fixture(scope="module")
def averaged(network):
    return {name: value + 1 for name, value in network.state_dict().items()}


@pytest.mark.parametrize(
    ("content", "entry", "passed"),
    [
        (lambda own, other: {"state_dict": own, "state_dict_ema": other, "epoch": 3}, None, "state_dict_ema"),
        (lambda own, other: {"state_dict": other, "state_dict_ema": own}, "state_dict_ema", None),
        (
            lambda own, other: {"student": other, "teacher": {f"backbone.{k}": v for k, v in own.items()}},
            "teacher",
            None,
        ),
        (
            lambda own, other: {
                "state_dict": {f"m.q.{k}": v for k, v in own.items()} | {f"m.k.{k}": v for k, v in other.items()}
            },
            "m.q",
            None,
        ),
        (lambda own, other: {"net": own, "optimizer": {"state": {0: {"momentum": other["fc.bias"]}}}}, None, None),
    ],
)
def test_a_part_of_a_checkpoint(network, averaged, tmp_path, content, entry, passed):
    torch.save(content(network.state_dict(), averaged), tmp_path / "parts.pt")
    model = load_model("test_resnet", checkpoint=tmp_path / "parts.pt", entry=entry)
    own = model.module.state_dict()
    assert all(torch.equal(own[name], value) for name, value in network.state_dict().items())
    assert model.weights == "checkpoint parts.pt" + (f" ({entry})" if entry else "")
    assert [passed in note for note in model.notes] == ([True] if passed else [])


def test_a_part_that_is_not_clear_or_not_there(network, averaged, tmp_path):
    torch.save({"student": averaged, "teacher": network.state_dict()}, tmp_path / "both.pt")
    with pytest.raises(
        InputError, match=r"holds weights under 'student', 'teacher'; say which with load_model\(\.\.\., entry="
    ):
        load_model("test_resnet", checkpoint=tmp_path / "both.pt")
    with pytest.raises(InputError, match=r"entry: no weights under 'ema', .*; it holds 'student', 'teacher'"):
        load_model("test_resnet", checkpoint=tmp_path / "both.pt", entry="ema")
    with pytest.raises(InputError, match=r"entry: 'ema' is a part of a checkpoint; pass checkpoint=, too"):
        load_model("test_resnet", entry="ema")
