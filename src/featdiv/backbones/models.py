"""`load_model`: a network by name or as a module, with its weights, and how images are prepared for it."""

from __future__ import annotations

import dataclasses
import difflib
import os
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from featdiv._optional import require
from featdiv.backbones import checkpoints, code_words
from featdiv.backbones.torchvision_shim import prepare_torchvision
from featdiv.errors import InputError, SourceNotFound

if TYPE_CHECKING:
    import torch

FUNCTION = "featdiv.backbones.load_model"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A network, its weights, and how images are prepared for it.

    Attributes:
        module: the network, in evaluation mode.
        name: what to call it: the timm name, the name on the Hub, or the class.
        kind: ``"timm"``, ``"transformers"`` or ``"module"``.
        weights: where they come from, in words.
        data_config: ``input_size``, ``interpolation``, ``mean``, ``std``, ``crop_pct``, ``crop_mode`` as timm calls
            them, or None for a module that does not say.
        notes: what a reader of the numbers should know.
    """

    module: torch.nn.Module
    name: str
    kind: str
    weights: str
    data_config: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    def weights_hash(self) -> str:
        """Returns the hash of structure and weights as they are now; about a second a gigabyte."""
        return checkpoints.hash_of(self.module)

    def code(self) -> Mapping[str, str]:
        """Returns ``{"code": hash}`` of the classes of a network of a user's own, nothing for those of packages."""
        words = code_words.words_for_module(self.module)
        return {"code": words} if words else {}

    def __repr__(self) -> str:
        return f"<Model {self.name}, {self.parameters:,} parameters, {self.weights}>"


def load_model(
    model: Any,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    pretrained: bool = True,
    strict: bool = True,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    input_size: tuple[int, ...] | None = None,
    entry: str | None = None,
) -> Model:
    """Returns a network with its weights, ready to evaluate.

    Args:
        model: a timm name (``"resnet18"``, ``"vit_small_patch14_dinov2.lvd142m"``, ``"hf-hub:…"``); ``"hf:"`` and the
            name of a vision model of transformers (extra ``transformers``); any ``torch.nn.Module``, which is used as
            it is and set to evaluation mode, without what ``torch.compile``, data parallelism or torch's average of
            weights wraps around it; or a `Model`, which passes through.
        checkpoint: ``.safetensors`` or ``.pt`` file with the weights. Prefixes that wrappers left (``module.``,
            ``model.``, …) and containers (``state_dict``, ``model``) are taken off; a timm model gets as many classes
            as the file has, or no classifier where the file has none. Position embeddings that were saved at another
            image size are resampled as timm does it, which ``weights`` and ``notes`` say.
        pretrained: take timm's or the Hub's weights where there is no checkpoint; False draws them from ``seed``.
        strict: False leaves out entries of the checkpoint that the model does not have.
        seed: of random weights.
        options: further arguments of ``timm.create_model``, such as ``{"img_size": 32}``.
        input_size: (channels, height, width) of the images that a timm model will get. One that is made for a single
            size is made for this one before a checkpoint is loaded, so that positions are resampled at most once.
        entry: the part of the checkpoint to load, where it holds several: a key (``"state_dict_ema"``, ``"teacher"``),
            or what the names of the entries begin with (``"module.encoder_q"``). ``notes`` say what was passed by.

    Raises:
        InputError: for an unknown name (with those near it), a model without pretrained weights, or a checkpoint that
            does not fit, with its missing, unexpected and misshaped entries.
        SourceNotFound: if the checkpoint is not there, or pretrained weights cannot be fetched.
        FormatError: if the checkpoint is damaged, or a pickle with more than tensors in it, which is never loaded.
        MissingDependency: if timm or transformers is not installed.

    Example:
        >>> from featdiv.backbones import load_model
        >>> model = load_model("test_vit", pretrained=False)
        >>> model
        <Model test_vit, 371,240 parameters, random weights (seed 0)>
        >>> model.data_config["input_size"]
        (3, 160, 160)
    """
    import torch

    if isinstance(model, Model):
        _refuse(model.name, checkpoint=checkpoint, options=options, entry=entry)
        return model
    if entry is not None and checkpoint is None:
        raise InputError(f"{FUNCTION}: entry: {entry!r} is a part of a checkpoint; pass checkpoint=, too")
    if isinstance(model, torch.nn.Module):
        _refuse(type(model).__name__, options=options)
        return _module(inside_wrappers(model), checkpoint, strict, entry)
    if not isinstance(model, str) or not model:
        raise InputError(f"{FUNCTION}: model: expected a name or a torch.nn.Module; got {type(model).__name__}")
    if model.startswith("hf:"):
        _refuse(model, options=options)
        return _transformers(model.removeprefix("hf:"), checkpoint, pretrained, strict, seed, entry)
    return _timm(model, checkpoint, pretrained, strict, seed, dict(options or {}), input_size, entry)


def inside_wrappers(module: torch.nn.Module) -> torch.nn.Module:
    """Returns the network that ``torch.compile``, data parallelism or an average of weights wraps, or the network."""
    from torch import nn
    from torch.optim.swa_utils import AveragedModel

    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)
    while True:
        inner = module.__dict__.get("_modules", {}).get("_orig_mod")
        if inner is None and (isinstance(module, wrappers) or type(module).__module__ == "timm.utils.model_ema"):
            inner = module.module
        if inner is None:
            return module
        module = inner


def _refuse(name: str, **given: Any) -> None:
    for argument, value in given.items():
        if value is not None:
            raise InputError(f"{FUNCTION}: {argument}: {name} is made already; leave {argument}= out")


def _module(module: torch.nn.Module, checkpoint: Any, strict: bool, entry: str | None) -> Model:
    weights = "weights as given"
    notes: tuple[str, ...] = ()
    if checkpoint is not None:
        weights, notes = _load(module, os.fspath(checkpoint), strict, entry)
    module.eval()
    kind, config = "module", None
    if _is_timm(module):
        kind, config = "timm", _timm_config(module)
    elif any(cls.__module__.partition(".")[0] == "transformers" for cls in type(module).__mro__):
        kind = "transformers"
    tag = getattr(module, "pretrained_cfg", None) or {}
    name = tag.get("architecture") if isinstance(tag, Mapping) else None
    return Model(
        module=module, name=name or type(module).__name__, kind=kind, weights=weights, data_config=config, notes=notes
    )


def _is_timm(module: Any) -> bool:
    return hasattr(module, "forward_features") and hasattr(module, "forward_head") and hasattr(module, "pretrained_cfg")


def _load(module: torch.nn.Module, path: str, strict: bool, entry: str | None) -> tuple[str, tuple[str, ...]]:
    tensors, others = checkpoints.read(path, entry)
    state = checkpoints.unwrapped(tensors, list(module.state_dict()))
    return _loaded(module, state, path, strict, entry, others)


def _loaded(
    module: torch.nn.Module,
    state: Mapping[str, torch.Tensor],
    path: str,
    strict: bool,
    entry: str | None,
    others: tuple[str, ...],
) -> tuple[str, tuple[str, ...]]:
    weights, notes = f"checkpoint {os.path.basename(path)}{f' ({entry})' if entry else ''}", []
    if others:
        notes.append(
            f"the checkpoint also holds weights under {', '.join(map(repr, others))}, which were not loaded; "
            "load_model(..., entry=) takes them"
        )
    fitted, moved = checkpoints.resampled(module, state)
    if moved:
        weights += ", position embeddings resampled"
        before, after = ("x".join(map(str, entries[moved[0]].shape)) for entries in (state, fitted))
        notes.append(
            f"position embeddings of the checkpoint were resampled to the image size of the model: {len(moved)} "
            f"entries, such as {moved[0]} from {before} to {after}"
        )
    passed = checkpoints.load_into(module, fitted, path, strict=strict)
    if passed:
        notes.append(f"{len(passed)} entries of the checkpoint were left out, such as {passed[0]}")
    return weights, tuple(notes)


def _timm(
    name: str,
    checkpoint: Any,
    pretrained: bool,
    strict: bool,
    seed: int,
    options: dict[str, Any],
    input_size: tuple[int, ...] | None,
    entry: str | None,
) -> Model:
    prepare_torchvision()
    timm = require("timm", extra="vision", needed_by=f"making the model {name!r}")
    if ":" not in name:
        check_name(name, where=f"{FUNCTION}: model")
    wanted = pretrained and checkpoint is None
    module = _created(timm, name, wanted, seed, options)
    weights = f"random weights (seed {seed})"
    notes: tuple[str, ...] = ()
    if wanted:
        tag = module.pretrained_cfg.get("tag")
        weights = f"pretrained weights{f' {tag}' if tag else ''}"
    if checkpoint is not None:
        path = os.fspath(checkpoint)
        tensors, others = checkpoints.read(path, entry)
        state = checkpoints.unwrapped(tensors, list(module.state_dict()))
        classes = _classes_in(module, state)
        if classes is not None and "num_classes" not in options:
            module = _created(timm, name, False, seed, {**options, "num_classes": classes})
        if input_size is not None and hasattr(module, "set_input_size"):
            module.set_input_size(img_size=tuple(input_size[-2:]))
        weights, notes = _loaded(module, state, path, strict, entry, others)
    config = _timm_config(module)
    if "img_size" in options and "input_size" not in (options.get("pretrained_cfg_overlay") or {}):
        size = options["img_size"]
        height, width = (size, size) if isinstance(size, int) else size
        config["input_size"] = (config["input_size"][0], height, width)
    return Model(module=module.eval(), name=name, kind="timm", weights=weights, data_config=config, notes=notes)


def check_name(name: str, *, where: str) -> None:
    """Refuses a name that timm does not know, suggesting similar ones, and a name that timm has no weights for.

    Args:
        name: of a model of timm, with or without the tag of its weights.
        where: function and argument, for messages.

    Raises:
        InputError: if there is no such model, or no such weights of it.
        MissingDependency: if timm is not installed.
    """
    prepare_torchvision()
    timm = require("timm", extra="vision", needed_by=f"making the model {name!r}")
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=4, cutoff=0.5)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise InputError(f"{where}: timm {timm.__version__} has no model {architecture!r}{hint}")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        known = f"it has {', '.join(tags)}" if tags else "it has none"
        raise InputError(f"{where}: {architecture!r} has no weights called {tag!r}; {known}")


def _created(timm: Any, name: str, pretrained: bool, seed: int, options: dict[str, Any]) -> Any:
    import torch

    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return timm.create_model(name, pretrained=pretrained, **options)
    except TypeError as error:
        raise InputError(f"{FUNCTION}: options: {name!r} does not take them: {error}") from None
    except Exception as error:
        if not pretrained:
            raise
        if "No pretrained weights" in str(error) or "Invalid pretrained tag" in str(error):
            raise InputError(
                f"{FUNCTION}: pretrained: timm has no weights for {name!r}; pass checkpoint=, or pretrained=False for "
                "random ones"
            ) from None
        raise SourceNotFound(_not_fetched(name, error)) from None


def _not_fetched(name: str, error: Exception) -> str:
    reason = textwrap.shorten(str(error), 160, placeholder=" …") or type(error).__name__
    return (
        f"{FUNCTION}: model: the pretrained weights of {name!r} are not on this machine and could not be fetched "
        f"({reason}). Pass checkpoint=FILE (.safetensors or .pt, from a machine that is online), or point HF_HOME "
        "to a cache that holds them; pretrained=False means random weights"
    )


def _classes_in(module: Any, state: Mapping[str, Any]) -> int | None:
    """Returns how many classes a checkpoint has, 0 for no classifier, or None where the model fits as it is."""
    classifier = (getattr(module, "pretrained_cfg", None) or {}).get("classifier")
    names = [classifier] if isinstance(classifier, str) else list(classifier or [])
    own = module.state_dict()
    for name in names:
        weight = f"{name}.weight"
        if weight not in own:
            continue
        if weight not in state:
            return 0
        if state[weight].shape[0] != own[weight].shape[0]:
            return int(state[weight].shape[0])
    return None


def _timm_config(module: Any) -> dict[str, Any]:
    prepare_torchvision()
    data = require("timm.data", extra="vision", needed_by="preparing images for a model")
    config: dict[str, Any] = data.resolve_model_data_config(module)
    channels = _channels_of(module)
    if channels is not None and channels != config["input_size"][0]:
        config["input_size"] = (channels, *config["input_size"][1:])
        # timm adds up the weights of the colours for a single channel; their mean is that of grey images.
        config |= {name: (sum(config[name]) / len(config[name]),) for name in ("mean", "std")}
    return config


def _channels_of(module: Any) -> int | None:
    """Returns the channels that the first layer of a timm model takes, as far as timm names it."""
    first = (getattr(module, "pretrained_cfg", None) or {}).get("first_conv")
    weight = module.state_dict().get(f"{first}.weight") if isinstance(first, str) else None
    return int(weight.shape[1]) if weight is not None and weight.ndim == 4 else None


def _transformers(name: str, checkpoint: Any, pretrained: bool, strict: bool, seed: int, entry: str | None) -> Model:
    import torch

    prepare_torchvision()
    transformers = require("transformers", extra="transformers", needed_by=f"loading hf:{name}")
    weights = "pretrained weights"
    notes: tuple[str, ...] = ()
    try:
        if pretrained and checkpoint is None:
            module = transformers.AutoModel.from_pretrained(name)
        else:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                module = transformers.AutoModel.from_config(transformers.AutoConfig.from_pretrained(name))
            weights = f"random weights (seed {seed})"
        processor = transformers.AutoImageProcessor.from_pretrained(name, use_fast=False)
    except (OSError, ValueError) as error:
        raise SourceNotFound(_not_fetched(f"hf:{name}", error)) from None
    if checkpoint is not None:
        weights, notes = _load(module, os.fspath(checkpoint), strict, entry)
    return Model(
        module=module.eval(),
        name=f"hf:{name}",
        kind="transformers",
        weights=weights,
        data_config=_processor_config(processor),
        notes=notes,
    )


def _processor_config(processor: Any) -> dict[str, Any]:
    """Returns what an image processor does, in timm's terms: resize the short side, crop the centre."""
    resampling = {0: "nearest", 2: "bilinear", 3: "bicubic", 1: "lanczos"}
    size = dict(processor.size or {})
    crop = dict(getattr(processor, "crop_size", None) or {}) if getattr(processor, "do_center_crop", False) else {}
    short = size.get("shortest_edge")
    height = crop.get("height") or size.get("height") or short
    width = crop.get("width") or size.get("width") or short
    config: dict[str, Any] = {
        "input_size": (3, height, width),
        "interpolation": resampling.get(int(getattr(processor, "resample", 2) or 0), "bilinear"),
        "crop_pct": height / short if short and crop else 1.0,
        "crop_mode": "center" if short else "squash",
    }
    normalised = getattr(processor, "do_normalize", True)
    config["mean"] = tuple(processor.image_mean) if normalised else (0.0, 0.0, 0.0)
    config["std"] = tuple(processor.image_std) if normalised else (1.0, 1.0, 1.0)
    return config
