from __future__ import annotations

import pytest
import torch
from torch import nn

from featdiv.backbones import load_model
from featdiv.backbones.finetune_network import Start

pytest.importorskip("timm", reason="timm is not installed; pip install 'featdiv[vision]' installs it")


def started(model, mode="full", name=None, size=None, classes=7):
    return Start(model, name, mode, classes, size, "demo")


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
@pytest.mark.parametrize("mode", ["full", "frozen", "scratch"])
def test_timm_networks_get_a_classifier(name, mode):
    model = load_model(name, pretrained=False, options={"num_classes": 3})
    network, heads = started(model, mode, name).make(1)
    size = model.data_config["input_size"][-1]
    assert network.eval()(torch.zeros(2, 3, size, size)).shape == (2, 7)
    learning = {id(value) for value in network.parameters() if value.requires_grad}
    classifier = {id(value) for head in heads for value in head.parameters()}
    assert classifier
    assert learning == (classifier if mode == "frozen" else {id(value) for value in network.parameters()})
    first = next(iter(network.state_dict()))
    drawn_anew = not torch.equal(network.state_dict()[first], model.module.state_dict()[first])
    assert drawn_anew == (mode == "scratch")
    assert model.module.num_classes == 3


def test_the_classifier_depends_on_the_seed_alone():
    model = load_model("test_resnet", pretrained=False)
    weights = [started(model).make(seed)[1][0].weight for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_last_linear_layer_of_a_module_is_replaced():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Flatten()
            self.head = nn.Sequential(nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 4))

        def forward(self, x):
            return self.head(self.body(x))

    module = Net()
    network, (head,) = started(load_model(module)).make(0)
    assert (head.in_features, head.out_features) == (5, 7)
    assert network.head[2] is head
    assert module.head[2].out_features == 4
    assert network(torch.zeros(1, 3, 2, 2)).shape == (1, 7)


def test_networks_of_transformers_get_one_on_their_pooled_features():
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=16, patch_size=8
    )
    model = load_model(transformers.ViTModel(config))
    network, (head,) = started(model, "frozen").make(0)
    x = torch.randn(2, 3, 16, 16)
    logits = network.eval()(x)
    rows = network.backbone.eval()(pixel_values=x).last_hidden_state[:, 0]
    torch.testing.assert_close(logits, head(rows))
    logits.sum().backward()
    assert head.weight.grad is not None
    assert all(value.grad is None for value in network.backbone.parameters())
