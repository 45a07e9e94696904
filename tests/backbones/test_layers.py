from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from featdiv.backbones.layers import Capture, Tokens, classifier_of, expand, pooled, tokens_of
from featdiv.backbones.models import Model, load_model
from featdiv.errors import InputError

TOKENS = Tokens(prefix=2, cls=True, channels_last=False)
PLAIN = Tokens(prefix=0, cls=False, channels_last=False)


def pool(value, how, tokens=PLAIN):
    return pooled(torch.as_tensor(value, dtype=torch.float32), how, tokens, "layer", "f").numpy()


def test_tokens():
    value = np.arange(2 * 5 * 3, dtype=float).reshape(2, 5, 3)
    np.testing.assert_array_equal(pool(value, "auto", TOKENS), value[:, 0])
    np.testing.assert_array_equal(pool(value, "cls", TOKENS), value[:, 0])
    np.testing.assert_array_equal(pool(value, "mean", TOKENS), value[:, 2:].mean(axis=1))
    np.testing.assert_array_equal(pool(value, "auto"), value.mean(axis=1))
    np.testing.assert_array_equal(pool(value, "none"), value.reshape(2, 15))
    with pytest.raises(InputError, match="pool: 'layer' has no class token to take"):
        pool(value, "cls")


def test_maps_of_either_layout():
    value = np.random.default_rng(0).uniform(0.1, 2.0, size=(2, 3, 4, 5))
    np.testing.assert_allclose(pool(value, "auto"), value.mean(axis=(2, 3)), rtol=1e-6)
    gem = (value**3).mean(axis=(2, 3)) ** (1 / 3)
    np.testing.assert_allclose(pool(value, "gem"), gem, rtol=1e-5)
    last = Tokens(0, False, True)
    np.testing.assert_allclose(pool(np.moveaxis(value, 1, 3), "gem", last), gem, rtol=1e-5)
    assert (pool(value, "gem") > pool(value, "mean")).all()
    with pytest.raises(InputError, match="gives maps, which have no class token"):
        pool(value, "cls", TOKENS)
    with pytest.raises(InputError, match=r"gives shape \(1, 2, 3, 4, 5\); use pool='none'"):
        pool(np.zeros((1, 2, 3, 4, 5)), "mean")


def test_gem_takes_negative_values_for_its_floor():
    assert pool([[[-5.0], [-1.0]]], "gem")[0, 0] == pytest.approx(1e-6, rel=1e-3)


def test_rows_stay_as_they_are():
    for how in ("auto", "mean", "gem", "cls", "none"):
        np.testing.assert_array_equal(pool([[1.0, 2.0]], how), [[1.0, 2.0]])


def module(network):
    return Model(module=network, name="net", kind="module", weights="weights as given")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(4, 6), nn.Linear(6, 2))
        self.unused = nn.Linear(1, 1)

    def forward(self, x):
        return self.classifier(self.body(x))


def test_the_classifier_is_the_last_linear_layer_of_the_head():
    assert classifier_of(module(Net()), "f") == "classifier.2"
    assert classifier_of(module(nn.Sequential(nn.Flatten(), nn.Linear(2, 2))), "f") == "1"
    with pytest.raises(InputError, match="does not say which layer is its penultimate"):
        classifier_of(module(nn.Sequential(nn.Linear(2, 2), nn.ReLU())), "f")


def test_patterns_and_unknown_names():
    model = module(Net())
    assert expand(model, ["body.*", "penultimate", "classifier.2:input"], "f") == [
        "body.0",
        "body.1",
        "body.2",
        "penultimate",
        "classifier.2:input",
    ]
    assert expand(model, ["body.[01]:input"], "f") == ["body.0:input", "body.1:input"]
    for layers, message in (
        (["boddy"], "net has no layer 'boddy'; did you mean 'body'"),
        (["blocks.*"], "has no layer 'blocks"),
        ("body", "expected a list of names"),
        ([], "expected a list of names"),
        ([3], "expected names; got 3"),
        (["body.0", "body.*"], "'body.0' are meant more than once"),
    ):
        with pytest.raises(InputError, match=message.replace("*", r"\*")):
            expand(model, layers, "f")


def test_capture_of_inputs_and_outputs_equals_a_forward_pass():
    network = Net().eval()
    x = torch.randn(3, 4)
    capture = Capture(module(network), ["output", "body", "penultimate", "classifier.1:input"], "auto", "f")
    with torch.no_grad():
        output, body, penultimate, before = capture(x)
        torch.testing.assert_close(output, network(x))
        torch.testing.assert_close(body, network.body(x))
        torch.testing.assert_close(penultimate, network.classifier[1](network.body(x)))
        torch.testing.assert_close(before, body)
    capture.close()
    with pytest.raises(InputError, match="'unused' was not used in the forward pass of net"):
        Capture(module(network), ["unused"], "auto", "f")(x)


def test_layers_of_timm_models():
    timm = pytest.importorskip("timm")
    vit = load_model(timm.create_model("test_vit", pretrained=False, img_size=32))
    x = torch.randn(2, 3, 32, 32)
    assert tokens_of(vit) == Tokens(prefix=1, cls=True, channels_last=False)
    capture = Capture(vit, expand(vit, ["blocks.*", "penultimate", "output", "head:input"], "f"), "auto", "f")
    assert capture.layers[: len(vit.module.blocks)] == [f"blocks.{i}" for i in range(len(vit.module.blocks))]
    with torch.no_grad():
        rows = dict(zip(capture.layers, capture(x), strict=True))
        tokens = vit.module.forward_features(x)
        torch.testing.assert_close(rows["output"], vit.module(x))
        torch.testing.assert_close(rows["penultimate"], tokens[:, 0])
        torch.testing.assert_close(rows["head:input"], rows["penultimate"])
        last = rows[f"blocks.{len(vit.module.blocks) - 1}"]
        torch.testing.assert_close(vit.module.fc_norm(vit.module.norm(last)), rows["penultimate"])
    capture.close()
    mean = Capture(vit, ["penultimate"], "mean", "f")
    with torch.no_grad():
        torch.testing.assert_close(mean(x)[0], tokens[:, 1:].mean(dim=1))
    mean.close()
    swin = timm.create_model("swin_tiny_patch4_window7_224", pretrained=False, depths=(1, 1), embed_dim=12)
    model = load_model(swin)
    assert tokens_of(model).channels_last
    capture = Capture(model, ["layers.1"], "mean", "f")
    with torch.no_grad():
        (rows,) = capture(torch.randn(1, 3, 224, 224))
    assert rows.shape == (1, 24)
    capture.close()
