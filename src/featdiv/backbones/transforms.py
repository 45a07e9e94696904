"""How an image becomes the input of a model, and words for it that can be compared."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from featdiv import protocols
from featdiv._optional import require
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
    return from_config(config)


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


def from_config(config: Mapping[str, Any]) -> Preparation:
    """Returns timm's evaluation transform for a data configuration."""
    prepare_torchvision()
    data = require("timm.data", extra="vision", needed_by="preparing images for a model")
    known = {name: config[name] for name in CONFIG if config.get(name) is not None}
    made = data.create_transform(**known, is_training=False)
    text = "; ".join(f"{name} {known[name]}" for name in CONFIG if name in known)
    return Preparation(made, text, tuple(known["input_size"]))


def words_for(transform: Any) -> str:
    """Returns words that identify a value: its ``repr``, or of a function the name, code and what it holds; or none.

    They do not cover the globals that a function reads.
    """
    shown = " ".join(repr(transform).split())
    if " at 0x" not in shown:
        return shown
    code = getattr(transform, "__code__", None)
    if code is None:
        return ""
    held = [cell.cell_contents for cell in getattr(transform, "__closure__", None) or ()]
    held += [*(getattr(transform, "__defaults__", None) or ()), *code.co_consts]
    words = [words_for(value) for value in held]
    if not all(words):
        return ""
    content = code.co_code + repr((code.co_names, words)).encode()
    name = f"{getattr(transform, '__module__', '')}.{getattr(transform, '__qualname__', '')}"
    return f"{name} {hashlib.blake2b(content, digest_size=8).hexdigest()}"
