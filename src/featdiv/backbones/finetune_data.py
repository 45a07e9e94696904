"""What becomes of images while a network learns and while it is judged, and the batches that a run draws."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from featdiv._optional import require
from featdiv.backbones import transforms
from featdiv.backbones.code_words import words_for
from featdiv.backbones.finetune_division import Pool
from featdiv.backbones.forward import collated
from featdiv.backbones.loader import loaded
from featdiv.backbones.torchvision_shim import prepare_torchvision
from featdiv.errors import FeatdivError, InputError

if TYPE_CHECKING:
    import torch

    Batch = tuple[torch.Tensor, torch.Tensor]

CROP: Mapping[str, Any] = {"scale": (0.08, 1.0), "ratio": (3 / 4, 4 / 3), "hflip": 0.0, "color_jitter": 0.0}

AUGMENTATIONS: Mapping[str, Mapping[str, Any] | None] = {
    "none": None,
    "flip": None,
    "mild-crop": {**CROP, "scale": (0.67, 1.0), "ratio": (0.9, 1 / 0.9)},
    "crop": CROP,
    "crop-flip": {**CROP, "hflip": 0.5},
    "randaugment": {**CROP, "hflip": 0.5, "auto_augment": "rand-m9-mstd0.5-inc1"},
    "strong": {**CROP, "hflip": 0.5, "auto_augment": "rand-m9-mstd0.5-inc1", "re_prob": 0.25, "re_mode": "pixel"},
}
"""Preset to the arguments of ``timm.data.create_transform`` that make it; None where the evaluation's is the base."""


class Views(NamedTuple):
    """What becomes of an image.

    Attributes:
        train: while a network learns.
        test: while it is judged.
        text: words for both, for the key of a run; empty if there are none.
        input_size: (channels, height, width) where it is known.
    """

    train: Any
    test: Any
    text: str
    input_size: tuple[int, ...] | None


def views(
    transform: Any, augmentation: Any, data_config: Mapping[str, Any] | None, *, protocol: str | None, function: str
) -> Views:
    """Returns the transforms that the arguments mean.

    Raises:
        InputError: for an unknown preset, or one that cannot be laid over ``transform``.
    """
    recipe = None if transform is None or callable(transform) else protocol
    judged = transforms.prepare(transform, data_config, protocol=recipe, function=function)
    if callable(augmentation):
        words = words_for(augmentation)
        text = f"{judged.text} | {words}" if words and judged.text else ""
        return Views(augmentation, judged.transform, text, judged.input_size)
    if not isinstance(augmentation, str) or augmentation not in AUGMENTATIONS:
        raise InputError(
            f"{function}: augmentation: expected one of {', '.join(map(repr, AUGMENTATIONS))}, or a callable from PIL "
            f"image to tensor; got {augmentation!r}"
        )
    text = f"{judged.text} | {augmentation}" if judged.text else ""
    if augmentation == "none":
        return Views(judged.transform, judged.transform, text, judged.input_size)
    if transform is None or callable(transform):
        raise InputError(
            f"{function}: augmentation: {augmentation!r} crops and flips images of a known configuration; with "
            "transform= a callable or None, pass augmentation='none' or a callable that augments"
        )
    prepare_torchvision()
    if augmentation == "flip":
        vision = require("torchvision.transforms", extra="vision", needed_by="augmentation")
        flipped = vision.Compose([judged.transform, vision.RandomHorizontalFlip()])
        return Views(flipped, judged.transform, text, judged.input_size)
    timm_data = require("timm.data", extra="vision", needed_by="augmentation")
    changes = transform if isinstance(transform, Mapping) else {}
    config = {**(data_config or {}), **transforms.prescribed(recipe, function=function), **changes}
    known = {name: config[name] for name in ("input_size", "interpolation", "mean", "std") if name in config}
    made = timm_data.create_transform(**known, is_training=True, **(AUGMENTATIONS[augmentation] or {}))
    made = transforms.for_channels(made, known["input_size"][0])
    return Views(made, judged.transform, text, judged.input_size)


@contextlib.contextmanager
def generators_kept() -> Iterator[None]:
    """Puts the generators that transforms draw from back as they were."""
    import torch

    state, old, own = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(old)
        torch.random.set_rng_state(own)


def seed_generators(seed: Sequence[int]) -> None:
    """Seeds the generators that transforms draw from: those of Python, NumPy, and torch on the CPU."""
    import torch

    words = np.random.SeedSequence(seed).generate_state(2)
    torch.default_generator.manual_seed(int(words[0]))
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))


class Draws:
    """The endless sequence of augmented images that a run learns from; a map-style dataset.

    Draw ``i`` is image ``i mod n`` of the permutation of epoch ``i div n``, augmented with random numbers that depend
    on the seed and on ``i`` alone. So the number of workers, and where a run was interrupted, change nothing.
    """

    def __init__(self, pool: Pool, transform: Any, seed: int, function: str) -> None:
        self.pool = pool
        self.transform = transform
        self.seed = seed
        self.function = function
        self._epoch = -1
        self._permutation: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def row(self, draw: int) -> int:
        """Returns which image a draw is."""
        epoch, place = divmod(draw, len(self.pool))
        if epoch != self._epoch:
            self._permutation = np.random.default_rng([self.seed, epoch]).permutation(len(self.pool))
            self._epoch = epoch
        return int(self._permutation[place])

    def __getitem__(self, draw: int) -> Any:
        return self.__getitems__([draw])[0]

    def __getitems__(self, draws: Sequence[int]) -> list[Any]:
        """Returns the draws of a batch, as a loader asks for them; seeding costs less than keeping what was there."""
        with generators_kept():
            return [self._drawn(draw) for draw in draws]

    def _drawn(self, draw: int) -> Any:
        try:
            image, label = self.pool[self.row(draw)]
        except FeatdivError as error:
            return error
        tensor = self.transform is None
        if hasattr(image, "is_floating_point") != tensor:
            held = "PIL images; leave transform= at 'model'" if tensor else "tensors; pass transform=None"
            return InputError(f"{self.function}: transform: the data holds {held}")
        if not tensor:
            seed_generators([self.seed, draw])
            image = self.transform(image)
        if not hasattr(image, "is_floating_point"):
            return InputError(
                f"{self.function}: augmentation: expected a tensor (3, h, w) from each image; got "
                f"{type(image).__name__}. Let it end with ToTensor"
            )
        return image, label


def _together(items: list[Any]) -> Any:
    import torch

    for item in items:
        if isinstance(item, FeatdivError):
            return item
    tensors = collated([image for image, _ in items])
    return (
        tensors if isinstance(tensors, FeatdivError) else (tensors, torch.from_numpy(np.stack([y for _, y in items])))
    )


def training_batches(draws: Draws, steps: range, *, batch_size: int, workers: int, device: str) -> Iterator[Batch]:
    """Returns the batches of some steps.

    Raises:
        FeatdivError: what reading an image raised.
    """
    import torch

    return loaded(
        draws,
        batch_size=batch_size,
        workers=workers,
        device=device,
        collate=_together,
        function=draws.function,
        sampler=range(steps.start * batch_size, steps.stop * batch_size),
        # Its own, as a loader draws a number when it starts, and a run that goes on starts another one.
        generator=torch.Generator().manual_seed(draws.seed),
    )
