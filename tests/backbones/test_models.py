from __future__ import annotations

import json
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch

pytest.importorskip("timm", reason="timm is not installed; pip install 'featdiv[vision]' installs it")
import timm
from safetensors.torch import save_file
from timm.data import create_transform, resolve_model_data_config

import featdiv
from featdiv.backbones import Model, load_model
from featdiv.errors import FormatError, InputError, SourceNotFound

SMALL = {"input_size": (3, 32, 32), "crop_pct": 1.0}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(5)
    return timm.create_model("test_resnet", pretrained=False, num_classes=10).eval()


def same_weights(model, network):
    own, other = model.module.state_dict(), network.state_dict()
    return own.keys() == other.keys() and all(torch.equal(own[name], other[name]) for name in own)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_vit2", "test_convnext", "test_efficientnet"])
def test_penultimate_features_are_those_of_timm_itself(name, pixels):
    from PIL import Image

    features = featdiv.extract(name, pixels, pretrained=False, transform=SMALL, batch_size=20)
    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False)
    network.reset_classifier(0)
    config = resolve_model_data_config(network)
    if hasattr(network, "set_input_size"):
        network.set_input_size(img_size=(32, 32))
    transform = create_transform(**{**config, **SMALL}, is_training=False)
    batch = torch.stack([transform(Image.fromarray(image)) for image in pixels])
    with torch.no_grad():
        expected = network.eval()(batch).numpy()
    np.testing.assert_allclose(features.take(range(50)), expected, rtol=1e-4, atol=1e-5)


def test_random_weights_follow_the_seed_and_leave_torch_alone():
    before = torch.random.get_rng_state()
    first, same, other = (load_model("test_resnet", pretrained=False, seed=seed).weights_hash() for seed in (0, 0, 1))
    assert first == same != other
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_hash_sees_structure_and_every_weight(network):
    model = load_model(network)
    before = model.weights_hash()
    with torch.no_grad():
        network.layer4[0].bn1.running_mean[0] += 1e-3
    assert model.weights_hash() != before
    with torch.no_grad():
        network.layer4[0].bn1.running_mean[0] -= 1e-3
    kept, network.act1 = network.act1, torch.nn.GELU()
    assert model.weights_hash() != before
    network.act1 = kept


def wrapped(state):
    return {
        "plain": state,
        "module": {f"module.{name}": value for name, value in state.items()},
        "container": {"state_dict": {f"model.{name}": value for name, value in state.items()}, "epoch": 3},
        "nested": {"model": OrderedDict((f"module._orig_mod.{name}", value) for name, value in state.items())},
    }


@pytest.mark.parametrize("kind", ["plain", "module", "container", "nested"])
def test_checkpoints_with_and_without_wrapping(network, kind, tmp_path):
    torch.save(wrapped(network.state_dict())[kind], tmp_path / "weights.pt")
    model = load_model("test_resnet", checkpoint=tmp_path / "weights.pt")
    assert same_weights(model, network)
    assert model.module.num_classes == 10
    assert model.weights == "checkpoint weights.pt"


@pytest.mark.parametrize(
    "wrap",
    [
        torch.nn.DataParallel,
        torch.optim.swa_utils.AveragedModel,
        timm.utils.ModelEmaV3,
        lambda network: torch.nn.DataParallel(torch.compile(network, backend="eager")),
    ],
)
def test_what_training_wraps_around_a_network_is_taken_off(network, wrap):
    model, plain = load_model(wrap(network)), load_model(network)
    assert (model.name, model.kind, model.data_config) == (plain.name, "timm", plain.data_config)
    assert model.weights_hash() == plain.weights_hash()


def test_networks_for_grey_images():
    pixels = np.random.default_rng(1).integers(0, 256, size=(4, 32, 32), dtype=np.uint8)
    network = timm.create_model("test_resnet", pretrained=False, in_chans=1).eval()
    config = load_model(network).data_config
    assert config["input_size"] == (1, 160, 160)
    assert (config["mean"], config["std"]) == ((0.5,), (0.5,))
    features = featdiv.extract(network, featdiv.images(pixels), transform={"input_size": (1, 32, 32), "crop_pct": 1.0})
    with torch.no_grad():
        maps = network.forward_features((torch.from_numpy(pixels).float()[:, None] / 255 - 0.5) / 0.5)
    np.testing.assert_allclose(features.take(range(4)), maps.mean(dim=(2, 3)).numpy(), rtol=1e-4, atol=1e-5)
    four = timm.create_model("test_resnet", pretrained=False, in_chans=4)
    with pytest.raises(InputError, match=r"images have 3 channels, or 1 in grey; got input_size \(4, 160, 160\)"):
        featdiv.extract(four, featdiv.images(pixels))
    with pytest.raises(InputError, match=r"transform: mean: expected 1 numbers, .* got \(0\.1, 0\.2, 0\.3\)"):
        featdiv.extract(network, featdiv.images(pixels), transform={"mean": (0.1, 0.2, 0.3)})


def test_safetensors_and_a_checkpoint_without_classifier(network, tmp_path):
    save_file(network.state_dict(), tmp_path / "all.safetensors")
    assert same_weights(load_model("test_resnet", checkpoint=tmp_path / "all.safetensors"), network)
    backbone = {f"backbone.{name}": v for name, v in network.state_dict().items() if not name.startswith("fc.")}
    save_file(backbone, tmp_path / "backbone.safetensors")
    model = load_model("test_resnet", checkpoint=tmp_path / "backbone.safetensors")
    assert model.module.num_classes == 0
    torch.testing.assert_close(model.module.conv1[0].weight, network.conv1[0].weight, rtol=0, atol=0)


def test_what_does_not_fit_is_listed(network, tmp_path):
    state = dict(network.state_dict())
    del state["layer1.0.conv1.weight"]
    state["layer2.0.conv1.weight"] = torch.zeros(3, 3)
    state["projector.weight"] = torch.zeros(2)
    torch.save(state, tmp_path / "bad.pt")
    with pytest.raises(InputError) as caught:
        load_model("test_resnet", checkpoint=tmp_path / "bad.pt")
    message = str(caught.value)
    assert "1 missing: layer1.0.conv1.weight" in message
    assert "1 misshaped: layer2.0.conv1.weight is 3x3, the model's " in message
    assert "1 unexpected: projector.weight" in message
    extra = {**network.state_dict(), "projector.weight": torch.zeros(2)}
    torch.save(extra, tmp_path / "extra.pt")
    with pytest.raises(InputError, match="strict=False leaves out what the model does not have"):
        load_model("test_resnet", checkpoint=tmp_path / "extra.pt")
    model = load_model("test_resnet", checkpoint=tmp_path / "extra.pt", strict=False)
    assert same_weights(model, network)
    assert model.notes == ("1 entries of the checkpoint were left out, such as projector.weight",)
    with pytest.raises(InputError, match=r"it the checkpoint of another architecture"):
        load_model("test_vit", checkpoint=tmp_path / "extra.pt", strict=False)


def vit_saved_at(side, path, **options):
    torch.manual_seed(7)
    network = timm.create_model("test_vit", pretrained=False, num_classes=10, img_size=side, **options).eval()
    torch.save(network.state_dict(), path)
    return network


def test_position_embeddings_of_another_image_size_are_resampled(tmp_path):
    from timm.layers import resample_abs_pos_embed

    network = vit_saved_at(48, tmp_path / "small.pt")
    model = load_model("test_vit", checkpoint=tmp_path / "small.pt")
    own = model.module.state_dict()
    expected = resample_abs_pos_embed(network.pos_embed, new_size=[10, 10], num_prefix_tokens=1)
    torch.testing.assert_close(own["pos_embed"], expected)
    assert all(torch.equal(own[name], value) for name, value in network.state_dict().items() if name != "pos_embed")
    assert model.weights == "checkpoint small.pt, position embeddings resampled"
    assert model.notes == (
        "position embeddings of the checkpoint were resampled to the image size of the model: 1 entries, such as "
        "pos_embed from 1x10x64 to 1x101x64",
    )
    again = load_model(
        timm.create_model("test_vit", pretrained=False, num_classes=10), checkpoint=tmp_path / "small.pt"
    )
    torch.testing.assert_close(again.module.pos_embed, expected)


def test_positions_that_do_not_vary_do_not_vary_after_resampling(tmp_path):
    network = vit_saved_at(32, tmp_path / "flat.pt")
    state = network.state_dict()
    state["pos_embed"][:, 1:] = torch.arange(64.0)
    torch.save(state, tmp_path / "flat.pt")
    positions = load_model("test_vit", checkpoint=tmp_path / "flat.pt").module.pos_embed
    assert positions.shape == (1, 101, 64)
    torch.testing.assert_close(positions[:, 1:], torch.arange(64.0).expand(1, 100, 64))
    torch.testing.assert_close(positions[:, 0], state["pos_embed"][:, 0])


def test_features_at_the_size_of_the_checkpoint_are_those_of_its_network(tmp_path, pixels):
    from PIL import Image

    network = vit_saved_at(32, tmp_path / "small.pt")
    arguments = {"checkpoint": tmp_path / "small.pt", "batch_size": 20}
    features = featdiv.extract("test_vit", pixels, transform=SMALL, **arguments)
    transform = create_transform(**{**resolve_model_data_config(network), **SMALL}, is_training=False)
    with torch.no_grad():
        tokens = network.forward_features(torch.stack([transform(Image.fromarray(image)) for image in pixels]))
        expected = network.forward_head(tokens, pre_logits=True).numpy()
    np.testing.assert_allclose(features.take(range(50)), expected, rtol=1e-4, atol=1e-5)
    assert "resampled" not in features.description
    other = featdiv.extract("test_vit", pixels[:4], transform={"input_size": (3, 48, 48)}, **arguments)
    assert "(checkpoint small.pt, position embeddings resampled)" in other.description
    assert "pos_embed from 1x5x64 to 1x10x64" in other.extraction["notes"][0]


@pytest.mark.filterwarnings("ignore:.*searchsorted.*:UserWarning", "ignore:.*non-tuple sequence.*:UserWarning")
def test_relative_positions_of_another_window_are_resampled(tmp_path):
    from timm.layers import resize_rel_pos_bias_table

    small = {"depths": (1, 1), "embed_dim": 12, "num_heads": (2, 2)}
    made = {"pretrained": False, "num_classes": 3, **small}
    network = timm.create_model("swin_tiny_patch4_window7_224", img_size=32, window_size=4, **made)
    torch.save(network.state_dict(), tmp_path / "swin.pt")
    options = {**small, "img_size": 64, "window_size": 8}
    model = load_model("swin_tiny_patch4_window7_224", checkpoint=tmp_path / "swin.pt", options=options)
    table = "layers.0.blocks.0.attn.relative_position_bias_table"
    expected = resize_rel_pos_bias_table(network.state_dict()[table], new_window_size=(8, 8), new_bias_shape=(225, 2))
    torch.testing.assert_close(model.module.state_dict()[table], expected)
    assert "2 entries, such as " + table in model.notes[0]


def test_only_positions_are_resampled(tmp_path):
    vit_saved_at(160, tmp_path / "fine.pt", patch_size=8)
    with pytest.raises(InputError, match=r"1 misshaped: patch_embed.proj.weight is 64x3x8x8, the model's 64x3x16x16"):
        load_model("test_vit", checkpoint=tmp_path / "fine.pt")
    state = vit_saved_at(48, tmp_path / "odd.pt").state_dict()
    state["pos_embed"] = state["pos_embed"][:, :6]
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(InputError, match=r"1 misshaped: pos_embed is 1x6x64, the model's 1x101x64"):
        load_model("test_vit", checkpoint=tmp_path / "odd.pt")


class Planted:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('code ran')",))


def test_pickled_code_is_refused(tmp_path):
    torch.save({"state_dict": {}, "hook": Planted()}, tmp_path / "evil.pt")
    (tmp_path / "evil2.pt").write_bytes(pickle.dumps(Planted()))
    for name in ("evil.pt", "evil2.pt"):
        with pytest.raises(FormatError, match=r"load_model: checkpoint: .*featdiv never loads"):
            load_model("test_resnet", checkpoint=tmp_path / name)
    with pytest.raises(SourceNotFound, match=r"none\.pt: there is no such file"):
        load_model("test_resnet", checkpoint=tmp_path / "none.pt")
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    with pytest.raises(FormatError, match="no tensors; it holds 'epoch'"):
        load_model("test_resnet", checkpoint=tmp_path / "empty.pt")


def test_unknown_names_and_weights(monkeypatch):
    with pytest.raises(InputError, match="has no model 'resnet1'; did you mean resnet18"):
        load_model("resnet1")
    with pytest.raises(InputError, match="'resnet18' has no weights called 'a9_in1k'; it has a1_in1k"):
        load_model("resnet18.a9_in1k")
    with pytest.raises(InputError, match=r"expected a name or a torch\.nn\.Module; got int"):
        load_model(3)
    with pytest.raises(InputError, match="options: 'test_resnet' does not take them"):
        load_model("test_resnet", pretrained=False, options={"no_such_option": 1})
    with pytest.raises(InputError, match=r"options: .* is made already"):
        load_model(load_model("test_resnet", pretrained=False), options={"img_size": 32})


def test_weights_that_cannot_be_fetched(monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SourceNotFound, match=r"are not on this machine .* Pass checkpoint=FILE .*pretrained=False"):
        load_model("test_convnext2")


def test_models_pass_through(network):
    model = load_model(network)
    assert load_model(model) is model
    assert isinstance(model, Model)
    assert (model.kind, model.name) == ("timm", "test_resnet")
    assert model.data_config["input_size"] == (3, 160, 160)
    assert load_model("test_vit", pretrained=False, options={"img_size": 48}).data_config["input_size"] == (3, 48, 48)


def test_a_size_that_the_network_refuses(pixels):
    network = timm.create_model("vit_tiny_patch16_224", pretrained=False, depth=1)
    with pytest.raises(InputError, match=r"vit_tiny_patch16_224 refuses a batch of shape \(20, 3, 32, 32\)"):
        featdiv.extract(network, pixels[:20], transform=SMALL)


@pytest.mark.filterwarnings("ignore")
def test_transformers_vision_models(pixels, scaled):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.ViTConfig(image_size=6, patch_size=3, **shape)
    for network in (transformers.ViTModel(config), transformers.ViTForImageClassification(config)):
        network.eval()
        base = getattr(network, "vit", network)
        batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255.0
        with torch.no_grad():
            hidden = base(pixel_values=batch).last_hidden_state
        features = featdiv.extract(network, pixels, transform=scaled, batch_size=16)
        np.testing.assert_allclose(features.take(range(50)), hidden[:, 0].numpy(), rtol=1e-4, atol=1e-5)
        mean = featdiv.extract(network, pixels, transform=scaled, pool="mean")
        np.testing.assert_allclose(mean.take(range(50)), hidden[:, 1:].mean(1).numpy(), rtol=1e-4, atol=1e-5)
        with pytest.raises(InputError, match="the model does not say how its images are prepared"):
            featdiv.extract(network, pixels)


@pytest.fixture
def saved_vit(tmp_path):
    """A vision transformer with its image processor, in a folder as ``save_pretrained`` writes it."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    network = transformers.ViTModel(transformers.ViTConfig(image_size=8, patch_size=4, **shape)).eval()
    network.save_pretrained(tmp_path / "vit")
    content = {
        "image_processor_type": "ViTImageProcessor",
        "do_normalize": True,
        "do_resize": True,
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.2, 0.2, 0.2],
        "resample": 2,
        "size": {"height": 8, "width": 8},
    }
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(content))
    return network


@pytest.mark.filterwarnings("ignore")
def test_transformers_by_name(saved_vit, tmp_path, pixels):
    name = f"hf:{tmp_path / 'vit'}"
    model = load_model(name)
    assert (model.kind, model.weights) == ("transformers", "pretrained weights")
    assert same_weights(model, saved_vit)
    assert model.data_config["input_size"] == (3, 8, 8)
    assert model.data_config["mean"] == (0.5, 0.4, 0.3)
    drawn = [load_model(name, pretrained=False, seed=seed).weights_hash() for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    other = {f"module.{key}": value + 1.0 for key, value in saved_vit.state_dict().items()}
    torch.save(other, tmp_path / "other.pt")
    moved = load_model(name, checkpoint=tmp_path / "other.pt")
    assert torch.equal(moved.module.layernorm.bias, saved_vit.layernorm.bias + 1.0)
    features = featdiv.extract(name, pixels[:4])
    from PIL import Image

    large = [np.asarray(Image.fromarray(image).resize((8, 8), Image.Resampling.BILINEAR)) for image in pixels[:4]]
    scale = [torch.tensor(values).view(1, 3, 1, 1) for values in ((0.5, 0.4, 0.3), (0.2, 0.2, 0.2))]
    batch = (torch.from_numpy(np.stack(large)).permute(0, 3, 1, 2).float() / 255.0 - scale[0]) / scale[1]
    with torch.no_grad():
        expected = saved_vit(pixel_values=batch).last_hidden_state[:, 0].numpy()
    np.testing.assert_allclose(features.take(range(4)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_transformers_that_are_not_there(tmp_path):
    pytest.importorskip("transformers")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        SourceNotFound, match=r"weights of 'hf:.*empty' are not on this machine .* Pass checkpoint=FILE"
    ):
        load_model(f"hf:{tmp_path / 'empty'}")
