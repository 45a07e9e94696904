"""Models, state dicts and files: the same weights, the same layers."""

from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv import FormatError, InputError, SourceNotFound

torch = pytest.importorskip("torch")


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = torch.nn.Linear(8, 24)
        self.proj = torch.nn.Linear(8, 8)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(11, 8)
        self.stem = torch.nn.Conv2d(3, 8, 3)
        self.norm = torch.nn.BatchNorm2d(8)
        self.depthwise = torch.nn.Conv2d(8, 8, 3, groups=8)
        self.grouped = torch.nn.Conv2d(8, 12, 3, groups=4, bias=False)
        self.attn = Block()
        self.mha = torch.nn.MultiheadAttention(8, 2)
        self.up = torch.nn.ConvTranspose2d(6, 4, 2, groups=2)
        self.scale = torch.nn.Parameter(torch.ones(3, 4))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


def layers(found):
    return {layer.name: (layer.kind, layer.filters, layer.fan_in, layer.blocks) for layer in found.layers}


def test_the_layers_of_a_module(net):
    found = featdiv.filter_diversity(net)
    assert layers(found) == {
        "stem.weight": ("convolution", 8, 27, 1),
        "depthwise.weight": ("convolution", 8, 9, 1),
        "grouped.weight": ("convolution", 12, 18, 4),
        "attn.qkv.weight": ("attention", 24, 8, 1),
        "attn.proj.weight": ("linear", 8, 8, 1),
        "mha.in_proj_weight": ("attention", 24, 8, 1),
        "mha.out_proj.weight": ("linear", 8, 8, 1),
        "up.weight": ("convolution", 4, 12, 2),
    }
    assert found.skipped["embed.weight"].startswith("a lookup table")
    assert found.skipped["scale"].startswith("not the weight of a convolution")
    assert found.skipped["norm.weight"].startswith("one-dimensional")
    assert found.skipped["norm.running_mean"].startswith("one-dimensional")
    assert set(found.skipped) | set(layers(found)) == set(net.state_dict())
    assert found.provenance.source == "Net"


class Frozen(torch.nn.Module):
    """Batch normalisation as detection models freeze it: everything is a buffer."""

    def __init__(self):
        super().__init__()
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.ones(4))


def test_frozen_normalisations_are_skipped_and_listed():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, bias=False), Frozen())
    for found in (featdiv.filter_diversity(model), featdiv.filter_diversity(model.state_dict())):
        assert list(layers(found)) == ["0.weight"]
        assert list(found.skipped) == ["1.weight", "1.bias", "1.running_mean", "1.running_var"]
        assert {rule.partition(":")[0] for rule in found.skipped.values()} == {"one-dimensional"}


def test_transposed_convolutions_have_outputs_second(net):
    found = featdiv.filter_diversity(torch.nn.Sequential(net.up))
    # Inputs 0-2 feed outputs 0-1 of group 0: filters (outputs), each of 3 inputs x 2 x 2.
    w = net.up.weight.detach().double().numpy()
    parts = [np.swapaxes(half, 0, 1).reshape(2, 12) for half in np.split(w, 2)]
    cosines = [abs(a @ b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in parts]
    assert found.cosine == pytest.approx(1.0 - np.mean(cosines), rel=1e-12)


def test_a_state_dict_with_groups_is_the_module(net):
    del net.up, net.scale
    found = featdiv.filter_diversity(net)
    state = featdiv.filter_diversity(net.state_dict(), groups={"grouped": 4, "depthwise.weight": 8})
    assert layers(state) == layers(found)
    assert dict(state.scores) == dict(found.scores)
    assert state.skipped["norm.running_mean"].startswith("one-dimensional")


def test_heads_of_a_module(net):
    found = layers(featdiv.filter_diversity(net, split_heads=2))
    assert found["attn.qkv.weight"] == ("attention", 24, 8, 6)
    assert found["mha.in_proj_weight"] == ("attention", 24, 8, 6)
    assert found["attn.proj.weight"] == ("linear", 8, 8, 1)


def test_query_and_key_of_other_widths():
    mha = torch.nn.MultiheadAttention(8, 2, kdim=6, vdim=4)
    found = layers(featdiv.filter_diversity(mha, split_heads=2))
    assert found["k_proj_weight"] == ("attention", 8, 6, 2)
    assert found["q_proj_weight"] == ("attention", 8, 8, 2)


def test_shared_weights_count_once():
    a, b = torch.nn.Linear(5, 5), torch.nn.Linear(5, 5)
    b.weight = a.weight
    found = featdiv.filter_diversity(torch.nn.Sequential(a, b))
    assert list(layers(found)) == ["0.weight"]
    assert found.skipped["1.weight"] == "the same weights as 0.weight"


def test_parametrised_weights_are_what_the_layer_uses():
    layer = torch.nn.Linear(6, 4)
    expected = dict(featdiv.filter_diversity(torch.nn.Sequential(layer)).scores)
    wrapped = torch.nn.utils.parametrizations.weight_norm(layer)
    assert dict(featdiv.filter_diversity(torch.nn.Sequential(wrapped)).scores) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights(dtype):
    w = torch.randn(8, 6, generator=torch.Generator().manual_seed(1)).to(dtype)
    found = featdiv.filter_diversity({"l.weight": w})
    assert dict(found.scores) == dict(featdiv.filter_diversity({"l.weight": w.double().numpy()}).scores)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_files(suffix, net, tmp_path):
    import safetensors.torch

    path = tmp_path / f"model{suffix}"
    save = safetensors.torch.save_file if suffix == ".safetensors" else torch.save
    save(net.state_dict(), path)
    found = featdiv.filter_diversity(path)
    assert dict(found.scores) == dict(featdiv.filter_diversity(net.state_dict()).scores)
    assert found.provenance.source == str(path)


def test_checkpoints_wrap_their_state_dict(net, tmp_path):
    path = tmp_path / "checkpoint.pt"
    moments = {"state": {0: {"exp_avg.weight": torch.ones(3, 3)}}}
    torch.save({"epoch": 3, "optimizer": moments, "model": net.state_dict()}, path)
    assert layers(featdiv.filter_diversity(path)) == layers(featdiv.filter_diversity(net.state_dict()))


def test_files_from_before_archives(net, tmp_path):
    path = tmp_path / "old.pth"
    torch.save(net.state_dict(), path, _use_new_zipfile_serialization=False)
    assert layers(featdiv.filter_diversity(path)) == layers(featdiv.filter_diversity(net.state_dict()))


class Evil:
    def __reduce__(self):
        return print, ("never",)


def test_files_with_objects_are_never_run(tmp_path, capsys):
    path = tmp_path / "evil.pt"
    torch.save({"l.weight": torch.eye(3), "more": Evil()}, path)
    with pytest.raises(FormatError, match=r"filter_diversity: model: .*evil\.pt: torch cannot read it as weights"):
        featdiv.filter_diversity(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_damaged_files(suffix, net, tmp_path):
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(b"not a checkpoint at all")
    with pytest.raises(FormatError, match=r"filter_diversity: model: .*cut"):
        featdiv.filter_diversity(path)


def test_no_file_and_no_mapping(tmp_path):
    with pytest.raises(SourceNotFound, match=r"filter_diversity: model: .*none\.pt: there is no such file"):
        featdiv.filter_diversity(tmp_path / "none.pt")
    torch.save(torch.eye(3), tmp_path / "one.pt")
    with pytest.raises(FormatError, match="expected a state dict, a mapping of names to tensors; got Tensor"):
        featdiv.filter_diversity(tmp_path / "one.pt")


def test_weights_without_values_are_refused():
    with torch.device("meta"):
        empty = torch.nn.Linear(3, 3)
    for layer in (empty, torch.nn.LazyLinear(4)):
        with pytest.raises(InputError, match=r"0\.weight: expected weights; got a parameter without values"):
            featdiv.filter_diversity(torch.nn.Sequential(layer))
