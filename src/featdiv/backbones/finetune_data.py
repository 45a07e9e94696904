"""Images to learn from, to choose on and to judge on, and the batches that a training run draws from them."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from featdiv._optional import require
from featdiv.backbones import transforms
from featdiv.backbones.forward import collated
from featdiv.backbones.images import Images, images
from featdiv.backbones.torchvision_shim import prepare_torchvision
from featdiv.errors import FeatdivError, InputError, NotEnoughData
from featdiv.probes import holdout as holding

if TYPE_CHECKING:
    import torch

    Batch = tuple[torch.Tensor, torch.Tensor]

HELD_BYTES = 1 << 30
"""Decoded images that are kept in memory, where no workers decode them."""

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


class Pool:
    """Labelled images of one or two data sets, with the labels in the numbering of the classifier.

    Args:
        parts: the images.
        labels: (n,) numbers of classes of all of them.
        keep: whether to keep what has been decoded, up to `HELD_BYTES`.
    """

    def __init__(self, parts: Sequence[Images], labels: npt.NDArray[np.int64], *, keep: bool) -> None:
        self.parts = tuple(parts)
        self.labels = labels
        self.starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
        self._keep = keep
        self._kept: dict[int, Any] = {}
        self._room = HELD_BYTES

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Any, int]:
        label = int(self.labels[row])
        if row in self._kept:
            return self._kept[row], label
        part = int(np.searchsorted(self.starts, row, side="right")) - 1
        image, _ = self.parts[part][row - int(self.starts[part])]
        if self._keep:
            size = image.numel() * image.element_size() if hasattr(image, "numel") else 3 * image.width * image.height
            if size <= self._room:
                self._room -= size
                self._kept[row] = image
        return image, label

    @property
    def fingerprint(self) -> str:
        """Fingerprints of the parts, one after the other."""
        return " + ".join(part.fingerprint for part in self.parts)

    @property
    def description(self) -> str:
        """Where the images come from."""
        return " + ".join(part.description for part in self.parts)


class Division(NamedTuple):
    """The images of one call.

    Attributes:
        train: to learn from while the grid point is chosen.
        val: to choose it on.
        both: the two together.
        test: to judge on, once; None where there are none.
        classes: names, in the order of the classifier's outputs.
        chosen_on: ``"val"`` or ``"holdout"``.
    """

    train: Pool
    val: Pool
    both: Pool
    test: Pool | None
    classes: tuple[str, ...]
    chosen_on: str


def divide(data: Any, *, val: Any, test: Any, holdout: float, seed: int, keep: bool, function: str) -> Division:
    """Opens the images and divides them.

    Raises:
        InputError: if images have no label, there is one class, or validation or test have a class that train lacks.
        NotEnoughData: if no image would be left to choose on.
    """
    opened = images(data)
    given = {"val": None if val is None else images(val), "test": None if test is None else images(test)}
    train = opened
    if opened.splits:
        if "train" not in opened.splits:
            raise InputError(
                f"{function}: data: expected a split 'train' to learn from; {opened.description} has "
                f"{', '.join(opened.splits)}"
            )
        train = opened.split("train")
        for name, part in given.items():
            if part is None and name in opened.splits:
                given[name] = opened.split(name)
    names = _names(train, "data", function)
    present = tuple(dict.fromkeys(names[np.argsort(_order(train), kind="stable")].tolist()))
    if len(present) < 2:
        raise InputError(
            f"{function}: data: expected images of two classes or more to learn from; all {len(train)} in "
            f"{train.description} are {present[0]!r}"
        )
    labels = _numbers(names, present)
    chosen_on = "val" if given["val"] is not None else "holdout"
    if given["val"] is None:
        kept, out = holding.split(labels, holdout, seed=seed, function=function)
        part = train.subset(out)
        learn, own, judged = train.subset(kept), labels[kept], labels[out]
    else:
        part = given["val"]
        learn, own, judged = train, labels, _matched(part, "val", present, function)
    tested = None
    if given["test"] is not None:
        tested = Pool([given["test"]], _matched(given["test"], "test", present, function), keep=keep)
    together = Pool([learn, part], np.concatenate([own, judged]), keep=keep)
    return Division(
        Pool([learn], own, keep=keep), Pool([part], judged, keep=keep), together, tested, present, chosen_on
    )


def _order(part: Images) -> npt.NDArray[np.int64]:
    assert part.labels is not None
    return part.labels


def _names(part: Images, argument: str, function: str) -> npt.NDArray[Any]:
    if len(part) == 0:
        raise NotEnoughData(f"{function}: {argument}: expected images; {part.description} has none")
    unlabelled = len(part) if part.labels is None else int((part.labels < 0).sum())
    if part.labels is None or unlabelled:
        raise InputError(
            f"{function}: {argument}: expected a label for each image; {unlabelled} of {len(part)} in "
            f"{part.description} have none"
        )
    return np.array(part.classes, dtype=object)[part.labels]


def _numbers(names: npt.NDArray[Any], classes: Sequence[str]) -> npt.NDArray[np.int64]:
    number = {name: index for index, name in enumerate(classes)}
    return np.array([number[name] for name in names], dtype=np.int64)


def _matched(part: Images, argument: str, classes: Sequence[str], function: str) -> npt.NDArray[np.int64]:
    names = _names(part, argument, function)
    lacking = sorted(set(names.tolist()) - set(classes))
    if lacking:
        more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
        raise InputError(
            f"{function}: {argument}: {part.description} has classes that the training images lack: "
            f"{', '.join(map(repr, lacking[:5]))}{more}; training has {', '.join(map(repr, classes[:5]))}"
            f"{' …' if len(classes) > 5 else ''}. Leave them out, or add images of them to learn from"
        )
    return _numbers(names, classes)


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
        words = transforms.words_for(augmentation)
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
    return Views(made, judged.transform, text, judged.input_size)


@contextlib.contextmanager
def drawn_from(seed: Sequence[int]) -> Iterator[None]:
    """Seeds the generators that transforms draw from, and puts them back as they were."""
    import torch

    state, old = random.getstate(), np.random.get_state()
    words = np.random.SeedSequence(seed).generate_state(2)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(words[0]))
        random.seed(int(words[0]))
        np.random.seed(int(words[1]))
        try:
            yield
        finally:
            random.setstate(state)
            np.random.set_state(old)


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
        try:
            image, label = self.pool[self.row(draw)]
        except FeatdivError as error:
            return error
        tensor = self.transform is None
        if hasattr(image, "is_floating_point") != tensor:
            held = "PIL images; leave transform= at 'model'" if tensor else "tensors; pass transform=None"
            return InputError(f"{self.function}: transform: the data holds {held}")
        if not tensor:
            with drawn_from([self.seed, draw]):
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
    return tensors if isinstance(tensors, FeatdivError) else (tensors, torch.tensor([label for _, label in items]))


def training_batches(draws: Draws, steps: range, *, batch_size: int, workers: int, device: str) -> Iterator[Batch]:
    """Yields the batches of some steps.

    Raises:
        FeatdivError: what reading an image raised.
    """
    import torch
    from torch.utils.data import DataLoader

    loader: Any = DataLoader(
        draws,  # type: ignore[arg-type]
        sampler=range(steps.start * batch_size, steps.stop * batch_size),
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=_together,
        pin_memory=device.startswith("cuda"),
        prefetch_factor=4 if workers else None,
        # Its own, as a loader draws a number when it starts, and a run that goes on starts another one.
        generator=torch.Generator().manual_seed(draws.seed),
    )
    for batch in loader:
        if isinstance(batch, FeatdivError):
            raise batch
        yield batch
