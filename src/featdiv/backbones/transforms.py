"""How an image becomes the input of a model, and words for it that can be compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from featdiv import protocols
from featdiv._optional import require
from featdiv.backbones.code_words import words_for
from featdiv.backbones.torchvision_shim import prepare_torchvision
from featdiv.errors import InputError

Transform = Callable[[Any], Any]

CONFIG = ("input_size", "interpolation", "mean", "std", "crop_pct", "crop_mode")
"""Keys of a data configuration, those of timm."""


class Preparation(NamedTuple):
    """A transform and what it is.

    Attributes:
        transform: image to tensor, or None where items are tensors already.
        text: words that are the same for the same transform, for the key of a cache; empty if there are none.
        input_size: (channels, height, width) of the tensors, where it is known.
    """

    transform: Transform | None
    text: str
    input_size: tuple[int, ...] | None = None


def prepare(
    transform: Any, data_config: Mapping[str, Any] | None, *, protocol: str | None = None, function: str
) -> Preparation:
    """Returns the transform that an argument means.

    Args:
        transform: ``"model"``; a mapping of changes to the model's configuration, such as
            ``{"input_size": (3, 32, 32), "crop_pct": 1.0}``; a callable; or None for items that are tensors already.
        data_config: of the model, or None where it has none.
        protocol: a published recipe, of those in `featdiv.protocols`.
        function: public name for messages.

    Raises:
        InputError: for anything else, or ``"model"`` with a model that does not say how its images are prepared.
    """
    published = prescribed(protocol, function=function)
    if protocol is not None and (transform is None or callable(transform)):
        raise InputError(f"{function}: protocol: {protocol!r} prepares the images; leave transform= out")
    if transform is None:
        return Preparation(None, "none")
    if callable(transform):
        return Preparation(transform, words_for(transform))
    changes: Mapping[str, Any] = {}
    if isinstance(transform, Mapping):
        changes = transform
    elif transform != "model":
        raise InputError(
            f"{function}: transform: expected 'model', a mapping with {', '.join(CONFIG)}, a callable or None; "
            f"got {transform!r}"
        )
    unknown = [name for name in changes if name not in CONFIG]
    if unknown:
        raise InputError(f"{function}: transform: unknown {', '.join(unknown)}; expected {', '.join(CONFIG)}")
    config = {**(data_config or {}), **published, **changes}
    lacking = [name for name in ("input_size", "mean", "std") if name not in config]
    if lacking:
        raise InputError(
            f"{function}: transform: the model does not say how its images are prepared ({', '.join(lacking)} "
            "unknown); pass transform= (a callable from PIL image to tensor, or a mapping with these keys)"
        )
    return from_config(config, function=function)


def prescribed(protocol: str | None, *, function: str) -> dict[str, Any]:
    """Returns what a published recipe changes in the configuration of the model, which keeps its own mean and std.

    The short side is resized, the centre is cropped, as ``extract`` in the recipe's file says; where that says
    ``"model"``, nothing is changed.

    Raises:
        InputError: if there is no such recipe, or it prescribes nothing for images.

    Example:
        >>> from featdiv.backbones.transforms import prescribed
        >>> prescribed("dinov2-knn", function="demo")
        {'input_size': (3, 224, 224), 'crop_pct': 0.875, 'crop_mode': 'center', 'interpolation': 'bicubic'}
    """
    if protocol is None:
        return {}
    if protocol not in protocols.names():
        raise InputError(f"{function}: protocol: expected one of {', '.join(protocols.names())}; got {protocol!r}")
    found = protocols.get(protocol).parameters_of("extract")
    changes: dict[str, Any] = {}
    if found["crop"] != "model":
        crop = int(found["crop"])
        changes = {"input_size": (3, crop, crop), "crop_pct": crop / found["resize"], "crop_mode": "center"}
    if found["interpolation"] != "model":
        changes["interpolation"] = found["interpolation"]
    return changes


def size_wanted(transform: Any, protocol: str | None, *, function: str) -> tuple[int, ...] | None:
    """Returns the size of images that arguments ask for, or None where it is left to the model."""
    changes = transform if isinstance(transform, Mapping) else {}
    size = {**prescribed(protocol, function=function), **changes}.get("input_size")
    return None if size is None or callable(transform) else tuple(size)


@dataclasses.dataclass(frozen=True)
class Grey:
    """A transform of one-channel images, for images in colour."""

    transform: Transform

    def __call__(self, image: Any) -> Any:
        """Returns the tensor of an image."""
        return self.transform(image.convert("L"))


def for_channels(transform: Transform, channels: int) -> Transform:
    """Returns a transform, before which images lose their colour where the network takes one channel."""
    return Grey(transform) if channels == 1 else transform


def check_channels(config: Mapping[str, Any], *, function: str) -> None:
    """Refuses what images do not have: other than three channels or one, or a mean and std for other channels."""
    channels = config["input_size"][0]
    if channels not in (1, 3):
        raise InputError(
            f"{function}: transform: images have 3 channels, or 1 in grey; got input_size {config['input_size']}. Pass "
            "a callable from PIL image to a tensor with the channels of the model"
        )
    for name in ("mean", "std"):
        if len(config[name]) not in (1, channels):
            raise InputError(
                f"{function}: transform: {name}: expected {channels} numbers, for the channels of input_size "
                f"{config['input_size']}; got {config[name]}"
            )


def from_config(config: Mapping[str, Any], *, function: str) -> Preparation:
    """Returns timm's evaluation transform for a data configuration."""
    prepare_torchvision()
    data = require("timm.data", extra="vision", needed_by="preparing images for a model")
    known = {name: config[name] for name in CONFIG if config.get(name) is not None}
    check_channels(known, function=function)
    made = for_channels(data.create_transform(**known, is_training=False), known["input_size"][0])
    text = "; ".join(f"{name} {known[name]}" for name in CONFIG if name in known)
    return Preparation(made, text, tuple(known["input_size"]))
